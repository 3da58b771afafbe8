"""The only module allowed to ask for time, randomness, identifiers or sleep.

A part receives a World and asks it; the real one asks the machine, the simulated one draws everything from a seed and
runs on an event loop whose clock jumps to the next timer. Nothing runnable and no timer is a Deadlock.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import random
import selectors
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from shared.constant import constant
from shared.errors import Deadlock, WallClockUse
from shared.machine import Machine, SimMachine, ThisMachine

T = TypeVar("T")

#: Goes on while the machine sleeps, where the kernel offers that: whoever wakes knows how long he was away.
_ELAPSED = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
SIM_EPOCH_NS = constant(1_767_225_600_000_000_000, "ns", "X-08")  # 2026-01-01T00:00:00Z


class World(Protocol):
    """What a part may know besides its messages: its environment, time, chance and identity."""

    @property
    def env(self) -> str: ...

    @property
    def boot(self) -> str:
        """This start's identity: 16 hexadecimal digits, new at every start of the part."""
        ...

    def now_ns(self) -> int:
        """Return the time of day, nanoseconds since the Unix epoch."""
        ...

    def elapsed_s(self) -> float:
        """Return a clock that never goes backwards, in seconds from an arbitrary start."""
        ...

    def cpu_s(self) -> float:
        """Return the processor time this process has used, in seconds (simulated: the elapsed time)."""
        ...

    def thread_ns(self) -> int:
        """Return the processor time this thread has used, in nanoseconds (simulated: a step takes none)."""
        ...

    @property
    def machine(self) -> Machine:
        """What the machine says of the work that is done on it."""
        ...

    def entropy(self, size: int) -> bytes:
        """Return `size` bytes nobody can guess (simulated: drawn from the seed)."""
        ...

    def chance(self) -> float:
        """Return a number in [0, 1)."""
        ...

    async def sleep(self, seconds: float) -> None: ...


def now_ms(world: World) -> int:
    """Return the World's time of day in milliseconds."""
    return world.now_ns() // 1_000_000


def new_id(world: World) -> bytes:
    """Return a new 16-byte identifier that sorts by time: 6 bytes of milliseconds, 10 of entropy."""
    return now_ms(world).to_bytes(6, "big") + world.entropy(10)


async def within(seconds: float, work: Awaitable[T]) -> T:
    """Return the result of `work`, or raise TimeoutError after `seconds` of the World's time."""
    async with asyncio.timeout(seconds):
        return await work


class RealWorld:
    """Time from the machine, chance and identity from its kernel; its clock may be off by `skew_ns`, to try that."""

    def __init__(self, env: str, skew_ns: int = 0) -> None:
        self.env, self.skew_ns = env, skew_ns
        self.boot = os.urandom(8).hex()
        self.machine: Machine = ThisMachine()
        self._rng = random.SystemRandom()

    def now_ns(self) -> int:
        return time.time_ns() + self.skew_ns

    def elapsed_s(self) -> float:
        return time.clock_gettime(_ELAPSED)

    def cpu_s(self) -> float:
        return time.process_time()

    def thread_ns(self) -> int:
        return time.thread_time_ns()

    def entropy(self, size: int) -> bytes:
        return os.urandom(size)

    def chance(self) -> float:
        return self._rng.random()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SimWorld:
    """Time from the simulated loop, everything else from a seed.

    `fork(name)` gives a part its own World: the same clock, its own stream of chance, so no part moves another's draws.
    """

    def __init__(self, env: str, seed: int, name: str = "world", skew_ns: int = 0) -> None:
        self.env = env
        self.seed, self.name, self.skew_ns = seed, name, skew_ns
        self.machine: Machine = SimMachine()
        # a string seed is hashed with SHA-512, never with hash(); no key outside a simulation depends on it
        self._rng = random.Random(f"{seed}/{name}")  # noqa: S311
        self.boot = self.entropy(8).hex()

    def fork(self, name: str, skew_ns: int = 0) -> SimWorld:
        """Return the World of the part called `name`, its clock off by `skew_ns`."""
        return SimWorld(self.env, self.seed, f"{self.name}/{name}", skew_ns)

    def now_ns(self) -> int:
        return SIM_EPOCH_NS + self.skew_ns + round(asyncio.get_running_loop().time() * 1e9)

    def elapsed_s(self) -> float:
        return asyncio.get_running_loop().time()

    def cpu_s(self) -> float:
        return self.elapsed_s()

    def thread_ns(self) -> int:
        return 0

    def entropy(self, size: int) -> bytes:
        return self._rng.randbytes(size)

    def chance(self) -> float:
        return self._rng.random()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _JumpingSelector(selectors.SelectSelector):
    """A selector that never waits: it moves the loop's clock to the next timer."""

    clock = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Deadlock("every task waits and no timer is set: simulated time cannot advance")
        self.clock += max(timeout, 0.0)
        return super().select(0)


class SimLoop(asyncio.SelectorEventLoop):
    """An event loop under simulated time, starting at 0.0 s."""

    def __init__(self) -> None:
        self._jump = _JumpingSelector()
        super().__init__(self._jump)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._jump.clock


def simulate(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run `main()` to its end under simulated time; any use of the machine's clock or chance raises WallClockUse."""
    with asyncio.Runner(loop_factory=SimLoop) as runner, _no_wall_clock():
        return runner.run(main())


_FORBIDDEN: tuple[tuple[Any, str], ...] = (
    (time, "time"),
    (time, "time_ns"),
    (time, "monotonic"),
    (time, "monotonic_ns"),
    (time, "clock_gettime"),
    (time, "perf_counter"),
    (time, "sleep"),
    (os, "urandom"),
    (uuid, "uuid1"),
    (uuid, "uuid4"),
    (random, "random"),
    (random, "randint"),
    (random, "randbytes"),
    (random, "choice"),
    (random, "shuffle"),
)


@contextmanager
def _no_wall_clock() -> Generator[None]:
    """Refuse the machine's clocks and chance while a simulation runs; the second net, the first is a lint."""

    def forbidden(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def refuse(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - it stands in for any function
            frame = inspect.currentframe()
            caller = str(frame.f_back.f_globals.get("__name__", "?")) if frame and frame.f_back else "?"
            if caller.partition(".")[0] in _EXEMPT:
                return real(*args, **kwargs)
            raise WallClockUse(f"{caller} called {name}() under simulated time; ask the World (shared/world.py)")

        return refuse

    saved = [(module, name, getattr(module, name)) for module, name in _FORBIDDEN]
    try:
        for module, name, real in saved:
            setattr(module, name, forbidden(f"{module.__name__}.{name}", real))
        yield
    finally:
        for module, name, real in saved:
            setattr(module, name, real)


#: Libraries that measure themselves without letting it reach a message.
_EXEMPT = frozenset({"asyncio", "selectors", "prometheus_client", "logging", "hypothesis", "pytest", "_pytest"})
