"""Where an organism lives: the folder with its keys, and the servers it speaks to, embedded or somewhere else."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from deploy.embedded import Account, FolderLock, Identity, NatsServer, Postgres, StorageLimits, load_or_create
from organs.steward import Door, Ground, NatsGround, OpenDoor
from shared.bus import Wire
from shared.bus.nats import NatsWire, connect
from shared.config import Settings
from shared.errors import KeyFault, Unreachable
from shared.keys import Cost, Keyring, LocalSigner, Signer, obtain
from shared.keys.keyring import MODERATE
from shared.message import check_env
from shared.subjects.system import GrantRequest
from shared.world import RealWorld, World

OPERATOR = "operator"
STEWARD = "steward"


class Host(Protocol):
    """What an organism needs from the place it lives in."""

    @property
    def ground(self) -> Ground: ...

    @property
    def door(self) -> Door: ...

    def world(self, name: str) -> World: ...

    async def wire(self, name: str) -> Wire: ...

    def signer(self, name: str, owner: str) -> Signer: ...

    def nkey(self, name: str) -> str: ...


class Keys:
    """The keyring and connection keys under a home folder: created on first use, one unlock per keyring."""

    def __init__(self, settings: Settings, world: World, cost: Cost = MODERATE) -> None:
        self.settings, self.entropy = settings, world.entropy
        passphrase = obtain(settings.passphrase_path, settings.passphrase_credential, self.entropy)
        folder = settings.home / "keys"
        exists = (folder / "keyring.json").exists()
        self.ring = Keyring.unlock(folder, passphrase) if exists else Keyring.create(folder, passphrase, self.entropy, cost)

    def signer(self, name: str, owner: str) -> LocalSigner:
        """Return a part's signing key of this environment, made on first use."""
        full = f"{self.settings.env}-{name}"
        if full not in self.ring.names():
            return self.ring.create_key(full, owner, "sign", self.entropy)
        return self.ring.signer(full)

    def nkey_path(self, name: str) -> Path:
        """Return where a part's connection key lies."""
        return self.settings.home / "nkeys" / f"{self.settings.env}-{name}.nk"

    def nkey(self, name: str) -> str:
        """Return the public connection key of a part, made on first use. Never a signing key: the server chooses what it signs."""
        return load_or_create(self.nkey_path(name), self.entropy).public


