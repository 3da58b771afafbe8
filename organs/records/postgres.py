"""The real adapter of the records port: PostgreSQL through asyncpg, every view and the inbox in one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Self, TypeVar, cast

from organs.records.connection import Connection, connected, named_trouble
from organs.records.port import NewerViews, Opened, OutOfOrder, Redeclared, tables_of, unseen
from organs.records.schema import LAYOUT, OWN_TABLES, batches, create, select, select_newest
from organs.records.view import Row, Table, View, changes_of
from organs.records.views import VIEWS
from shared.constant import constant
from shared.envelope import Verdict
from shared.errors import InUse, Unreachable

T = TypeVar("T")
SCHEMA = constant("nimmerverse", "schema name", "X-05")
PREFETCH = constant(1_000, "rows", "X-05")

_NEXT = "select next_index from inbox"
#: The row is locked first: whoever replaces the tables holds it, so the declaration read after it is the one in force.
_LOCK = "select next_index, layout from inbox for update"
_VERSIONS = "select view, revision, declaration, tables from view_versions order by view"
#: Everybody locks the inbox, then the versions, then tables. Who reads them all does so before it looks, because a
#: snapshot that is older than a switch would find the new tables empty.
_READ = "lock table inbox, view_versions in access share mode"
_REPLACE = "lock table view_versions in access exclusive mode"
_VERSION = "insert into view_versions values ($1, $2, $3, $4)"


@dataclass(frozen=True, slots=True)
class Stored:
    """A view as the database holds it: the declaration it was built with, and its tables."""

    name: str
    revision: int
    declaration: str
    tables: tuple[str, ...]


class PostgresRecords:
    """A schema in a PostgreSQL database; a lost connection is opened again by the next call."""

    def __init__(self, dsn: str, schema: str = SCHEMA, views: Sequence[View] = VIEWS) -> None:
        if not (schema.isidentifier() and schema.isascii() and schema == schema.lower()):
            raise ValueError(f"{schema!r} is not a schema name")
        self.dsn, self.schema, self.views = dsn, schema, tuple(views)
        self._connection: Connection | None = None
        self._one_at_a_time = asyncio.Lock()  #: asyncpg refuses a second operation on one connection

    async def open(self) -> Opened:
        """Make the schema where there is none, and say what in it is declared otherwise. Raises NewerViews too."""

        async def look(connection: Connection) -> Opened:
            async with connection.transaction():
                await self._alone(connection)
                if not await self._is_there(connection):
                    await self._make(connection)
                    return Opened(new=True)
                stored = {view.name: view for view in await _stored(connection)}
                _refuse_newer(stored, self.views, await _layout(connection))
                stale = [v for v in self.views if v.name not in stored or stored[v.name].declaration != v.declaration]
                return Opened(tuple(stale))

        return await self._run(look)

    async def close(self) -> None:
        if self._connection is not None and not self._connection.is_closed():
            await self._connection.close(timeout=5)
        self._connection = None

    async def next_index(self) -> int:
        return await self._run(_next)

    async def stored(self) -> list[Stored]:
        """Return the views as the database holds them; none where there is no schema."""

        async def look(connection: Connection) -> list[Stored]:
            return await _stored(connection) if await self._is_there(connection) else []

        return await self._run(look)

    async def apply(self, verdicts: Sequence[Verdict]) -> int:
        async def change(connection: Connection) -> int:
            async with connection.transaction():
                fresh = unseen(verdicts, await self._lock(connection))
                if fresh:
                    for changes in changes_of(self.views, fresh).values():
                        for statement, rows in batches(changes):
                            await connection.executemany(statement, rows)
                    await connection.execute("update inbox set next_index = $1", fresh[-1].entry.index + 1)
                return len(fresh)

        return await self._run(change)

    async def newest(self, table: Table, limit: int) -> list[Row]:
        return [_row(row) for row in await self._run(lambda c: c.fetch(select_newest(table), limit))]

    @asynccontextmanager
    async def snapshot(self) -> AsyncGenerator[PostgresSnapshot]:
        """Hold the views still on a connection of its own, so that nothing else has to wait."""
        with named_trouble(self.dsn, lambda: None):
            connection = await connected(self.dsn, self.schema)
            try:
                async with connection.transaction(isolation="repeatable_read", readonly=True):
                    await connection.execute(_READ)
                    yield PostgresSnapshot(await _next(connection), connection)
            finally:
                with suppress(OSError, TimeoutError):  # it was only read: nothing depends on how the link ends
                    await connection.close(timeout=5)

    async def drop(self) -> None:
        await self._run(self._make_anew)

    async def remove(self) -> None:
        """Drop the schema and do not make it again."""
        await self._run(lambda c: c.execute(f"drop schema if exists {self.schema} cascade"))

    async def claim(self) -> None:
        """Keep this schema to oneself until `close`; InUse where another process does."""
        if not await self._run(lambda c: c.fetchval("select pg_try_advisory_lock(hashtext($1))", f"own {self.schema}")):
            raise InUse(f"another process is using the schema {self.schema}; wait for it to end")

    async def successor(self, views: Sequence[View]) -> Self:
        fresh = type(self)(self.dsn, f"{self.schema}_next", views)

        begun = {view.name: view.declaration for view in await fresh.stored()}
        if begun != {view.name: view.declaration for view in views}:
            await fresh.drop()
        return fresh

    async def switch(self, successor: Self, finish: Callable[[int], Awaitable[None]]) -> None:
        """As the port says; who reads meanwhile, or after a kill, sees the old tables or the new ones.

        What this code does not declare any more goes with a rebuild of everything.
        """

        async def take(connection: Connection) -> None:
            async with connection.transaction():
                found = await connection.fetchrow(_LOCK)
                stop = 0 if found is None else int(found[0])
                await finish(stop)
                if await successor.next_index() != stop:
                    raise OutOfOrder(f"the rebuilt views have read {await successor.next_index()} entries, not {stop}")
                await connection.execute(_REPLACE)
                new, declared = {v.name: v for v in successor.views}, {v.name for v in self.views}
                for view in await _stored(connection):
                    if view.name in new or view.name not in declared:
                        for table in view.tables:
                            await connection.execute(f"drop table if exists {self.schema}.{table} cascade")
                        await connection.execute("delete from view_versions where view = $1", view.name)
                for view in successor.views:
                    for table in view.tables:
                        await connection.execute(
                            f"alter table {successor.schema}.{table.name} set schema {self.schema}"
                        )
                    await connection.execute(_VERSION, *_version(view))
                await connection.execute("update inbox set layout = $1", LAYOUT)
                await connection.execute(f"drop schema {successor.schema} cascade")

        await self._run(take)

    async def _is_there(self, connection: Connection) -> bool:
        there = "select true from pg_tables where schemaname = $1 and tablename = 'view_versions'"
        return bool(await connection.fetchval(there, self.schema))

    async def _lock(self, connection: Connection) -> int:
        """Lock the inbox and return the next index; Redeclared unless these are the views of this code."""
        found = await connection.fetchrow(_LOCK)
        if found is None:
            raise Unreachable("the views are being rebuilt")
        stored = {view.name: view.declaration for view in await _stored(connection)}
        if found[1] != LAYOUT or stored != {view.name: view.declaration for view in self.views}:
            raise Redeclared(f"the views in {self.schema} were rebuilt by another version; restart with the same one")
        return int(found[0])

    async def _make_anew(self, connection: Connection) -> None:
        async with connection.transaction():
            await self._alone(connection)
            if await self._is_there(connection):
                await connection.execute(f"lock table {self.schema}.inbox")  # as everyone does who changes the tables
            await self._make(connection)

    async def _alone(self, connection: Connection) -> None:
        """Wait until nobody else makes this schema, and let nobody until the transaction ends."""
        await connection.execute("select pg_advisory_xact_lock(hashtext($1))", f"view {self.schema}")

    async def _make(self, connection: Connection) -> None:
        """Make the tables, all at once; nobody ever sees the views half made."""
        await connection.execute(f"drop schema if exists {self.schema} cascade")
        await connection.execute(f"create schema {self.schema}")
        await connection.execute(OWN_TABLES)
        await connection.execute("insert into inbox values (true, 0, $1)", LAYOUT)
        for view in self.views:
            for statement in create(view):
                await connection.execute(statement)
            await connection.execute(_VERSION, *_version(view))

    async def _run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        async with self._one_at_a_time:
            with named_trouble(self.dsn, self._forget):
                if self._connection is None or self._connection.is_closed():
                    self._connection = await connected(self.dsn, self.schema)
                return await work(self._connection)

    def _forget(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
        self._connection = None


@dataclass(frozen=True, slots=True)
class PostgresSnapshot:
    """A transaction that sees one moment."""

    next_index: int
    connection: Connection

    async def rows(self, table: Table) -> AsyncIterator[Row]:
        async for row in self.connection.cursor(select(table), prefetch=PREFETCH):
            yield _row(row)


async def _next(connection: Connection) -> int:
    """Return the inbox row; Unreachable while a rebuild, begun after this question, hides it."""
    found = await connection.fetchval(_NEXT)
    if found is None:
        raise Unreachable("the views are being rebuilt")
    return cast("int", found)


async def _stored(connection: Connection) -> list[Stored]:
    return [Stored(name, revision, d, tuple(tables)) for name, revision, d, tables in await connection.fetch(_VERSIONS)]


async def _layout(connection: Connection) -> int:
    return cast("int", await connection.fetchval("select layout from inbox"))


def _version(view: View) -> tuple[object, ...]:
    return view.name, view.revision, view.declaration, [table.name for table in tables_of([view])]


def _refuse_newer(stored: dict[str, Stored], views: Sequence[View], layout: int) -> None:
    """Raise NewerViews where the database knows more than this code."""
    known = {view.name: view.revision for view in views}
    newer = [f"view {v.name} in revision {v.revision}" for v in stored.values() if v.revision > known.get(v.name, 0)]
    newer += [f"layout {layout}"] if layout > LAYOUT else []
    if newer:
        raise NewerViews(
            f"the database holds {', '.join(newer)}, which this version does not know; start the newer version, or "
            "give the newer views up with `nimmerverse views rebuild`"
        )


def _row(row: Sequence[object]) -> Row:
    return tuple(tuple(cast("list[str]", v)) if isinstance(v, list) else v for v in row)  # type: ignore[misc]
