"""The records organ (the seed calls it *phoebe*): a relational view of the log, dropped and rebuilt by replay."""

from __future__ import annotations

from typing import ClassVar

from organs.records.memory import MemoryRecords
from organs.records.port import Records, rows_of
from organs.records.postgres import PostgresRecords
from shared.config import Settings
from shared.constant import constant
from shared.envelope import Verdict
from shared.part.organ import Log, Organ
from shared.world import SimWorld, World


class RecordsOrgan(Organ):
    """Hears every entry of the log, in order and judged, and keeps one row per decision."""

    name: ClassVar[str] = "records"
    version: ClassVar[str] = "1.0.0"
    cost_ulf: ClassVar[int] = constant(500_000, "micro-lifeforce", "NIM-10")

    def __init__(self, records: Records) -> None:
        self.records = records

    @classmethod
    def build(cls, settings: Settings, world: World) -> RecordsOrgan:  # noqa: ARG003 - as declared
        assert settings.database_url is not None, "the embedded mode fills in the address of its own server"
        return cls(PostgresRecords(settings.database_url))

    @classmethod
    def simulate(cls, world: SimWorld) -> RecordsOrgan:  # noqa: ARG003 - as declared
        return cls(MemoryRecords())

    def again(self, world: SimWorld) -> RecordsOrgan:
        return RecordsOrgan(self.records)

    async def open(self, log: Log) -> None:
        self.log = log
        await self.records.open()

    async def close(self) -> None:
        await self.records.close()

    async def on_entry(self, verdict: Verdict) -> None:
        """Apply one entry once; a view that was dropped meanwhile catches up from the log first."""
        if verdict.entry.index > await self.records.next_index():
            await catch_up(self.records, self.log)
        await self.records.apply(verdict.entry.index, rows_of(verdict))


async def catch_up(records: Records, log: Log, stop: int | None = None) -> None:
    """Apply every entry the view has not seen, up to `stop` (exclusive)."""
    expected = await records.next_index()
    async for verdict in log.replay():
        if stop is not None and verdict.entry.index >= stop:
            return
        if verdict.entry.index >= expected:
            await records.apply(verdict.entry.index, rows_of(verdict))


async def rebuild(records: Records, log: Log, stop: int | None = None) -> str:
    """Drop a view and build it again from the log up to `stop` (exclusive); return its digest."""
    await records.drop()
    await catch_up(records, log, stop)
    return await records.digest()
