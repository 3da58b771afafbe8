"""What a soak does to its home: as other processes of the same user, with the commands that people use."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

from deploy.apart import run_apart
from deploy.host import OPERATOR
from deploy.soak.roles import environment
from shared.bus import Bus
from shared.bus.connecting import connect
from shared.config import load
from shared.constant import constant
from shared.errors import Exit, Unreachable
from shared.home import Running, nkey_path
from shared.settings import Settings
from shared.version import VERSION
from shared.world import World

SOAK_PATIENCE_S = constant(120.0, "s", "X-07")
SOAK_LOOK_S = constant(0.1, "s", "X-07")
COMMAND_AGAIN_S = constant(1.0, "s", "X-07")
OK = int(Exit.OK)

T = TypeVar("T")


class Beside:
    """A home with these settings, whatever runs on it at the moment."""

    def __init__(self, world: World, given: Mapping[str, str]) -> None:
        self.world, self.given = world, given
        self.settings: Settings = load({}, given, given["site"]).settings
        self._last: Running | None = None

    @property
    def running(self) -> Running | None:
        """What runs there; while it is started again, what ran last."""
        self._last = Running.read(self.settings) or self._last
        return self._last

    def port(self) -> int:
        """Return the bus's port; ConnectionRefusedError while nothing runs."""
        running = Running.read(self.settings)
        if running is None:
            raise ConnectionRefusedError
        return urlsplit(running.url).port or 0

    async def command(self, *words: str, through: str = "") -> tuple[int, dict[str, Any]]:
        """Run a command that starts nothing itself; return its exit code and the last document it printed."""
        running = self.running
        if running is None:
            return int(Exit.UNREACHABLE), {}
        nkey = str(nkey_path(self.settings, OPERATOR))
        beside = {"nats_nkey": nkey, "nats_url": through or running.url, "database_url": running.database_url}
        code, out = await run_apart(*words, env=environment({**self.given, **beside}), quiet=True)
        lines = out.decode().splitlines()
        return code, json.loads(lines[-1]) if lines else {}

    async def insist(self, *words: str) -> None:
        """Run a command until it succeeds, as a person would while all is struck; Unreachable if it never does."""
        give_up = self.world.elapsed_s() + SOAK_PATIENCE_S
        while (done := await self.command(*words))[0] != OK:
            if self.world.elapsed_s() > give_up:
                raise Unreachable(f"`{' '.join(words[:2])}` ended with {done[0]}: {done[1].get('error', done[1])}")
            await self.world.sleep(COMMAND_AGAIN_S)

    async def until(self, found: Callable[[], T | None], otherwise: str) -> T:
        """Return what is found as soon as there is something; Unreachable where it never is."""
        give_up = self.world.elapsed_s() + SOAK_PATIENCE_S
        while not (value := found()):
            if self.world.elapsed_s() > give_up:
                raise Unreachable(f"{otherwise}, for {SOAK_PATIENCE_S:.0f} s")
            await self.world.sleep(SOAK_LOOK_S)
        return value

    async def found(self) -> Running:
        """Return what runs there, once something does."""
        return await self.until(lambda: Running.read(self.settings), "nothing runs")

    @asynccontextmanager
    async def reader(self) -> AsyncGenerator[Bus]:
        """Yield a bus that reads the log."""
        running, nkey = await self.found(), nkey_path(self.settings, OPERATOR)
        wire = await connect(running.url, OPERATOR, nkey=nkey, private_inbox=False)
        try:
            yield Bus(self.world, wire, OPERATOR, VERSION, [])
        finally:
            await wire.close()


def objection(told: Mapping[str, Any]) -> str:
    """Return the first thing that an audit objects to, in its own words."""
    for name in ("integrity", "completeness", "freshness", "admission", "trust"):
        judged = told.get(name, {})
        if not judged.get("ok", True):
            return str(judged["detail"])
    return str(told.get("error") or told.get("verdict") or dict(told))
