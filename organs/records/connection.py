"""asyncpg as the records organ uses it, and what its failures mean here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

import asyncpg  # pyright: ignore[reportMissingTypeStubs] - it ships none; Connection below says what is used

from organs.records.port import DatabaseRefused
from shared.errors import StorageFault, Unreachable

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
#: What another process's rebuild of the same views looks like from here; it is over in a moment.
_REBUILT = (
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.InvalidSchemaNameError,
    asyncpg.InvalidCachedStatementError,
    asyncpg.OutdatedSchemaCacheError,
    asyncpg.TransactionRollbackError,
    asyncpg.InternalServerError,
)
#: What PostgreSQL refuses for good, and what to do about it.
_REFUSED: dict[type[Exception], str] = {
    asyncpg.InvalidCatalogNameError: "create it (createdb), or correct the setting database_url",
    asyncpg.InvalidPasswordError: "correct the name or the password in the setting database_url",
    asyncpg.InvalidAuthorizationSpecificationError: "create the role (createuser), or correct database_url",
    asyncpg.InsufficientPrivilegeError: "let it make schemas: GRANT CREATE ON DATABASE … TO …",
    asyncpg.ClientConfigurationError: "write the setting database_url as postgresql://role@host/database",
}


class Connection(Protocol):
    """What the records organ uses of asyncpg's connection."""

    async def execute(self, query: str, *arguments: object) -> str: ...
    async def executemany(self, query: str, arguments: Sequence[Sequence[object]]) -> None: ...
    async def fetch(self, query: str, *arguments: object) -> list[tuple[Any, ...]]: ...
    async def fetchrow(self, query: str, *arguments: object) -> tuple[Any, ...] | None: ...
    async def fetchval(self, query: str, *arguments: object) -> object: ...
    def cursor(self, query: str, *, prefetch: int) -> AsyncIterator[tuple[Any, ...]]: ...
    def transaction(self, **options: object) -> AbstractAsyncContextManager[None]: ...
    def is_closed(self) -> bool: ...
    def terminate(self) -> None: ...
    async def close(self, *, timeout: float) -> None: ...


async def connected(dsn: str, schema: str) -> Connection:
    """Return a new connection that finds and makes its tables in `schema`."""
    connect = cast("Callable[..., Awaitable[Connection]]", asyncpg.connect)  # pyright: ignore[reportUnknownMemberType] - no stubs
    return await connect(dsn, timeout=5, command_timeout=30, server_settings={"search_path": schema})


@contextmanager
def named_trouble(dsn: str, forget: Callable[[], None]) -> Generator[None]:
    """Turn what asyncpg raises into Faults; `forget` lets go of the connection where it cannot be used any more.

    Raises Unreachable, StorageFault and DatabaseRefused.
    """
    try:
        yield
    except tuple(_REFUSED) as error:
        forget()
        what = next(what for kind, what in _REFUSED.items() if isinstance(error, kind))
        raise DatabaseRefused(f"PostgreSQL at {_place(dsn)} refuses the views: {error}; {what}") from error
    except _GONE as error:
        forget()
        raise Unreachable(f"PostgreSQL does not answer ({type(error).__name__}: {error})") from error
    except _REBUILT as error:
        forget()
        raise Unreachable(f"the views are being rebuilt ({type(error).__name__}: {error})") from error
    except (asyncpg.DiskFullError, asyncpg.OutOfMemoryError) as error:
        raise StorageFault(f"PostgreSQL cannot write: {error}") from error


def _place(dsn: str) -> str:
    """Return where a database is, without its password."""
    try:
        parts = urlsplit(dsn)
        return f"{parts.hostname or 'its socket'}{parts.path}"
    except ValueError:
        return "database_url"
