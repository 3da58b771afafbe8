"""The projector, its database and a rebuild are killed with -9 under append load: the views are what the log says."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg  # pyright: ignore[reportMissingTypeStubs] - it ships none
import pytest

from deploy.soak.writer import told
from shared.config import load
from shared.home import Running
from tests.commands import Home, Living
from tests.faults.test_kill_everything import kill_server, told_file, writer
from tests.ground import until

STYLES = {"w-single": "single", "w-batch": "batch", "w-sealed": "sealed"}
VICTIMS = ("projector", "postgres", "rebuild")
PATIENCE_S = 90.0
STARTS = 30


@dataclass
class Storm:
    """Writers on an organism without a projector, a projector beside it, and what is killed while they work."""

    home: Home
    appends: int
    kills: int
    seed: int = 7
    killed: Counter[str] = field(default_factory=Counter[str])
    writers: list[Living] = field(default_factory=list[Living])

    async def run(self) -> None:
        """Return once everything was appended and applied, and was found to be what the log says, each event once."""
        assert self.appends % len(STYLES) == 0, "the writers share them equally"
        chance = random.Random(self.seed)
        victims = [VICTIMS[turn % len(VICTIMS)] for turn in range(self.kills)]
        chance.shuffle(victims)
        with ExitStack() as self.stack:
            self.organism = self.stack.enter_context(self.home.up("--part", "cells.math_cell"))
            self._project()
            for name, style in STYLES.items():
                started = writer(self.home, name, style, self.appends // len(STYLES))
                self.writers.append(self.stack.enter_context(started))
            for turn, victim in enumerate(victims):
                due = (turn + chance.random()) * self.appends / (self.kills + 1)
                await until(lambda due=due: self._told() >= due, PATIENCE_S)
                await self._kill(victim, chance)
            await until(lambda: self._told() == self.appends, PATIENCE_S)
            assert {0} == {writer.end().code for writer in self.writers}
            await self._judge()

    def _told(self) -> int:
        return sum(len(told(told_file(self.home, name))) for name in STYLES)

    def _project(self) -> None:
        """Start the projector, as its supervisor does: again while the database restarts, until it is at work."""
        for _ in range(STARTS):
            self.projector = self.stack.enter_context(self.home.living("part", "organs.records", "--json"))
            told = self.projector.document()
            if told.get("part") == "records":
                return
            assert "Unreachable" == told["kind"], told
        raise AssertionError("the projector never started")

    async def _kill(self, victim: str, chance: random.Random) -> None:
        if victim == "projector":
            self.projector.process.kill()
            self.projector.end()
            self._project()
        elif victim == "postgres":
            kill_server(self.organism.pid, "postgres")
        else:
            rebuild = self.stack.enter_context(self.home.living("views", "rebuild"))
            await asyncio.sleep(3 * chance.random())  # somewhere between its start and its end
            rebuild.process.kill()
            rebuild.end()
        self.killed[victim] += 1

    async def _judge(self) -> None:
        """Wait until the views have read the log; then no event may be missing or twice, and every table is right."""
        running = Running.read(load(self.home.environ, {}, "here").settings)
        assert running is not None
        connection: Any = await _connected(running.database_url)
        effective = "from nimmerverse.decisions where source like 'w-%' and refusal = ''"
        try:
            async with asyncio.timeout(PATIENCE_S):
                while await connection.fetchval(f"select count(*) {effective}") < self.appends:
                    await asyncio.sleep(0.05)
            found = await connection.fetchrow(f"select count(*), count(distinct event_id) {effective}")
            assert (self.appends, self.appends) == tuple(found)
            counted = await connection.fetchval(
                "select sum(events) from nimmerverse.lanes where lane like '%.writer.%'"
            )
            assert self.appends == counted
        finally:
            await connection.close()
        assert self.home.held("views", "verify", "--json", wait_s=PATIENCE_S).documents[0]["ok"]


async def _connected(url: str) -> asyncpg.Connection:
    """Return a connection to a database that may still be recovering from its last kill."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return await asyncpg.connect(url)
            except (OSError, asyncpg.CannotConnectNowError):
                await asyncio.sleep(0.05)


def weathered(folder: Path, appends: int, kills: int) -> Storm:
    """Let writers append while the projector, its database and rebuilds are killed."""
    home = Home.at(folder).set(beat_ms="1000").keyed()
    storm = Storm(home, appends, kills)
    asyncio.run(storm.run())
    assert kills == sum(storm.killed.values())
    return storm


@pytest.mark.spec("X-05", "X-07")
@pytest.mark.parametrize(("appends", "kills"), [(900, 3), pytest.param(3_000, 9, marks=pytest.mark.slow)])
def test_kills_of_projector_database_and_rebuild(tmp_path: Path, appends: int, kills: int) -> None:
    """Through kill -9 of the projector, PostgreSQL and rebuilds, spread over the appends: every event is in the views
    once, and every table equals the one that is built from the log.
    """
    weathered(tmp_path / "home", appends, kills)
