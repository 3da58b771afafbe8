"""A load of appends on real servers that are killed again and again, and the judgement of what the log holds then."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from deploy.soak.judge import Held, appends
from shared.bus import Bus, Draft, Receipt, Writer
from shared.envelope import Verdict
from shared.errors import Unresolved
from shared.world import new_id
from tests.ground import Founded, NatsGround, Noted, until

BUSES = 16
BATCH = 5
STYLES = ("single", "single", "sealed", "batch")


@dataclass
class Ledger:
    """What the writers asked for and were told; `unresolved` counts appends that had to be asked again."""

    asked: dict[bytes, Draft] = field(default_factory=dict[bytes, Draft])
    told: list[Receipt] = field(default_factory=list[Receipt])
    unresolved: int = 0
    kills: int = 0
    seconds: float = 0.0


@dataclass
class Load:
    """So many appends by sixteen buses, single, sealed and in batches, while the server is killed so many times."""

    ground: NatsGround
    appends: int
    kills: int
    ledger: Ledger = field(default_factory=Ledger)

    async def run(self) -> Ledger:
        """Return when every append has its receipt."""
        founded = await Founded.on(self.ground)
        buses = [await founded.part(f"part{n}") for n in range(BUSES)]
        start_s = time.monotonic()
        killer = asyncio.ensure_future(self._kill())
        await asyncio.gather(*(self._write(bus, STYLES[n % len(STYLES)]) for n, bus in enumerate(buses)))
        await killer
        self.ledger.seconds = time.monotonic() - start_s
        await until(lambda: founded.root.wire.connected)
        judge([verdict async for verdict in founded.root.replay()], self.ledger)
        return self.ledger

    async def _write(self, bus: Bus, style: str) -> None:
        drafts = [Draft(Noted(bus.part, n), new_id(bus.world)) for n in range(self.appends // BUSES)]
        self.ledger.asked |= {draft.event_id: draft for draft in drafts}
        if style == "sealed":
            writer = Writer(bus)
            await asyncio.gather(*(self._ask(lambda d=draft: _alone(writer.put(d))) for draft in drafts))
            return
        size = BATCH if style == "batch" else 1
        for start in range(0, len(drafts), size):
            some = drafts[start : start + size]
            await self._ask(lambda some=some: bus.append_many(some))

    async def _ask(self, append: Callable[[], Awaitable[list[Receipt]]]) -> None:
        """Append until there is a receipt, as every part does: the same event id makes it safe."""
        while True:
            try:
                self.ledger.told += await append()
                return
            except Unresolved:
                self.ledger.unresolved += 1

    async def _kill(self) -> None:
        """Kill the server, of a cluster the log's leader, at moments spread over the load.

        Each time it came back before and took more appends.
        """
        chance = random.Random(self.appends)
        for turn in range(self.kills):
            due = (turn + chance.random()) * self.appends / (self.kills + 1)
            await until(lambda due=due: len(self.ledger.told) >= due, 60.0)
            await self.ground.strike()
            self.ledger.kills += 1


async def _alone(one: Awaitable[Receipt]) -> list[Receipt]:
    return [await one]


def judge(verdicts: list[Verdict], ledger: Ledger) -> None:
    """Fail unless every event asked for is in effect exactly once, where its receipt says, on admitted chains."""
    held = Held()
    for verdict in verdicts:
        held.add(verdict)
    told = {receipt.event_id: (receipt.index, receipt.offset) for receipt in ledger.told}
    assert told.keys() == ledger.asked.keys(), "every append resolved"
    line = appends(held, told)
    assert line.ok, line.detail
