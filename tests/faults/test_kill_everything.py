"""Everything that can be killed is killed with -9 under load: the bus, the database, a writer, the organism itself."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from deploy.soak.writer import Told, draft, told
from organs.records import PostgresRecords, verify
from shared.bus import Bus, Receipt
from shared.bus.connecting import connect
from shared.config import load
from shared.home import Keys, Running, nkey_path
from shared.keys.sealed import CHEAP
from shared.settings import Settings
from shared.world import RealWorld
from tests.commands import Home, Living, family
from tests.ground import until
from tests.load import Ledger, judge

STYLES = {"w-single": "single", "w-batch": "batch", "w-sealed": "sealed", "w-sealed2": "sealed"}
VICTIMS = ("nats-server", "postgres", "writer", "organism")
PATIENCE_S = 90.0


@dataclass
class Siege:
    """Writers on an organism, and what was killed while their load advanced."""

    home: Home
    settings: Settings
    appends: int
    kills: int
    seed: int
    killed: Counter[str] = field(default_factory=Counter[str])
    writers: dict[str, Living] = field(default_factory=dict[str, Living])
    seconds: dict[str, float] = field(default_factory=dict[str, float])

    async def run(self) -> None:
        """Return once every append has its receipt and the log and its view were judged."""
        chance = random.Random(self.seed)
        victims = [VICTIMS[turn % len(VICTIMS)] for turn in range(self.kills)]
        chance.shuffle(victims)
        with ExitStack() as self.stack:
            self.organism = self.stack.enter_context(self.home.up())
            for name in STYLES:
                self._write(name)
            start_s = time.monotonic()
            for turn, victim in enumerate(victims):
                due = (turn + chance.random()) * self.appends / (self.kills + 1)
                await until(lambda due=due: self._acknowledged() >= due, PATIENCE_S)
                self._kill(victim, chance)
            await until(lambda: self._acknowledged() == self.appends, PATIENCE_S)
            assert {0} == {writer.end().code for writer in self.writers.values()}
            self.seconds["load"] = time.monotonic() - start_s
            await self._judge()
            self.seconds["whole"] = time.monotonic() - start_s

    @property
    def _each(self) -> int:
        return self.appends // len(STYLES)

    def _write(self, name: str) -> None:
        """Start a writer, or start it again: it goes on behind what it was told."""
        self.writers[name] = self.stack.enter_context(writer(self.home, name, STYLES[name], self._each))

    def _acknowledged(self) -> int:
        """Return how many events the writers were told of so far."""
        for name, writer in self.writers.items():
            assert writer.process.poll() in (None, 0), f"{name} ended: {writer.errors[-5:]}"
        return sum(map(len, self._told().values()))

    def _told(self) -> dict[str, list[Told]]:
        return {name: told(told_file(self.home, name)) for name in STYLES}

    def _kill(self, victim: str, chance: random.Random) -> None:
        """Kill as the kernel does when memory runs out; a supervisor, here or in the organism, starts it again."""
        if victim == "writer":
            name = chance.choice(sorted(name for name, writer in self.writers.items() if writer.process.poll() is None))
            self.writers[name].process.kill()
            self.writers[name].end()
            self._write(name)
        elif victim == "organism":
            self.organism.process.kill()
            self.organism.end()
            self.organism = self.stack.enter_context(self.home.up())
        else:
            kill_server(self.organism.pid, victim)
        self.killed[victim] += 1

    async def _judge(self) -> None:
        """Read the log back, and compare the view with one that is built from it."""
        running = Running.read(self.settings)
        assert running is not None
        seed = nkey_path(self.settings, "operator")
        wire = await connect(running.url, "operator", nkey=seed, private_inbox=False)
        bus = Bus(RealWorld("dev"), wire, "operator", "1", [])
        verdicts = [verdict async for verdict in bus.replay(running.fingerprint)]
        ledger = Ledger(
            {
                each.event_id: each
                for name in STYLES
                for each in (draft(name, n) for n in range(self.appends // len(STYLES)))
            },
            [
                Receipt(one.index, one.offset, "", draft(name, one.n).event_id)
                for name, heard in self._told().items()
                for one in heard
            ],
        )
        assert self.appends == len(ledger.asked) == len(ledger.told)
        judge(verdicts, ledger)
        live, again = PostgresRecords(running.database_url), PostgresRecords(running.database_url, "rebuilt")
        try:
            await self._agree(bus, live, again, len(verdicts))
        finally:
            await again.remove()
            for records in (live, again):
                await records.close()
            await bus.drain()

    async def _agree(self, bus: Bus, live: PostgresRecords, again: PostgresRecords, size: int) -> None:
        """Wait until the view has read the log; then it must be what a rebuilt one is."""
        async with asyncio.timeout(PATIENCE_S):
            while await live.next_index() < size:
                await asyncio.sleep(0.05)
        await again.drop()
        _, compared = await verify(live, again, bus, bus.replay())
        assert [] == [table for table in compared if table.live != table.rebuilt]


def told_file(home: Home, name: str) -> Path:
    """Where a writer writes down what it was told."""
    return home.folder.with_name(f"{name}.told")


@contextmanager
def writer(home: Home, name: str, style: str, events: int) -> Iterator[Living]:
    """Start a writer of so many events as a process of its own."""
    words = (sys.executable, "-m", "deploy.soak.writer", name, style, str(events), str(told_file(home, name)))
    with Home(home.folder, home.settings, words).living() as living:
        yield living


def kill_server(organism: int, name: str) -> None:
    """Kill the embedded server itself: the first of its name below the organism's, once one runs.

    A start that fails by itself, as one does that meets what the last kill left, may be gone before it is killed.
    """
    give_up = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up:
        with suppress(psutil.NoSuchProcess):
            named = [process for process in family(organism) if process.name() == name]
            if named:
                min(named, key=lambda process: (process.create_time(), process.pid)).kill()
                return
    raise AssertionError(f"no {name} runs")


def besieged(folder: Path, appends: int, kills: int, seed: int = 7) -> Siege:
    """Let writers append on a fresh organism while everything is killed, and return what happened."""
    home = Home.at(folder).set(beat_ms="1000")
    settings = load(home.environ, {}, "here").settings
    Keys(settings, RealWorld("dev"), CHEAP)
    siege = Siege(home, settings, appends, kills, seed)
    asyncio.run(siege.run())
    assert kills == sum(siege.killed.values())
    assert min(kills, len(VICTIMS)) == len(siege.killed)
    return siege


@pytest.mark.spec("X-07", "X-10")
@pytest.mark.parametrize(("appends", "kills"), [(2_000, 4), pytest.param(10_000, 10, marks=pytest.mark.slow)])
def test_kills_of_everything(tmp_path: Path, appends: int, kills: int) -> None:
    """Through kill -9 of nats-server, PostgreSQL, writers and the whole organism, spread over the appends: every append
    resolves, each event is in effect once where its receipt says, and the view is what a rebuilt one is.
    """
    besieged(tmp_path / "home", appends, kills)
