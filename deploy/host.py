"""Where an organism lives: the folder with its keys, and the servers it speaks to, embedded or somewhere else."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from deploy.embedded import Account, Child, FolderLock, Identity, NatsServer, Postgres, StorageLimits
from organs.notary import FolderShelf, Shelf
from organs.steward import Door, Ground, NatsGround, OpenDoor
from organs.steward.ports import log_config
from shared.bus import Wire
from shared.bus.bucket import bucket_stream
from shared.bus.connecting import connect
from shared.bus.nats import NatsWire, nanoseconds
from shared.bus.wire import INBOX, inbox_prefix, stream_name
from shared.config import redact
from shared.constant import constant
from shared.declaration import overlap
from shared.envelope.admission import CLOCK_SKEW_MS
from shared.errors import Refusal, Refused, Unreachable
from shared.home import Keys, Running, born_s, nkey_path, place
from shared.journal import record
from shared.keys import Signer
from shared.message import check_env, registered
from shared.settings import Settings
from shared.subjects import load_all
from shared.subjects.models import LEASES
from shared.subjects.people import EndPerson, IntroducePerson
from shared.subjects.system import GrantRequest
from shared.world import RealWorld, World

HOST_OWNER = "host"
OPERATOR = "operator"
ROOT = "root"
STEWARD = "steward"
CLOCK_S = constant(5.0, "s", "X-08")


class Host(Protocol):
    """What an organism needs from the place it lives in."""

    @property
    def ground(self) -> Ground: ...

    @property
    def door(self) -> Door: ...

    @property
    def shelf(self) -> Shelf | None:
        """What the notary of this place has signed; None where nothing outlives the host."""
        ...

    def world(self, name: str) -> World: ...

    async def wire(self, name: str) -> Wire: ...

    def signer(self, name: str, owner: str) -> Signer: ...

    def nkey(self, name: str) -> str: ...

    def raise_if_broken(self) -> None:
        """Raise the Fault with which a server of this place was given up."""
        ...


class EmbeddedHost:
    """nats-server and PostgreSQL as children of this process, an account per environment, one user per part."""

    def __init__(self, settings: Settings) -> None:
        check_env(settings.env)
        self.settings = settings
        self._world = RealWorld(settings.env)
        self._lock = FolderLock(place(settings))
        self._client: NatsWire | None = None
        self._admitting = asyncio.Lock()
        self._identities: dict[str, Identity] = {}
        self._together: dict[str, Identity] | None = None  #: whom the server is told of when `at_once` ends
        self.nats: NatsServer | None = None
        self.postgres: Postgres | None = None
        self.database_url = ""

    async def start(self, *, database: bool = True) -> None:
        """Take the folder, unlock the keys, start both servers; InUse, KeyFault, ServerFailed, StorageFault if not.

        Without the `database`, to read the log, the bus alone is started.
        """
        await self._lock.acquire()
        try:
            self.database_url = self.settings.database_url or ""
            starts = [self._start_bus()]
            if database and not self.database_url:
                starts.append(self._start_records())
            await _all_of(starts)
        except BaseException:
            await self.stop()
            raise

    async def _start_bus(self) -> None:
        """Unlock the keys, beside the event loop because that is half a second's work, and start nats-server."""
        unlocking = asyncio.get_running_loop().run_in_executor(None, Keys, self.settings, self._world)
        load_all()  # which requests the operator may not make, their classes say
        self.keys = await unlocking
        self._identities = {
            STEWARD: Identity(
                STEWARD,
                self.keys.nkey(STEWARD),
                self._steward_may(),
                (f"{self.settings.env}.>", "$SRV.>", f"{inbox_prefix(STEWARD)}.>"),
                responses=True,
            ),
            OPERATOR: self._operator(()),
        }
        self._account_limits = StorageLimits(file_bytes=self.settings.disk_quota_mb * 2**20)
        self.nats = NatsServer(
            place(self.settings) / "nats",
            self._accounts(self._identities),
            port=self.settings.nats_port,
            on_restart=_tell_restart,
        )
        await self.nats.start()
        self._client = await connect(
            self.nats.url, STEWARD, nkey=nkey_path(self.settings, STEWARD), fast=self.settings.fast
        )

    async def _start_records(self) -> None:
        self.postgres = Postgres(place(self.settings) / "postgres", on_restart=_tell_restart)
        await self.postgres.start()
        self.database_url = await self.postgres.ensure_database(f"nimmerverse_{self.settings.env.replace('-', '_')}")

    def announce(self, fingerprint: str) -> None:
        """Tell other processes of this user where to find what runs here."""
        pid = os.getpid()
        Running(self.url, pid, born_s(pid), self.settings.env, self.database_url, fingerprint).write(self.settings)

    def raise_if_broken(self) -> None:
        for server in (self.nats, self.postgres):
            if server is not None and server.child.fault is not None:
                raise server.child.fault

    async def stop(self) -> None:
        """Stop what was started, in reverse."""
        Running.path(self.settings).unlink(missing_ok=True)
        if self._client is not None:
            await self._client.close()
        if self.postgres is not None:
            await self.postgres.stop()
        if self.nats is not None:
            await self.nats.stop()
        self._lock.release()

    @property
    def url(self) -> str:
        """The embedded server's address."""
        assert self.nats is not None
        return self.nats.url

    @property
    def ground(self) -> Ground:
        assert self._client is not None
        return NatsGround(self._client.client)

    @property
    def door(self) -> Door:
        return self

    @property
    def shelf(self) -> Shelf:
        return FolderShelf.of(self.settings)

    async def admit(self, name: str, nkey: str, publish: list[str], subscribe: list[str], *, answers: bool) -> None:
        """Let a part in with exactly these permissions, and let the operator speak where it hears, and may."""
        assert self.nats is not None
        if name in (STEWARD, OPERATOR):
            return
        identity = Identity(name, nkey, tuple(publish), tuple(subscribe), responses=answers)
        async with self._admitting:
            before = self._identities if self._together is None else self._together
            if before.get(name) == identity:
                return
            known = before | {name: identity}
            heard = {p for i in known.values() if i.name not in (STEWARD, OPERATOR) for p in i.subscribe}
            known[OPERATOR] = self._operator(_speakable(heard, self.settings.env))
            if self._together is not None:
                self._together = known
                return
            await self.nats.reload(self._accounts(known))
            self._identities = known

    @asynccontextmanager
    async def at_once(self) -> AsyncGenerator[None]:
        """Open for all who are admitted meanwhile when it ends: the server reads its configuration once."""
        assert self.nats is not None
        self._together = self._identities
        try:
            yield
            async with self._admitting:
                await self.nats.reload(self._accounts(self._together))
                self._identities = self._together
        finally:
            self._together = None

    def world(self, name: str) -> World:
        return RealWorld(self.settings.env)

    async def wire(self, name: str) -> Wire:
        return await connect(
            self.url, name, nkey=nkey_path(self.settings, name), private_inbox=name != OPERATOR, fast=self.settings.fast
        )

    def signer(self, name: str, owner: str) -> Signer:
        return self.keys.signer(name, owner)

    def nkey(self, name: str) -> str:
        return self.keys.nkey(name)

    def _accounts(self, known: dict[str, Identity]) -> tuple[Account, ...]:
        return (Account(self.settings.env, tuple(known.values()), self._account_limits),)

    def _operator(self, heard: tuple[str, ...]) -> Identity:
        env = self.settings.env
        snapshot = (f"$JS.API.STREAM.SNAPSHOT.{stream_name('log', env)}", "$JS.SNAPSHOT.ACK.>")
        leases = bucket_stream(LEASES, env)  # for `nats kv`: who holds which device
        consumer = [f"$JS.API.CONSUMER.{call}.{leases}" for call in ("CREATE", "INFO", "DELETE")]
        looking = (f"$JS.API.STREAM.INFO.{leases}", "$JS.API.STREAM.LIST", "$JS.API.STREAM.NAMES", *consumer)
        looking += tuple(f"{call}.>" for call in consumer)
        steward = tuple(cls.pattern(env) for cls in (GrantRequest, IntroducePerson, EndPerson))
        publish = (*heard, *steward, "$SRV.>", "$JS.API.DIRECT.GET.>", *snapshot, *looking)
        return Identity(OPERATOR, self.keys.nkey(OPERATOR), publish, (f"{env}.>", f"{INBOX}.>"), responses=False)

    def _steward_may(self) -> tuple[str, ...]:
        """Create and look, never update, delete or purge.

        The operator's inboxes are among it: a grant reloads the server, which then forgets to whom an answer is owed.
        """
        env = self.settings.env
        calls = ("STREAM.CREATE", "STREAM.INFO", "CONSUMER.DURABLE.CREATE", "CONSUMER.INFO", "DIRECT.GET")
        return (f"{env}.system.>", "$SRV.PING.>", *(f"$JS.API.{call}.>" for call in calls))


