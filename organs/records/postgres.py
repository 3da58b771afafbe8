# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownLambdaType=false, reportUnknownVariableType=false
# asyncpg ships no types: what it returns is Any here and typed at the port.
"""The real adapter of the records port: PostgreSQL through asyncpg, rows and inbox in one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

import asyncpg

from organs.records.port import DecisionRow, digest_of
from shared.errors import LogFault, StorageFault, Unreachable

_SCHEMA = """
create schema if not exists {schema};
create table if not exists {schema}.decisions (
    index bigint not null, place integer not null, subject text not null, entity text not null, source text not null,
    version text not null, event_id text not null, cause text not null, written_ms bigint not null,
    broker_ns bigint not null, data text not null, evidence_bytes integer not null, refusal text not null,
    primary key (index, place));
create index if not exists decisions_by_subject on {schema}.decisions (subject, index);
create index if not exists decisions_by_event on {schema}.decisions (event_id);
create table if not exists {schema}.inbox (view text primary key, next_index bigint not null);
insert into {schema}.inbox values ('decisions', 0) on conflict do nothing;
"""
_COLUMNS = "index, place, subject, entity, source, version, event_id, cause, written_ms, broker_ns, data, evidence_bytes, refusal"
_GONE = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
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


class PostgresRecords:
    """A schema in a PostgreSQL database; a lost connection is opened again by the next call."""

    def __init__(self, dsn: str, schema: str = "nimmerverse") -> None:
        if not schema.isidentifier():
            raise ValueError(f"{schema!r} is not a schema name")
        self.dsn, self.schema = dsn, schema
        self._connection: Any = None
        self._one_at_a_time = asyncio.Lock()  #: asyncpg refuses a second operation on one connection

    async def open(self) -> None:
        await self._run(lambda c: self._make(c, anew=False))

    async def close(self) -> None:
        if self._connection is not None and not self._connection.is_closed():
            await self._connection.close(timeout=5)
        self._connection = None

    async def next_index(self) -> int:
        return await self._run(
            lambda c: c.fetchval(f"select next_index from {self.schema}.inbox where view = 'decisions'")
        )

    async def apply(self, index: int, rows: Sequence[DecisionRow]) -> bool:
        places = ", ".join(f"${i}" for i in range(1, 14))

        async def change(connection: Any) -> bool:
            async with connection.transaction():
                expected = await connection.fetchval(
                    f"select next_index from {self.schema}.inbox where view = 'decisions' for update"
                )
                if index < expected:
                    return False
                if index > expected:
                    raise LogFault(f"the view expects entry {expected}, entry {index} came")
                await connection.executemany(
                    f"insert into {self.schema}.decisions ({_COLUMNS}) values ({places})",
                    [astuple(row) for row in rows],
                )
                await connection.execute(
                    f"update {self.schema}.inbox set next_index = $1 where view = 'decisions'", index + 1
                )
                return True

        return await self._run(change)

    async def newest(self, limit: int) -> list[DecisionRow]:
        query = f"select {_COLUMNS} from {self.schema}.decisions order by index desc, place desc limit $1"
        return [DecisionRow(*row) for row in await self._run(lambda c: c.fetch(query, limit))]

    async def digest(self) -> str:
        async def read(connection: Any) -> str:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                rows = await connection.fetch(f"select {_COLUMNS} from {self.schema}.decisions order by index, place")
                upto = await connection.fetchval(f"select next_index from {self.schema}.inbox where view = 'decisions'")
                return digest_of([DecisionRow(*row) for row in rows], upto)

        return await self._run(read)

    async def drop(self) -> None:
        await self._run(lambda c: self._make(c, anew=True))

    async def remove(self) -> None:
        """Drop the schema and do not make it again."""
        await self._run(lambda c: c.execute(f"drop schema if exists {self.schema} cascade"))

    async def _make(self, connection: Any, *, anew: bool) -> None:
        """Make the tables, all at once and nobody else meanwhile; nobody ever sees the view half made."""
        async with connection.transaction():
            await connection.execute(f"select pg_advisory_xact_lock(hashtext('view {self.schema}'))")
            if anew:
                await connection.execute(f"drop schema if exists {self.schema} cascade")
            await connection.execute(_SCHEMA.format(schema=self.schema))

    async def _run(self, work: Any) -> Any:
        async with self._one_at_a_time:
            try:
                if self._connection is None or self._connection.is_closed():
                    self._connection = await asyncpg.connect(self.dsn, timeout=5, command_timeout=30)
                return await work(self._connection)
            except _GONE as error:
                await self._forget()
                raise Unreachable(f"PostgreSQL does not answer ({type(error).__name__}: {error})") from error
            except _REBUILT as error:
                await self._forget()
                raise Unreachable(
                    f"the view {self.schema} is being rebuilt ({type(error).__name__}: {error})"
                ) from error
            except (asyncpg.DiskFullError, asyncpg.OutOfMemoryError) as error:
                raise StorageFault(f"PostgreSQL cannot write: {error}") from error

    async def _forget(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
        self._connection = None
