"""What a part's work costs, measured: processor time, energy, bytes, elapsed time; and that in lifeforce (NIM-10).

One lifeforce is one second of one core. The formula is one line, `lifeforce`, with a constant for each measure; what a
part declares (`cost_ulf`) and the tables of tiers are where prices start, before anything was measured.

Several parts may share a process. So a part's processor time is what the steps of its own code take (`metered`), and
what it has done in threads (`in_thread`) and by processes of its own; one that is alone in its process has all of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Generator
from concurrent.futures import Executor
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

from shared.constant import constant
from shared.machine import Machine
from shared.world import World

T = TypeVar("T")

CPU_ULF_PER_MS = constant(1_000, "micro-lifeforce per ms", "NIM-10")
ENERGY_ULF_PER_MJ = constant(100, "micro-lifeforce per mJ", "NIM-10")  # ten watts of one core are as dear as its time
BYTES_ULF_PER_KB = constant(10, "micro-lifeforce per kB", "NIM-10")
ELAPSED_ULF_PER_MS = constant(10, "micro-lifeforce per ms", "NIM-10")  # what waits holds memory


def lifeforce(cpu_us: int, energy_uj: int | None, moved_bytes: int, elapsed_us: int) -> int:
    """Return what measured work costs, in micro-lifeforce; energy that nobody reports is not in it."""
    thousandths = cpu_us * CPU_ULF_PER_MS + (energy_uj or 0) * ENERGY_ULF_PER_MJ
    return (thousandths + moved_bytes * BYTES_ULF_PER_KB + elapsed_us * ELAPSED_ULF_PER_MS) // 1_000


@dataclass
class Spending:
    """What a part has used since it started; its runner owns it."""

    cpu_ns: int = 0
    step_began_ns: int = 0  #: by the thread's own clock
    workers_us: int = 0
    elapsed_us: int = 0
    received_bytes: int = 0
    energy_uj: int | None = None  #: None: the machine does not report it


_ACCOUNT: ContextVar[tuple[Spending, World] | None] = ContextVar("account", default=None)


class metered(Generator[Any, Any, T]):  # noqa: N801 - used as a function is
    """Awaits `work` and adds the processor time of its steps to `spending`; what others do meanwhile is theirs."""

    def __init__(self, work: Coroutine[Any, Any, T], spending: Spending, world: World) -> None:
        self._work, self._spending, self._world = work, spending, world

    def __await__(self) -> Generator[Any, Any, T]:
        return self

    def send(self, value: Any, /) -> Any:  # noqa: ANN401 - a coroutine's own
        return self._step(lambda: self._work.send(value))

    def throw(self, *error: Any) -> Any:  # noqa: ANN401 - a coroutine's own
        return self._step(lambda: self._work.throw(*error))

    def close(self) -> None:
        self._work.close()

    def _step(self, step: Callable[[], Any]) -> Any:  # noqa: ANN401 - a coroutine's own
        token, before = _ACCOUNT.set((self._spending, self._world)), self._world.thread_ns()
        self._spending.step_began_ns = before
        try:
            return step()
        finally:
            self._spending.cpu_ns += self._world.thread_ns() - before
            _ACCOUNT.reset(token)


def own_cpu_s(world: World) -> float:
    """Return the processor time of the part whose code asks, in seconds; of the process where no runner measures."""
    account = _ACCOUNT.get()
    if account is None:
        return world.cpu_s()
    spending = account[0]
    return (spending.cpu_ns + world.thread_ns() - spending.step_began_ns) / 1e9


async def in_thread(call: Callable[[], T], executor: Executor | None = None) -> T:
    """Return what a call returns in a thread; its processor time is that of the part whose code asks."""
    account, took_ns = _ACCOUNT.get(), list[int]()

    def timed() -> T:
        if account is None:
            return call()
        before = account[1].thread_ns()
        try:
            return call()
        finally:
            took_ns.append(account[1].thread_ns() - before)

    try:
        return await asyncio.get_running_loop().run_in_executor(executor, timed)
    finally:
        if account is not None:
            account[0].cpu_ns += sum(took_ns)


class Meter:
    """Keeps a part's spending up to date at each of its heartbeats."""

    def __init__(self, world: World, *, alone: bool) -> None:
        self.world, self.alone = world, alone
        self.machine: Machine = world.machine
        self.spending = Spending()
        self._workers = dict[int, int]()
        self._began_us = 0  #: what the process had used before the part was at work: its imports, its joining
        self._energy_uj = self.machine.energy_uj()
        self._busy_us, self._own_us = self.machine.busy_us(), self._cpu_us()
        if self._energy_uj is not None:
            self.spending.energy_uj = 0

    def begin(self) -> None:
        """Start to count: what was used until now is nobody's work."""
        self._began_us = round(self.world.cpu_s() * 1e6)
        self.spending.cpu_ns = 0
        self._busy_us, self._own_us = self.machine.busy_us(), self._cpu_us()

    def look(self, workers: Collection[int]) -> None:
        """Learn what the machine says now. `workers` are the processes that work for the part."""
        for pid in workers:
            now_us, before_us = self.machine.worked_us(pid), self._workers.get(pid, 0)
            if now_us is not None and now_us >= before_us:
                self.spending.workers_us += now_us - before_us
                self._workers[pid] = now_us
        self._workers = {pid: us for pid, us in self._workers.items() if pid in workers}
        self._share_energy(self._cpu_us())

    def read(self, sent_bytes: int) -> Measured:
        """Return what the part has used; of energy and workers, until the last look."""
        own_us, s = self._cpu_us(), self.spending
        cost = lifeforce(own_us, s.energy_uj, s.received_bytes + sent_bytes, s.elapsed_us)
        return Measured(own_us, s.energy_uj, s.received_bytes, sent_bytes, s.elapsed_us, cost)

    def _cpu_us(self) -> int:
        own = round(self.world.cpu_s() * 1e6) - self._began_us if self.alone else self.spending.cpu_ns // 1_000
        return own + self.spending.workers_us

    def _share_energy(self, own_us: int) -> None:
        """Add the part's share of what the machine used since the last look: as much as of its processor time."""
        energy_uj, busy_us = self.machine.energy_uj(), self.machine.busy_us()
        used_uj, worked_us = (energy_uj or 0) - (self._energy_uj or 0), busy_us - self._busy_us
        if energy_uj is None or self._energy_uj is None:
            self.spending.energy_uj = None
        elif self.spending.energy_uj is not None and worked_us > 0 and used_uj > 0:
            share_us = min(max(own_us - self._own_us, 0), worked_us)
            self.spending.energy_uj += used_uj * share_us // worked_us
        self._energy_uj, self._busy_us, self._own_us = energy_uj, busy_us, own_us


@dataclass(frozen=True, slots=True)
class Measured:
    """What a part has used since it was at work, and what that is in lifeforce."""

    cpu_us: int
    energy_uj: int | None
    received_bytes: int
    sent_bytes: int
    elapsed_us: int
    spent_ulf: int