class RemoteHost:
    """Servers somebody else runs: one connection identity from the settings, permissions administered there."""

    def __init__(self, settings: Settings) -> None:
        assert settings.nats_url is not None
        check_env(settings.env)
        self.settings = settings
        self._client: NatsWire | None = None
        self.database_url = settings.database_url or ""

    async def start(self, *, database: bool = True) -> None:
        """Unlock the keys, connect and compare the clocks; KeyFault, Unreachable or Refused R001 if not."""
        self.keys = Keys(self.settings, RealWorld(self.settings.env))
        wire = await self.wire(STEWARD)
        assert isinstance(wire, NatsWire)
        self._client = wire
        try:
            await self._check_clock(wire)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close the steward's own connection."""
        if self._client is not None:
            await self._client.close()

    async def _check_clock(self, wire: NatsWire) -> None:
        """Refuse a clock the bus does not share: what is written by it stays in the log, void, a genesis even for ever.

        The server tells the time with a stream's description, so the log's stream is made here where it is missing.
        """
        log = log_config(self.settings.env, self.settings.nats_replicas)
        if await self.ground.subjects_of(log["name"]) is None:
            await self.ground.create_stream(log)
        told = json.loads((await wire.request(f"$JS.API.STREAM.INFO.{log['name']}", b"", None, CLOCK_S)).data)
        ahead_ms = (RealWorld(self.settings.env).now_ns() - nanoseconds(told["ts"])) // 1_000_000
        if abs(ahead_ms) > CLOCK_SKEW_MS:
            way = "ahead of" if ahead_ms > 0 else "behind"
            found = f"this machine's clock is {abs(ahead_ms) // 1000} s {way} the bus's at {redact(self.url)}"
            raise Refused(Refusal("R001", f"{found}, at most {CLOCK_SKEW_MS // 1000} s are allowed; set it right"))

    def raise_if_broken(self) -> None:
        """Nothing is raised: whoever runs these servers watches them."""

    def announce(self, fingerprint: str) -> None:
        """Nothing is told: other processes are given the server's address as this one was."""

    @property
    def url(self) -> str:
        """The configured server's address."""
        assert self.settings.nats_url is not None
        return self.settings.nats_url

    @property
    def ground(self) -> Ground:
        if self._client is None:
            raise Unreachable("the host was not started")
        return NatsGround(self._client.client, self.settings.nats_replicas)

    @property
    def door(self) -> Door:
        return OpenDoor()

    @property
    def shelf(self) -> Shelf:
        return FolderShelf.of(self.settings)

    def world(self, name: str) -> World:
        return RealWorld(self.settings.env)

    async def wire(self, name: str) -> Wire:
        return await connect(
            self.url,
            name,
            nkey=self.settings.nats_nkey,
            creds=self.settings.nats_creds,
            private_inbox=False,
            fast=self.settings.fast,
        )

    def signer(self, name: str, owner: str) -> Signer:
        return self.keys.signer(name, owner)

    def nkey(self, name: str) -> str:
        return ""


def _speakable(heard: Iterable[str], env: str) -> tuple[str, ...]:
    """Return where the operator may speak, of all that parts hear: not where parts alone do."""
    alone = [tuple(cls.pattern(env).split(".")) for cls in registered().values() if cls.by_parts]
    own = [tuple(pattern.split(".")) for pattern in sorted(heard)]
    return tuple(".".join(each) for each in own if each[0] == env and not any(overlap(each, kept) for kept in alone))


async def _all_of(starts: Sequence[Coroutine[None, None, None]]) -> None:
    """Wait for every one, then raise the first failure: nothing still starts while what did is stopped."""
    for failed in await asyncio.gather(*starts, return_exceptions=True):
        if failed is not None:
            raise failed


def _tell_restart(child: Child) -> None:
    record(child.program.name, "server_restarted", pid=child.pid or 0, restarts=child.restarts)


def host_for(settings: Settings) -> EmbeddedHost | RemoteHost:
    """Return the host the settings ask for: embedded servers unless a server's address is given."""
    return EmbeddedHost(settings) if settings.nats_url is None else RemoteHost(settings)
