"""Bringing views to where the log is: catching up, building them anew beside the old ones, comparing the two."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from organs.records.port import Records, RowsDigest, Snapshot, TableDigest, tables_of
from organs.records.view import Row, Table, View
from shared.constant import constant
from shared.envelope import Verdict
from shared.errors import LogFault, Unreachable
from shared.journal import record
from shared.part.organ import JudgedLog

AT_ONCE = constant(500, "entries", "X-05")
SWITCHES = constant(3, "attempts", "X-05")
TOLD = constant(10_000, "entries", "X-05")
Told = Callable[[int], None]


async def catch_up(records: Records, log: JudgedLog, stop: int | None = None) -> None:
    """Apply every entry the views have not seen, up to `stop` (exclusive), many in one transaction."""
    while True:
        start = await records.next_index()
        limit = AT_ONCE if stop is None else min(AT_ONCE, stop - start)
        entries = await log.judged(start, limit, -1 if stop is None else stop - 1) if limit > 0 else []
        if not entries:
            return
        await records.apply(entries)


async def fill(records: Records, replay: AsyncIterator[Verdict], stop: int, told: Told = lambda _: None) -> None:
    """Apply what a replay from the genesis says, up to `stop` (exclusive); LogFault where it ends before."""
    reached = await records.next_index()
    batch: list[Verdict] = []
    async for verdict in replay:
        if verdict.entry.index >= stop:
            break
        if verdict.entry.index >= reached:
            batch.append(verdict)
        if len(batch) == AT_ONCE:
            reached += await records.apply(batch)
            batch = []
            told(reached)
    reached += await records.apply(batch)
    if reached < stop:
        raise LogFault(f"the views have read {stop} entries, the log ends after {reached}")


async def rebuild(records: Records, log: JudgedLog, views: Sequence[View] = ()) -> None:
    """Build views (all of them, unless named) from the genesis beside the present ones, then put them in their place.

    The old ones can be read until then. An attempt that was cut off is gone on with.
    """
    views = views or records.views
    names, stop = ", ".join(view.name for view in views), await records.next_index()
    successor = await records.successor(views)
    if await successor.next_index() > stop:  # the present ones were dropped since that attempt
        await successor.drop()

    def told(reached: int) -> None:
        if reached % TOLD == 0:
            record("records", "views_rebuilding", views=names, reached=reached, of=stop)

    async def finish(index: int) -> None:
        await catch_up(successor, log, index)

    try:
        record("records", "views_rebuilding", views=names, reached=await successor.next_index(), of=stop)
        await fill(successor, log.replay(), stop, told)
        for left in reversed(range(SWITCHES)):
            try:
                await records.switch(successor, finish)
                break
            except Unreachable:  # somebody with psql held what is replaced; the successor stands all the same
                if not left:
                    raise
        record("records", "views_rebuilt", views=names, entries=await records.next_index())
    finally:
        await successor.close()


@dataclass(frozen=True, slots=True)
class Difference:
    """The first row, in the order of the key, that is not the same: what is in the view, and what the log says."""

    key: dict[str, Any]
    found: dict[str, Any] | None  #: None: the row is missing
    expected: dict[str, Any] | None  #: None: no such row comes from the log
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Compared:
    """One table of the view beside the one built from the log."""

    table: str
    live: TableDigest
    rebuilt: TableDigest
    difference: Difference | None


async def compare(live: Snapshot, rebuilt: Snapshot, views: Sequence[View]) -> list[Compared]:
    """Compare every table, row by row."""
    assert live.next_index == rebuilt.next_index, "two views are compared at one index"
    return [await _compare(table, live.rows(table), rebuilt.rows(table)) for table in tables_of(views)]


async def verify(
    records: Records, fresh: Records, log: JudgedLog, replay: AsyncIterator[Verdict]
) -> tuple[int, list[Compared]]:
    """Build `fresh` from the genesis and compare the views with it; return the index both stand at, and what was found.

    `fresh` holds all the views and has read nothing yet.
    """
    await fill(fresh, replay, await records.next_index())
    async with records.snapshot() as live:
        await catch_up(fresh, log, live.next_index)
        async with fresh.snapshot() as rebuilt:
            return live.next_index, await compare(live, rebuilt, records.views)


async def _compare(table: Table, live: AsyncIterator[Row], rebuilt: AsyncIterator[Row]) -> Compared:
    digests, difference = (RowsDigest(), RowsDigest()), None
    here, there = await anext(live, None), await anext(rebuilt, None)
    while here is not None or there is not None:
        if difference is None and here != there:
            difference = _difference(table, here, there)
        if here is not None:
            digests[0].take(here)
            here = await anext(live, None)
        if there is not None:
            digests[1].take(there)
            there = await anext(rebuilt, None)
    return Compared(table.name, digests[0].done(), digests[1].done(), difference)


def _difference(table: Table, here: Row | None, there: Row | None) -> Difference:
    """Say what the first two rows that differ have not in common; of two keys the smaller one lacks its counterpart."""
    keys = [table.key_of(row) for row in (here, there) if row is not None]
    key: Any = min(keys)
    found = here if here is not None and table.key_of(here) == key else None
    expected = there if there is not None and table.key_of(there) == key else None
    both = found is not None and expected is not None
    odd = tuple(n for n, a, b in zip(table.names, found or (), expected or (), strict=False) if a != b) if both else ()
    return Difference(dict(zip(table.key, key, strict=True)), _named(table, found), _named(table, expected), odd)


def _named(table: Table, row: Row | None) -> dict[str, Any] | None:
    return None if row is None else dict(zip(table.names, row, strict=True))
