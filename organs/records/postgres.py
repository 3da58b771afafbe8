"""The real adapter of the records port: PostgreSQL through asyncpg, rows and inbox in one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import astuple
from typing import Any, Protocol, TypeVar, cast

import asyncpg  # pyright: ignore[reportMissingTypeStubs] - it ships none; _Connection below says what is used

from organs.records.port import DecisionRow, OutOfOrder, digest_of
from shared.errors import StorageFault, Unreachable

T = TypeVar("T")

_TABLES = """
create table if not exists decisions (
    index bigint not null, place integer not null, subject text not null, entity text not null, source text not null,
    version text not null, event_id text not null, cause text not null, written_ms bigint not null,
    broker_ns bigint not null, data text not null, evidence_bytes integer not null, refusal text not null,
    primary key (index, place));
create index if not exists decisions_by_subject on decisions (md5(subject), index);
create index if not exists decisions_by_event on decisions (md5(event_id));
create table if not exists inbox (view text primary key, next_index bigint not null);
insert into inbox values ('decisions', 0) on conflict do nothing;
"""
_NEXT = "select next_index from inbox where view = 'decisions'"
_INSERT = "insert into decisions values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"

_GONE = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # asyncpg's own state after its server was killed in mid-sentence
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
)
#: What another process's rebuild of the same view looks like from here; it is over in a moment.
_REBUILT = (
    asyncpg.UndefinedTableError,
    asyncpg.InvalidSchemaNameError,
    asyncpg.InvalidCachedStatementError,
    asyncpg.OutdatedSchemaCacheError,
    asyncpg.TransactionRollbackError,
    asyncpg.InternalServerError,
)


class _Connection(Protocol):
    """What this module uses of asyncpg's connection."""

    async def execute(self, query: str, *arguments: object) -> str: ...
    async def executemany(self, query: str, arguments: Sequence[Sequence[object]]) -> None: ...
    async def fetch(self, query: str, *arguments: object) -> list[tuple[Any, ...]]: ...
    async def fetchval(self, query: str, *arguments: object) -> int | None: ...
    def transaction(self, **options: object) -> AbstractAsyncContextManager[None]: ...
    def is_closed(self) -> bool: ...
    def terminate(self) -> None: ...
    async def close(self, *, timeout: float) -> None: ...


class PostgresRecords:
    """A schema in a PostgreSQL database; a lost connection is opened again by the next call."""

    def __init__(self, dsn: str, schema: str = "nimmerverse") -> None:
        if not schema.isidentifier():
            raise ValueError(f"{schema!r} is not a schema name")
        self.dsn, self.schema = dsn, schema
        self._connection: _Connection | None = None
        self._one_at_a_time = asyncio.Lock()  #: asyncpg refuses a second operation on one connection

    async def open(self) -> None:
        await self._run(lambda c: self._make(c, anew=False))

    async def close(self) -> None:
        if self._connection is not None and not self._connection.is_closed():
            await self._connection.close(timeout=5)
        self._connection = None

    async def next_index(self) -> int:
        return await self._run(_next)

    async def apply(self, index: int, rows: Sequence[DecisionRow]) -> bool:
        async def change(connection: _Connection) -> bool:
            async with connection.transaction():
                expected = await _next(connection, " for update")
                if index < expected:
                    return False
                if index > expected:
                    raise OutOfOrder(f"the view expects entry {expected}, entry {index} came")
                await connection.executemany(_INSERT, [astuple(row) for row in rows])
                await connection.execute("update inbox set next_index = $1 where view = 'decisions'", index + 1)
                return True

        return await self._run(change)

    async def newest(self, limit: int) -> list[DecisionRow]:
        query = "select * from decisions order by index desc, place desc limit $1"
        return [DecisionRow(*row) for row in await self._run(lambda c: c.fetch(query, limit))]

    async def digest(self) -> str:
        async def read(connection: _Connection) -> str:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                upto = await _next(connection)
                rows = await connection.fetch("select * from decisions order by index, place")
                return digest_of([DecisionRow(*row) for row in rows], upto)

        return await self._run(read)

    async def drop(self) -> None:
        await self._run(lambda c: self._make(c, anew=True))

    async def remove(self) -> None:
        """Drop the schema and do not make it again."""
        await self._run(lambda c: c.execute(f"drop schema if exists {self.schema} cascade"))

    async def _make(self, connection: _Connection, *, anew: bool) -> None:
        """Make the tables, all at once and nobody else meanwhile; nobody ever sees the view half made."""
        async with connection.transaction():
            await connection.execute("select pg_advisory_xact_lock(hashtext($1))", f"view {self.schema}")
            if anew:
                await connection.execute(f"drop table if exists {self.schema}.inbox")  # first: everyone locks it first
                await connection.execute(f"drop schema if exists {self.schema} cascade")
            await connection.execute(f"create schema if not exists {self.schema}")
            await connection.execute(_TABLES)

    async def _run(self, work: Callable[[_Connection], Awaitable[T]]) -> T:
        async with self._one_at_a_time:
            try:
                return await work(await self._connected())
            except _GONE as error:
                self._forget()
                raise Unreachable(f"PostgreSQL does not answer ({type(error).__name__}: {error})") from error
            except _REBUILT as error:
                self._forget()
                raise Unreachable(f"the view {self.schema} is being rebuilt ({type(error).__name__})") from error
            except (asyncpg.DiskFullError, asyncpg.OutOfMemoryError) as error:
                raise StorageFault(f"PostgreSQL cannot write: {error}") from error

    async def _connected(self) -> _Connection:
        if self._connection is None or self._connection.is_closed():
            path = {"search_path": self.schema}
            connect = cast("Callable[..., Awaitable[_Connection]]", asyncpg.connect)  # pyright: ignore[reportUnknownMemberType] - no stubs
            self._connection = await connect(self.dsn, timeout=5, command_timeout=30, server_settings=path)
        return self._connection

    def _forget(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
        self._connection = None


async def _next(connection: _Connection, lock: str = "") -> int:
    """Return the inbox row; Unreachable while a rebuild, begun after this question, hides it."""
    found = await connection.fetchval(_NEXT + lock)
    if found is None:
        raise Unreachable("the view is being rebuilt")
    return found
