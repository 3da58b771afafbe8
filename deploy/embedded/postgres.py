"""The embedded PostgreSQL 18: one child process on a Unix socket, its binaries taken from a wheel.

The wheel's own Python package is never imported: as root it makes an operating-system user and opens parent folders
to everybody.
"""

from __future__ import annotations

import asyncio
import re
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Protocol, Self, cast
from urllib.parse import quote

import asyncpg  # pyright: ignore[reportMissingTypeStubs] - it ships none; _Connection below says what is used

from deploy.embedded import cluster
from deploy.embedded.child import Child, Patience, Program
from deploy.embedded.launch import AS_WE_ARE, unprivileged
from deploy.embedded.lock import FolderLock
from deploy.embedded.socket_folder import SOCKET_PORT, SocketFolder
from shared.errors import ConfigFault

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from deploy.embedded.launch import Launcher

SUPERUSER = cluster.SUPERUSER
#: Given on the command line, where no ALTER SYSTEM can weaken them: what is committed is on disk.
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "max_connections": "64",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
#: After a crash the old backends may take seconds to let the shared memory go.
_PATIENCE = Patience(ready_s=60.0, attempts=8, stop_s=20.0)
_POLL_S = 0.005
_DATABASE = re.compile(r"[a-z][a-z0-9_]{0,62}")
_NOT_YET = (OSError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError)
#: Line 8 of postmaster.pid tells what the server is doing.
_STATUS_LINE = 7


class _Connection(Protocol):
    """What this module uses of asyncpg's connection."""

    async def fetchval(self, query: str, *arguments: object) -> object: ...
    async def execute(self, query: str) -> str: ...
    async def close(self) -> None: ...


class Postgres:
    """A PostgreSQL server that lives in `folder`, listens on a private Unix socket only and dies with this process.

    As root it runs in a user namespace or, where those are blocked, as nobody. `port` only names the socket.
    `short_folder` is where the socket goes when the path of `folder` is too long for one.
    """

    def __init__(
        self,
        folder: Path,
        port: int = SOCKET_PORT,
        *,
        short_folder: Path | None = None,
        binaries: Path | None = None,
        on_restart: Callable[[Child], None] | None = None,
    ) -> None:
        self.folder = folder.absolute()
        self._port = port
        self._short_folder = short_folder
        self._binaries = binaries
        self._on_restart = on_restart
        self._lock = FolderLock(self.folder)
        self._socket: SocketFolder | None = None
        self._running: AsyncExitStack | None = None
        self._child: Child | None = None

    def __repr__(self) -> str:
        return f"Postgres({str(self.folder)!r}, {self._child})"

    @property
    def child(self) -> Child:
        """The supervised postmaster."""
        assert self._child is not None, "the server has not started"
        return self._child

    @property
    def socket_folder(self) -> Path:
        """The folder of the server's socket."""
        assert self._socket is not None, "the server has not started"
        return self._socket.path

    def dsn(self, database: str = "postgres") -> str:
        """The connection URL of a database."""
        folder = quote(str(self.socket_folder), safe="")
        return f"postgresql://{SUPERUSER}@/{database}?host={folder}&port={self._port}"

    async def start(self) -> None:
        """Make the cluster if there is none, start and wait until a client is let in.

        Raises InUse (folder), StorageFault, ConfigFault (made by another version), or ServerFailed.
        """
        assert self._running is None, "started twice"
        async with AsyncExitStack() as undo:
            binaries = self._binaries or cluster.find_binaries()
            launcher = await unprivileged(cluster.binary(binaries, "postgres"))
            await self._lock.acquire()
            undo.callback(self._lock.release)
            data = await cluster.prepare(self.folder, binaries, launcher, inherits=(self._lock.descriptor,))
            self._socket = SocketFolder.open(self.folder, launcher.owner, self._port, self._short_folder)
            undo.callback(self._socket.close)
            self._child = self._supervised(self._program(binaries, data, launcher))
            await self._child.start()
            undo.push_async_callback(self._child.stop)
            self._running = undo.pop_all()

    async def stop(self) -> None:
        """Close connections, checkpoint, stop, and let the folder go; without effect when it does not run."""
        running, self._running = self._running, None
        if running is not None:
            await running.aclose()

    async def ensure_database(self, name: str) -> str:
        """The URL of the database `name` (as in "nimmerverse_dev"), created if it is missing; raises ConfigFault."""
        if not _DATABASE.fullmatch(name):
            raise ConfigFault(
                f"{name!r} was given as a database, expected lower-case letters, digits and _, 63 at most."
            )
        connection = await _connect(self.dsn())
        try:
            if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", name):
                await connection.execute(f"CREATE DATABASE {name}")
        except (asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
            pass  # somebody else made it in between, which is what was asked for
        finally:
            await connection.close()
        return self.dsn(name)

    async def _answers(self, pid: int) -> None:
        """Returns once this postmaster lets a client in: crash recovery is over."""
        while not _says_ready(self.folder / "data" / "postmaster.pid", pid):
            await asyncio.sleep(_POLL_S)
        while True:
            try:
                connection = await _connect(self.dsn())
            except _NOT_YET:
                await asyncio.sleep(_POLL_S)
            else:
                await connection.close()
                return

    def _supervised(self, program: Program) -> Child:
        return Child(
            program,
            self._answers,
            stop_signal=signal.SIGINT,  # fast shutdown: clients are disconnected, nothing is lost
            patience=_PATIENCE,
            on_restart=self._on_restart,
        )

    def _program(self, binaries: Path, data: Path, launcher: Launcher) -> Program:
        settings = {**SETTINGS, "unix_socket_directories": str(self.socket_folder), "port": str(self._port)}
        command = (
            str(cluster.binary(binaries, "postgres")),
            "-D",
            cluster.as_seen(data, launcher),
            *(word for name, value in settings.items() for word in ("-c", f"{name}={value}")),
        )
        return Program(
            name="PostgreSQL",
            argv=launcher.argv(command, signal.SIGQUIT),  # immediate shutdown, backends included
            log=self.folder / "postgres.log",
            folder=data if launcher is not AS_WE_ARE else self.folder,
            inherits=(self._lock.descriptor,),
        )

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


async def _connect(dsn: str) -> _Connection:
    return cast("_Connection", await asyncpg.connect(dsn))  # pyright: ignore[reportUnknownMemberType] - no stubs


def _says_ready(path: Path, pid: int) -> bool:
    """Whether the server's own status file is whole, its, and says "ready"; asking by connecting would fill its log."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return False
    return len(lines) > _STATUS_LINE and lines[0] == str(pid) and lines[_STATUS_LINE].strip() == "ready"
