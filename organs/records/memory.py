"""The simulated adapter of the records port: the same behaviour, in memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

from organs.records.port import Opened, tables_of, unseen
from organs.records.view import Change, Row, Table, View, changes_of, merged, whole
from organs.records.views import VIEWS
from shared.envelope import Verdict

Rows = dict[Row, Row]


class MemoryRecords:
    """Rows in a dictionary for each table, by their order key."""

    def __init__(self, views: Sequence[View] = VIEWS) -> None:
        self.views = tuple(views)
        self.next = 0
        self.tables: dict[str, Rows] = {table.name: {} for table in tables_of(self.views)}

    async def open(self) -> Opened:
        return Opened()

    async def close(self) -> None:
        return

    async def next_index(self) -> int:
        return self.next

    async def apply(self, verdicts: Sequence[Verdict]) -> int:
        fresh = unseen(verdicts, self.next)
        for table, changes in changes_of(self.views, fresh).items():
            for change in changes:
                _change(self.tables[table.name], change)
        self.next += len(fresh)
        return len(fresh)

    async def newest(self, table: Table, limit: int) -> list[Row]:
        return [row for _, row in sorted(self.tables[table.name].items(), reverse=True)[:limit]]

    @asynccontextmanager
    async def snapshot(self) -> AsyncGenerator[MemorySnapshot]:
        yield MemorySnapshot(self.next, {name: dict(rows) for name, rows in self.tables.items()})

    async def drop(self) -> None:
        self.tables, self.next = {table.name: {} for table in tables_of(self.views)}, 0

    async def successor(self, views: Sequence[View]) -> Self:
        return type(self)(views)

    async def switch(self, successor: Self, finish: Callable[[int], Awaitable[None]]) -> None:
        await finish(self.next)
        assert successor.next == self.next, "nothing runs between"
        self.tables |= successor.tables


@dataclass(frozen=True, slots=True)
class MemorySnapshot:
    """A copy of every row."""

    next_index: int
    tables: dict[str, Rows]

    async def rows(self, table: Table) -> AsyncIterator[Row]:
        for _, row in sorted(self.tables[table.name].items()):
            yield row


def _change(rows: Rows, change: Change) -> None:
    table = change.table
    values = dict(zip(change.names, change.values, strict=True))
    key = tuple(values[name] for name in table.key)
    old = dict(zip(table.names, rows[key], strict=True)) if key in rows else None
    if change.kind == "copy":
        like = rows.get(change.source)
        if like is not None:
            assert old is None, f"{table.name} has a row {key} already"
            rows[key] = whole(table, dict(zip(table.names, like, strict=True)) | values)
    elif old is not None:
        assert change.kind != "insert", f"{table.name} has a row {key} already"
        fresh = {
            name: merged(table.by_name[name], old[name], new) for name, new in values.items() if name not in table.key
        }
        rows[key] = whole(table, old | fresh)
    elif change.kind != "update":
        rows[key] = whole(table, values)
