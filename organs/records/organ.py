"""The records organ (the seed calls it *phoebe*): relational views of the log, dropped and rebuilt by replay."""

from __future__ import annotations

from typing import ClassVar

from organs.records.building import AT_ONCE, catch_up, rebuild
from organs.records.memory import MemoryRecords
from organs.records.port import OutOfOrder, Records, tables_of
from organs.records.postgres import PostgresRecords
from organs.records.views.decisions import DECISIONS
from shared.constant import constant
from shared.envelope import Verdict
from shared.journal import record
from shared.part.organ import JudgedLog, Organ
from shared.settings import Settings
from shared.world import SimWorld, World

BEHIND_NS = constant(1_000_000_000, "ns", "X-05")


class RecordsOrgan(Organ):
    """Hears every entry of the log, in order and judged, and applies every view of it."""

    name: ClassVar[str] = "records"
    version: ClassVar[str] = "1.0.0"
    cost_ulf: ClassVar[int] = constant(500_000, "micro-lifeforce", "NIM-10")

    def __init__(self, records: Records, world: World | None = None) -> None:
        self.records, self.world = records, world
        self._reached = 0  #: what the views have read, as far as this organ knows

    @classmethod
    def build(cls, settings: Settings, world: World) -> RecordsOrgan:
        assert settings.database_url is not None, "the embedded mode fills in the address of its own server"
        return cls(PostgresRecords(settings.database_url), world)

    @classmethod
    def simulate(cls, world: SimWorld) -> RecordsOrgan:
        return cls(MemoryRecords(), world)

    def again(self, world: SimWorld) -> RecordsOrgan:
        return RecordsOrgan(self.records)

    async def open(self, log: JudgedLog) -> None:
        """Open the views; what was declared otherwise is rebuilt first, and what is missing is read from the log."""
        self.log = log
        opened = await self.records.open()
        if opened.stale:
            await rebuild(self.records, log, opened.stale)
        other = not opened.new and await self._of_another_log()
        if other:  # a backup took the log's place, and what it lost is still shown
            record(self.name, "views_dropped", reached=await self.records.next_index())
            await self.records.drop()
        if opened.new or other:
            await catch_up(self.records, log)

    async def _of_another_log(self) -> bool:
        """Say whether the last entry that the views show is not the one that stands there in the log."""
        reached = await self.records.next_index()
        if not reached or DECISIONS not in tables_of(self.records.views):
            return False
        [row] = await self.records.newest(DECISIONS, 1)
        shown = dict(zip(DECISIONS.names, row, strict=True))
        stored = await self.log.judged(reached - 1, 1, reached - 1)
        return not stored or (shown["index"], shown["broker_ns"]) != (reached - 1, stored[0].entry.time_ns)

    async def close(self) -> None:
        await self.records.close()

    async def on_entry(self, verdict: Verdict) -> None:
        """Apply one entry once; views that are behind catch up from the log, many entries at a time."""
        index = verdict.entry.index
        if index < self._reached and index % AT_ONCE:
            return  # read ahead: it is applied, and the next round AT_ONCE will look for more
        behind = self.world is not None and self.world.now_ns() - verdict.entry.time_ns > BEHIND_NS
        if behind:
            await catch_up(self.records, self.log)
        try:
            await self.records.apply([verdict])
        except OutOfOrder:
            await catch_up(self.records, self.log)
            await self.records.apply([verdict])
        self._reached = max(index + 1, await self.records.next_index()) if behind else index + 1
