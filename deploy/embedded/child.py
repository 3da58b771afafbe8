"""A supervised server process: started, asked until it answers, restarted after a crash, stopped, never left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import Counter
from dataclasses import dataclass, field
from subprocess import DEVNULL
from typing import TYPE_CHECKING

from deploy.embedded.launch import ENVIRONMENT
from deploy.embedded.log_file import failure, lines_since, rotate, telling_line
from shared.errors import Fault, ServerFailed
from shared.files import open_private, storing

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Awaitable, Callable
    from pathlib import Path

FIRST_DELAY_S = 0.05
LAST_DELAY_S = 5.0
#: A life this long makes the next restart quick again, s.
STEADY_S = 10.0
#: What a wrapper exits with when it cannot run its command: trying again cannot help.
_CANNOT_RUN = (126, 127)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to run: the full argv, where its output goes, and which of our open files it inherits."""

    name: str
    argv: tuple[str, ...]
    log: Path
    folder: Path
    inherits: tuple[int, ...] = ()
    environment: dict[str, str] = field(default_factory=lambda: dict(ENVIRONMENT))


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait for an answer (s), how many deaths without one to accept, how long a stop may take (s)."""

    ready_s: float = 15.0
    attempts: int = 5
    stop_s: float = 10.0


class Child:
    """One server process under supervision.

    `ready(pid)` returns once the server answers. Call from the event loop only: the kernel ties the death signal to the
    thread that starts the process, and the loop's thread lives as long as the supervision does. `on_restart(child)` is
    called each time the server answers again after a crash. `failed` counts the starts after which it never answered,
    by what the process ended with, and `last_words` is what the last of them said.
    """

    def __init__(
        self,
        program: Program,
        ready: Callable[[int], Awaitable[None]],
        *,
        stop_signal: signal.Signals = signal.SIGTERM,
        patience: Patience | None = None,
        on_restart: Callable[[Child], None] | None = None,
    ) -> None:
        self.program = program
        self.restarts = 0
        self.failed = Counter[int]()
        self.last_words = ""
        self.fault: Fault | None = None
        self._ready = ready
        self._stop_signal = stop_signal
        self._patience = patience or Patience()
        self._on_restart = on_restart
        self._process: Process | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._delay_s = FIRST_DELAY_S
        self._log_start = 0
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        return f"Child({self.program.name!r}, pid={self.pid}, restarts={self.restarts})"

    @property
    def pid(self) -> int | None:
        """The running process, or None between a crash and its restart."""
        return self._process.pid if self._process and self._process.returncode is None else None

    @property
    def logged(self) -> list[str]:
        """What the present process logged, or the last one."""
        return lines_since(self.program.log, self._log_start)

    async def start(self) -> None:
        """Start and wait for the first answer; raises ServerFailed with the last log line, or StorageFault."""
        assert self._watcher is None, "started twice"
        started = False
        self._rotate_log()
        try:
            await self._until_ready()
            started = True
        finally:
            if not started:
                await self.stop()
        self._watcher = asyncio.create_task(self._watch(), name=f"supervise {self.program.name}")

    async def stop(self) -> None:
        """Send the stop signal, wait, then kill; without effect when nothing runs."""
        await self._stop_watching()
        process = self._process
        if process is None or process.returncode is not None:
            return
        self.send(self._stop_signal)
        try:
            async with asyncio.timeout(self._patience.stop_s):
                await process.wait()
        except TimeoutError:
            self.kill9()
            await process.wait()

    def send(self, number: signal.Signals) -> bool:
        """Send a signal to the process itself; False when it does not run."""
        if self.pid is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
            return True
        return False

    def kill9(self) -> None:
        """Kill the process as a crash would, for fault tests; supervision restarts it."""
        self.send(signal.SIGKILL)

    async def restarted(self, count: int) -> None:
        """Wait until the server came back `count` times in all; raises the Fault with which supervision gave up."""
        while self.restarts < count:
            if self.fault is not None:
                raise self.fault
            await self._changed.wait()

    async def _watch(self) -> None:
        while True:
            await self._end_of_life()
            try:
                await asyncio.sleep(self._next_delay_s())
                await self._until_ready()
            except Fault as fault:
                self.fault = fault
                self._announce()
                return
            self.restarts += 1
            self._announce()
            if self._on_restart:
                self._on_restart(self)

    async def _end_of_life(self) -> None:
        assert self._process is not None
        clock = asyncio.get_running_loop()
        born = clock.time()
        await self._process.wait()
        if clock.time() - born >= STEADY_S:
            self._delay_s = FIRST_DELAY_S

    async def _until_ready(self) -> None:
        for _ in range(self._patience.attempts - 1):
            if await self._life_begins():
                return
            if self._process and self._process.returncode in _CANNOT_RUN:
                break
            await asyncio.sleep(self._next_delay_s())
        else:
            if await self._life_begins():
                return
        raise failure(self.program.name, self.program.log, self._log_start)

    async def _life_begins(self) -> bool:
        """Spawn once; True when the server answers, False when it died or stayed silent."""
        process = await self._spawn()
        death = asyncio.ensure_future(process.wait())
        answer = asyncio.ensure_future(self._ready(process.pid))
        try:
            await asyncio.wait((death, answer), timeout=self._patience.ready_s, return_when=asyncio.FIRST_COMPLETED)
            if answer.done() and not death.done():
                answer.result()
                return True
        finally:
            for each in (death, answer):
                each.cancel()
            await asyncio.gather(death, answer, return_exceptions=True)
        if process.returncode is None:
            self.kill9()
        self.failed[await process.wait()] += 1
        self.last_words = telling_line(self.logged)
        return False

    async def _spawn(self) -> Process:
        program = self.program
        log = open_private(program.log, os.O_WRONLY | os.O_APPEND)
        try:
            self._log_start = os.fstat(log).st_size
            self._process = await asyncio.create_subprocess_exec(
                *program.argv,
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
                cwd=program.folder,
                env=program.environment,
                pass_fds=program.inherits,
                start_new_session=True,  # Ctrl-C in a terminal reaches us, not our servers
                umask=0o077,
            )
        except OSError as error:
            raise ServerFailed(
                f"{program.name} cannot start ({error}); see that {program.argv[0]} can be run."
            ) from error
        finally:
            os.close(log)
        return self._process

    def _next_delay_s(self) -> float:
        delay_s, self._delay_s = self._delay_s, min(2 * self._delay_s, LAST_DELAY_S)
        return delay_s

    def _rotate_log(self) -> None:
        with storing(self.program.log):
            rotate(self.program.log)

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _stop_watching(self) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)
