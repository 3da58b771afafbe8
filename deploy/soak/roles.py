"""The long-living processes of a soak: each is started again when it dies, and says how often it died unasked."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from signal import SIGTERM

import psutil

from deploy.embedded import Child, Patience, Program
from deploy.embedded.launch import AS_WE_ARE
from deploy.embedded.log_file import lines_since
from shared.constant import constant
from shared.errors import Exit
from shared.home import Running
from shared.settings import Settings
from shared.world import World

ROLE_START_S = constant(120.0, "s", "X-07")
ROLE_STARTS = constant(100, "starts", "X-07")
STOP_S = constant(30.0, "s", "X-07")
ROLE_LOOK_S = constant(0.1, "s", "X-07")
LAST_LINE = 200
#: What the start of an organism ends with where the quota is full, and that of a part where there is nothing to join.
NO_ROOM = (Exit.STORAGE,)
NOTHING_TO_JOIN = (*NO_ROOM, Exit.CONFIG, Exit.UNREACHABLE)

Works = Callable[[int], Awaitable[None]]


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a process of ours with these settings, and none of whoever started the soak."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NIMMERVERSE_")}
    here = str(Path(__file__).parents[2])
    return kept | {"PYTHONPATH": here} | {f"NIMMERVERSE_{name.upper()}": value for name, value in settings.items()}


class Role:
    """One process under its name. `works(pid)` returns once it does its work.

    `kills` counts its own deaths by strikes. A start may end with what is `excused`, and once with UNREACHABLE for each
    server of its own that was struck, which `shaken` counts.
    """

    excused: Collection[int] = ()

    def __init__(self, name: str, words: Sequence[str], log: Path, environ: dict[str, str], works: Works) -> None:
        self.name, self.log, self.kills, self.shaken = name, log, 0, 0
        program = Program(name=name, argv=_argv(words), log=log, folder=log.parent, environment=environ)
        patience = Patience(ready_s=ROLE_START_S, attempts=ROLE_STARTS, stop_s=STOP_S)
        self.child = Child(program, works, patience=patience)

    def renamed(self, words: Sequence[str]) -> None:
        """Let its next life begin with other words."""
        self.child.program = replace(self.child.program, argv=_argv(words))

    async def kill(self) -> None:
        """Kill it as the kernel does when memory runs out, once it works after its last death, however it died."""
        while self.child.pid is None or self.child.restarts < self.kills:
            await self.child.restarted(max(self.kills, self.child.restarts + 1))
        self.kills += 1
        self.child.kill9()

    async def whole(self) -> None:
        """Wait until it works after its last death; the Fault with which its supervision gave up."""
        await self.child.restarted(self.kills)

    def below(self, name: str) -> list[psutil.Process]:
        """Return the processes of a name that it started, the oldest first."""
        with suppress(psutil.Error):
            if self.child.pid is not None:
                family = psutil.Process(self.child.pid).children(recursive=True)
                named = [each for each in family if _is_called(each, name)]
                return sorted(named, key=lambda each: (each.create_time(), each.pid))
        return []

    def objection(self) -> str:
        """Return what is to object to its lives; nothing where it died only when it was killed, and works again."""
        if self.child.fault is not None:
            return f"{self.name} cannot be started any more: {self.child.fault}"
        failed = self.child.failed - Counter({int(Exit.UNREACHABLE): self.shaken})
        odd = [f"{count} times with {code}" for code, count in sorted(failed.items()) if code not in self.excused]
        if odd:
            said = self.child.last_words[:LAST_LINE]
            return f"{self.name} ended {', '.join(odd)} before it worked, lastly saying: {said}"
        last = (lines_since(self.log, 0) or ["nothing was said"])[-1][:LAST_LINE]
        if self.child.restarts > self.kills:
            return f"{self.name} died {self.child.restarts - self.kills} times by itself, lastly saying: {last}"
        return "" if self.child.restarts == self.kills else f"{self.name} works no more, lastly saying: {last}"


def alive(settings: Settings, world: World) -> Works:
    """Return what waits until the organism of a home is the one of this process."""

    async def works(pid: int) -> None:
        while (running := Running.read(settings)) is None or running.pid != pid:
            await world.sleep(ROLE_LOOK_S)

    return works


def says(log: Path, words: str, world: World) -> Works:
    """Return what waits until a process has said something."""

    async def works(_: int) -> None:
        start = _size(log)
        while not any(words in line for line in lines_since(log, start)):
            await world.sleep(ROLE_LOOK_S)

    return works


def grows(file: Path, world: World) -> Works:
    """Return what waits until a file is longer than it is."""

    async def works(_: int) -> None:
        start = _size(file)
        while _size(file) == start:
            await world.sleep(ROLE_LOOK_S)

    return works


async def still(files: Mapping[str, Path], world: World, patience_s: float) -> list[str]:
    """Return the names of the files that do not grow, however long one waits."""
    growing = {name: asyncio.ensure_future(grows(file, world)(0)) for name, file in files.items()}
    _, stuck = await asyncio.wait(growing.values(), timeout=patience_s)
    for each in stuck:
        each.cancel()
    return [name for name, each in growing.items() if each in stuck]


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _argv(words: Sequence[str]) -> tuple[str, ...]:
    return AS_WE_ARE.argv((sys.executable, "-m", *words), SIGTERM)


def _is_called(process: psutil.Process, name: str) -> bool:
    with suppress(psutil.Error):
        return process.name() == name
    return False
