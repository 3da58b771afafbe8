"""A log to commit something on: grown by an organism with a notary, at rest, with every right on its server at hand."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from deploy.embedded import Account, Identity, NatsServer, StorageLimits
from deploy.host import EmbeddedHost
from deploy.organism import Organism
from organs.notary import NotaryOrgan
from shared.bus import Bus, Draft
from shared.bus.connecting import connect
from shared.bus.nats import NatsWire
from shared.config import load
from shared.home import Keys
from shared.keys import load_or_create
from shared.keys.sealed import CHEAP
from shared.part import Organ
from shared.world import RealWorld, new_id
from tests.commands import Home
from tests.ground import Noted

ENV, LOG = "dev", "LOG_dev"


class DeskOrgan(Organ):
    """A part that may say what it notes."""

    name: ClassVar[str] = "desk"
    version: ClassVar[str] = "1.0.0"

    async def on_noted(self, noted: Noted) -> list[Noted]:
        """Nothing follows from it; the annotation entitles the key."""
        return []


@dataclass(frozen=True)
class Crime:
    """A data folder to commit it on, the fingerprint of its log, and how many entries were signed."""

    home: Home
    trust: str
    signed: int

    @property
    def server(self) -> Path:
        """The server's own folder."""
        return self.home.folder / ENV / "nats"

    def verdict(self, *more: str) -> dict[str, Any]:
        """What `audit verify` says of the live log; it never ends in a traceback."""
        done = self.home.run("audit", "verify", "--json", "--trust", self.trust, *more)
        assert "Traceback" not in done.err
        [found] = done.documents
        assert done.code == found["exit"]
        return found


async def noting(home: Path, first: int, count: int) -> str:
    """Run an organism with a notary and have the desk decide; return the log's fingerprint."""
    chosen = {"env": ENV, "site": "here", "home": str(home), "beat_ms": "50"}
    loaded = load({}, chosen | {"database_url": "postgresql://nobody@nowhere/nothing"}, "here")
    Keys(loaded.settings, RealWorld(ENV), CHEAP)
    host = EmbeddedHost(loaded.settings)
    await host.start()
    organism = Organism(host, loaded)
    try:
        await organism.start([NotaryOrgan.build(loaded.settings, host.world("notary"))])
        await organism.grant(DeskOrgan())
        bus = Bus(RealWorld(ENV), await host.wire("desk"), "desk", "1.0.0", [host.signer("desk", "host")])
        for n in range(first, first + count):
            await bus.append(Draft(Noted(f"who{n % 4}", n), new_id(bus.world)))
        await bus.drain()
        return organism.fingerprint
    finally:
        await organism.stop()
        await host.stop()


def grown(folder: Path, decisions: int) -> Crime:
    """A log with so many decisions and a notary's signature over all of it, at rest."""
    trust = asyncio.run(noting(folder, 0, decisions))
    return Crime(Home.at(folder).without_records(), trust, signed_size(folder))


def go_on(crime: Crime, first: int, count: int) -> None:
    """Let the log grow by so many decisions, signed."""
    asyncio.run(noting(crime.home.folder, first, count))


def copy_of(of: Crime, folder: Path) -> Crime:
    """The same log in another folder."""
    shutil.copytree(of.home.folder, folder)
    return Crime(Home.at(folder).without_records(), of.trust, of.signed)


def signed_size(folder: Path) -> int:
    """How many entries the newest checkpoint in a data folder commits to."""
    return int((folder / ENV / "tiles" / "checkpoint").read_text().splitlines()[1])


@asynccontextmanager
async def intruding(crime: Crime) -> AsyncIterator[NatsWire]:
    """Yield a connection with every right on a server that serves this log."""
    world = RealWorld(ENV)
    nkey = crime.home.folder.parent / "intruder.nk"
    identity = Identity("intruder", load_or_create(nkey, world.entropy).public, (">",), (">",), responses=False)
    server = NatsServer(crime.server, (Account(ENV, (identity,), StorageLimits(file_bytes=2**30)),))
    await server.start()
    try:
        wire = await connect(server.url, "intruder", nkey=nkey, private_inbox=False)
        assert isinstance(wire, NatsWire)
        yield wire
        await wire.close()
    finally:
        await server.stop()


def intrude(crime: Crime, deed: Callable[[NatsWire], Coroutine[Any, Any, None]]) -> None:
    """Do something with every right on the log's server."""

    async def main() -> None:
        async with intruding(crime) as wire:
            await deed(wire)

    asyncio.run(main())


async def store(wire: NatsWire, subject: str, raw: bytes) -> int:
    """Append these bytes, whatever they are; return their index."""
    answer = json.loads((await wire.client.request(subject, raw, timeout=5)).data)
    return int(answer["seq"]) - 1
