"""The port to the views of the log: what keeps them, how it is read, and what goes wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, Self

import msgspec
from blake3 import blake3

from organs.records.view import Row, Table, View
from shared.envelope import Verdict
from shared.errors import ConfigFault, LogFault


class OutOfOrder(LogFault):
    """The views expect an earlier entry: they were dropped meanwhile, and catch up when the entry comes back."""

    retry = True


class NewerViews(ConfigFault):
    """The database was written by a newer version of this product, or by one with other views; nothing is changed."""


class Redeclared(LogFault):
    """Another process replaced the views by ones that are declared otherwise; this one writes nothing into them."""

    retry = True


class DatabaseRefused(ConfigFault):
    """PostgreSQL answers, but not to this: there is no such database or role, or it may not make tables."""

    retry = True


@dataclass(frozen=True, slots=True)
class Opened:
    """What was found at open: views to rebuild because they are declared otherwise now, and whether all is empty."""

    stale: tuple[View, ...] = ()
    new: bool = False


@dataclass(frozen=True, slots=True)
class TableDigest:
    """One table at one moment: how many rows it has, and the digest over all of them in order."""

    rows: int
    digest: str


class Snapshot(Protocol):
    """The views at one moment, whatever is applied meanwhile."""

    @property
    def next_index(self) -> int: ...

    def rows(self, table: Table) -> AsyncIterator[Row]:
        """Yield a table's rows in the order of its key."""
        ...


class Records(Protocol):
    """Views of the log with the inbox that says how far they have read, all changed in one transaction."""

    @property
    def views(self) -> tuple[View, ...]: ...

    async def open(self) -> Opened: ...

    async def close(self) -> None: ...

    async def next_index(self) -> int:
        """Return the index of the first entry that is not applied yet."""
        ...

    async def apply(self, verdicts: Sequence[Verdict]) -> int:
        """Apply the entries that come next, all or none, and return how many; those applied before are passed over.

        Raises Unreachable, OutOfOrder, Redeclared.
        """
        ...

    async def newest(self, table: Table, limit: int) -> list[Row]:
        """Return the last rows in the order of the table's key, the last first."""
        ...

    def snapshot(self) -> AbstractAsyncContextManager[Snapshot]:
        """Hold the views still, for reading."""
        ...

    async def drop(self) -> None:
        """Forget everything: the log is the truth, this is a view."""
        ...

    async def successor(self, views: Sequence[View]) -> Self:
        """Return what some views are rebuilt in, beside these: empty, or where an earlier attempt was cut off."""
        ...

    async def switch(self, successor: Self, finish: Callable[[int], Awaitable[None]]) -> None:
        """Put the successor's tables in the place of one's own, in one step that happens wholly or not at all.

        `finish` brings the successor to the given index while nothing else is applied.
        """
        ...


def unseen(verdicts: Sequence[Verdict], expected: int) -> Sequence[Verdict]:
    """Return the entries that are not applied yet; OutOfOrder unless they begin with the expected one, gapless."""
    fresh = list[Verdict]()
    for verdict in verdicts:
        index = verdict.entry.index
        if index > expected + len(fresh):
            raise OutOfOrder(f"the view expects entry {expected + len(fresh)}, entry {index} came")
        if index == expected + len(fresh):
            fresh.append(verdict)
    return fresh


def tables_of(views: Sequence[View]) -> list[Table]:
    """Return the tables of views, in the order of their declaration."""
    return [table for view in views for table in view.tables]


class RowsDigest:
    """The digest of rows as they pass, in order."""

    def __init__(self) -> None:
        self.rows, self._hasher = 0, blake3()

    def take(self, row: Row) -> None:
        """Take the next row."""
        self.rows += 1
        self._hasher.update(msgspec.msgpack.encode(row))

    def done(self) -> TableDigest:
        """Return the digest of what was taken."""
        return TableDigest(self.rows, self._hasher.hexdigest())


async def digests(snapshot: Snapshot, views: Sequence[View]) -> dict[str, TableDigest]:
    """Return the digest of every table."""
    found: dict[str, TableDigest] = {}
    for table in tables_of(views):
        taken = RowsDigest()
        async for row in snapshot.rows(table):
            taken.take(row)
        found[table.name] = taken.done()
    return found


async def digest(records: Records) -> str:
    """Return one digest over every row of every table in order, and over how far they have read."""
    async with records.snapshot() as held:
        every = await digests(held, records.views)
        whole = (held.next_index, sorted((name, found.rows, found.digest) for name, found in every.items()))
        return blake3(msgspec.msgpack.encode(whole)).hexdigest()