@dataclass(frozen=True, slots=True)
class Running:
    """What a running embedded organism tells other processes of the same user."""

    url: str
    pid: int
    env: str
    database_url: str

    @staticmethod
    def path(settings: Settings) -> Path:
        return settings.home / "run" / f"{settings.env}.json"

    def write(self, settings: Settings) -> None:
        """Write it, readable by this user alone."""
        path = self.path(settings)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = path.with_suffix(".new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump({"url": self.url, "pid": self.pid, "env": self.env, "database_url": self.database_url}, file)
        temporary.replace(path)

    @classmethod
    def read(cls, settings: Settings) -> Running | None:
        """Return what runs on this home, or None. A process that died without saying so does not count."""
        try:
            known = cls(**json.loads(cls.path(settings).read_text()))
            os.kill(known.pid, 0)
        except (OSError, ValueError, TypeError):
            return None
        return known


class EmbeddedHost:
    """nats-server and PostgreSQL as children of this process, an account per environment, one user per part."""

    def __init__(self, settings: Settings) -> None:
        check_env(settings.env)
        self.settings = settings
        self._world = RealWorld(settings.env)
        self._lock = FolderLock(settings.home)
        self._client: NatsWire | None = None
        self.nats: NatsServer | None = None
        self.postgres: Postgres | None = None
        self.database_url = ""

    async def start(self) -> None:
        """Take the folder, unlock the keys and start both servers; InUse, KeyFault, ServerFailed or StorageFault if not."""
        await self._lock.acquire()
        try:
            self.keys = Keys(self.settings, self._world)
            limits = StorageLimits(file_bytes=self.settings.disk_quota_mb * 2**20)
            self._identities = {
                STEWARD: Identity(STEWARD, self.keys.nkey(STEWARD), self._steward_may(), (f"{self.settings.env}.>", "$SRV.>", "_INBOX_steward.>"), responses=True),
                OPERATOR: self._operator(()),
            }
            self._account_limits = limits
            self.nats = NatsServer(self.settings.home / "nats", self._accounts(), port=self.settings.nats_port)
            await self.nats.start()
            if self.settings.database_url is None:
                self.postgres = Postgres(self.settings.home / "postgres")
                await self.postgres.start()
                self.database_url = await self.postgres.ensure_database(f"nimmerverse_{self.settings.env.replace('-', '_')}")
            else:
                self.database_url = self.settings.database_url
            self._client = await connect(self.nats.url, STEWARD, nkey=self.keys.nkey_path(STEWARD))
            Running(self.nats.url, os.getpid(), self.settings.env, self.database_url).write(self.settings)
        except BaseException:
            await self.stop()
            raise

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
        return NatsGround(self._client.client, self.settings.env)

    @property
    def door(self) -> Door:
        return self

    async def admit(self, name: str, nkey: str, publish: list[str], subscribe: list[str], *, answers: bool) -> None:
        """Let a part in with exactly these permissions, and let the operator speak to what it hears."""
        assert self.nats is not None
        if name in (STEWARD, OPERATOR):
            return
        identity = Identity(name, nkey, tuple(publish), tuple(subscribe), responses=answers)
        if self._identities.get(name) == identity:
            return
        self._identities[name] = identity
        heard = {p for i in self._identities.values() if i.name not in (STEWARD, OPERATOR) for p in i.subscribe}
        self._identities[OPERATOR] = self._operator(tuple(sorted(p for p in heard if p.startswith(f"{self.settings.env}."))))
        await self.nats.reload(self._accounts())

    def world(self, name: str) -> World:
        return RealWorld(self.settings.env)

    async def wire(self, name: str) -> Wire:
        return await connect(self.url, name, nkey=self.keys.nkey_path(name), private_inbox=name != OPERATOR)

    def signer(self, name: str, owner: str) -> Signer:
        return self.keys.signer(name, owner)

    def nkey(self, name: str) -> str:
        return self.keys.nkey(name)

    def _accounts(self) -> tuple[Account, ...]:
        return (Account(self.settings.env, tuple(self._identities.values()), self._account_limits),)

    def _operator(self, heard: tuple[str, ...]) -> Identity:
        env = self.settings.env
        reads = tuple(f"$JS.API.DIRECT.GET.{kind}_{env}{rest}" for kind in ("LOG", "TRACES", "DEAD") for rest in ("", ".>"))
        publish = (*heard, GrantRequest.pattern(env), "$SRV.>", *reads)
        return Identity(OPERATOR, self.keys.nkey(OPERATOR), publish, (f"{env}.>", "_INBOX.>"), responses=False)

    def _steward_may(self) -> tuple[str, ...]:
        """Create and look, never update, delete or purge."""
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

    async def start(self) -> None:
        """Unlock the keys and connect; KeyFault or Unreachable if not."""
        self.keys = Keys(self.settings, RealWorld(self.settings.env))
        wire = await self.wire(STEWARD)
        assert isinstance(wire, NatsWire)
        self._client = wire

    async def stop(self) -> None:
        """Close the steward's own connection."""
        if self._client is not None:
            await self._client.close()

    @property
    def url(self) -> str:
        """The configured server's address."""
        assert self.settings.nats_url is not None
        return self.settings.nats_url

    @property
    def ground(self) -> Ground:
        if self._client is None:
            raise Unreachable("the host was not started")
        return NatsGround(self._client.client, self.settings.env)

    @property
    def door(self) -> Door:
        return OpenDoor()

    def world(self, name: str) -> World:
        return RealWorld(self.settings.env)

    async def wire(self, name: str) -> Wire:
        return await connect(self.url, name, nkey=self.settings.nats_nkey, creds=self.settings.nats_creds, private_inbox=False)

    def signer(self, name: str, owner: str) -> Signer:
        return self.keys.signer(name, owner)

    def nkey(self, name: str) -> str:
        return ""


def host_for(settings: Settings) -> EmbeddedHost | RemoteHost:
    """Return the host the settings ask for: embedded servers unless a server's address is given."""
    return EmbeddedHost(settings) if settings.nats_url is None else RemoteHost(settings)


__all__ = ["EmbeddedHost", "Host", "KeyFault", "Keys", "RemoteHost", "Running", "host_for"]
