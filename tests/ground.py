"""Where a test of the bus plays: a simulated server, or a real one whose links can be cut.

`SimGround` runs under simulated time, `NatsGround` on the nats-server of the wheel, with real accounts, keys, streams
and permissions. A body written once runs on either.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol, Self, TypeAlias

from deploy.embedded import Account, Identity, NatsServer
from deploy.soak.proxy import Proxy
from organs.steward import SimGround as StewardsGround
from organs.steward.ports import leases_config
from shared.bus import Bus, Draft, Wire, stream_name
from shared.bus.connecting import connect
from shared.bus.nats import NatsWire
from shared.bus.sim import Faults, SimDurable, SimServer, SimStream, SimWire
from shared.bus.wire import inbox_prefix
from shared.keys import LocalSigner, NkeyPair, nkey_pair
from shared.message import Decision, Reply, Request, Signal
from shared.subjects.keys import Genesis, Grant, KeyIntroduced, RootKey
from shared.subjects.models import LEASE_TTL_S
from shared.world import RealWorld, SimWorld, World, new_id, simulate

ENV = "dev"
LOG = stream_name("log", ENV)
ANY = (">",)
PATIENCE_S = 20.0
MANY = 1_000  #: entries that a consumer may have unsettled where nothing else is said, as a server has it
SEED = 7


class Noted(Decision, subject="trial.desk.event.{who}.noted"):
    """A decision of these tests."""

    who: str
    n: int


class Crossed(Decision, subject="trial.desk.event.{who}.crossed"):
    """A second class on the same lane."""

    who: str
    n: int


class Felt(Signal, subject="trial.desk.felt.{who}"):
    """A signal of these tests."""

    who: str
    n: int


class Doubled(Reply, subject="trial.desk.double.reply"):
    """Twice the number."""

    n: int


class Double(Request, subject="trial.desk.double.request", reply=Doubled):
    """A request of these tests."""

    n: int


class Ground(Protocol):
    """A bus server and the World around it."""

    @property
    def world(self) -> World: ...

    def skewed(self, seconds: float) -> World:
        """Return a World whose clock is off."""
        ...

    async def wire(
        self,
        identity: str,
        publish: tuple[str, ...] = ANY,
        subscribe: tuple[str, ...] = ANY,
        durables: tuple[str, ...] = (),
    ) -> Wire:
        """Return a new connection of `identity`, which may also read the log and consume these durables."""
        ...

    async def permit(self, identity: str, publish: tuple[str, ...], subscribe: tuple[str, ...]) -> None:
        """Change what a connected identity may do."""
        ...

    async def create_stream(self, name: str, *patterns: str) -> None:
        """Create a stream; the log's exists already."""
        ...

    async def create_bucket(self, age_s: float = LEASE_TTL_S) -> None:
        """Create the bucket of the leases, as the steward does."""
        ...

    async def create_durable(
        self, stream: str, name: str, pattern: str, ack_wait_s: float = 30.0, at_once: int = MANY
    ) -> None:
        """Create a durable consumer, which so many entries may leave before one of them is settled."""
        ...

    async def remove(self, stream: str, index: int) -> None:
        """Take a stored entry away, as nobody should be able to."""
        ...

    async def cut(self, wire: Wire) -> None:
        """Cut a connection's link; return when it is noticed."""
        ...

    async def restore(self, wire: Wire) -> None:
        """Join a cut link again; return when the connection is back."""
        ...


def _may_publish(publish: tuple[str, ...], durables: tuple[str, ...]) -> tuple[str, ...]:
    """What an identity that may publish this needs besides: to read the log, to pull its durables and acknowledge."""
    if publish == ANY:
        return ANY
    pulls = tuple(f"$JS.API.CONSUMER.MSG.NEXT.{LOG}.{durable}" for durable in durables)
    acks = tuple(f"$JS.ACK.{LOG}.{durable}.>" for durable in durables)
    return (*publish, f"$JS.API.DIRECT.GET.{LOG}", *pulls, *acks)


def _bucket(age_s: float) -> dict[str, Any]:
    """The leases' bucket as the steward makes it, but for how long they last."""
    return leases_config(ENV) | {"max_age": round(age_s * 1e9)}


Body: TypeAlias = Callable[[Ground], Coroutine[Any, Any, None]]


async def until(true: Callable[[], object], seconds: float = PATIENCE_S) -> None:
    """Return when the condition holds; TimeoutError when it does not within `seconds`."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.002)


class SimGround:
    """The simulated server, under virtual time."""

    def __init__(self, seed: int = SEED, faults: Faults | None = None) -> None:
        self.world = SimWorld(ENV, seed)
        self.server = SimServer(self.world.fork("server"), faults)
        self.server.streams[LOG] = SimStream((f"{ENV}.*.*.event.>",))

    def skewed(self, seconds: float) -> World:
        return self.world.fork("skewed", round(seconds * 1e9))

    async def wire(
        self,
        identity: str,
        publish: tuple[str, ...] = ANY,
        subscribe: tuple[str, ...] = ANY,
        durables: tuple[str, ...] = (),
    ) -> Wire:
        return self.server.wire(identity, _may_publish(publish, durables), subscribe)

    async def permit(self, identity: str, publish: tuple[str, ...], subscribe: tuple[str, ...]) -> None:
        self.server.permit(identity, _may_publish(publish, ()), subscribe)

    async def create_stream(self, name: str, *patterns: str) -> None:
        self.server.streams[name] = SimStream(patterns)

    async def create_bucket(self, age_s: float = LEASE_TTL_S) -> None:
        await StewardsGround(self.server).create_stream(_bucket(age_s))

    async def create_durable(
        self, stream: str, name: str, pattern: str, ack_wait_s: float = 30.0, at_once: int = MANY
    ) -> None:
        self.server.durables[stream, name] = SimDurable(stream, (pattern,), ack_wait_s, at_once)

    async def remove(self, stream: str, index: int) -> None:
        stored = self.server.streams[stream]
        entry = next(entry for entry in stored.entries if entry.index == index)
        lane = entry.subject.rsplit(".", 1)[0]
        stored.entries.remove(entry)
        stored.by_lane[lane].remove(entry)
        self.server.lanes[lane] = max((left.index for left in stored.by_lane[lane]), default=-1)

    async def cut(self, wire: Wire) -> None:
        assert isinstance(wire, SimWire)
        wire.linked = False

    async def restore(self, wire: Wire) -> None:
        assert isinstance(wire, SimWire)
        wire.linked = True


class NatsGround:
    """A real nats-server in `folder`, with one account and one identity per part.

    Wires run through links that can be cut.
    """

    copies = 1  #: of each stream

    def __init__(self, folder: Path, *, links: bool, fast: bool = True) -> None:
        self.folder, self.links, self.fast = folder, links, fast
        self.world: World = RealWorld(ENV)
        self.restarts = 0
        self._keys: dict[str, NkeyPair] = {}
        self._identities: dict[str, Identity] = {}
        self._wires: dict[NatsWire, Proxy | None] = {}
        self._allow("admin", ANY, ANY, ())
        self.server = NatsServer(folder / "server", self._accounts(), on_restart=self._restarted)

    def skewed(self, seconds: float) -> World:
        return RealWorld(ENV, round(seconds * 1e9))

    async def wire(
        self,
        identity: str,
        publish: tuple[str, ...] = ANY,
        subscribe: tuple[str, ...] = ANY,
        durables: tuple[str, ...] = (),
    ) -> NatsWire:
        self._allow(identity, publish, subscribe, durables)
        await self.server.reload(self._accounts())
        link = await Proxy.to(lambda: self.server.port) if self.links else None
        url = link.url if link else self.server.url
        wire = await connect(url, identity, nkey=self._seed_file(identity), fast=self.fast)
        self._wires[wire] = link
        return wire

    async def permit(self, identity: str, publish: tuple[str, ...], subscribe: tuple[str, ...]) -> None:
        self._allow(identity, publish, subscribe, ())
        await self.server.reload(self._accounts())

    async def create_stream(self, name: str, *patterns: str) -> None:
        config = {
            "name": name,
            "subjects": list(patterns),
            "storage": "file",
            "allow_direct": True,
            "allow_atomic": True,
            "num_replicas": self.copies,
        }
        await self.api(f"STREAM.CREATE.{name}", config)

    async def create_bucket(self, age_s: float = LEASE_TTL_S) -> None:
        config = _bucket(age_s)
        await self.api(f"STREAM.CREATE.{config['name']}", config)

    async def create_durable(
        self, stream: str, name: str, pattern: str, ack_wait_s: float = 30.0, at_once: int = MANY
    ) -> None:
        config = {
            "durable_name": name,
            "name": name,
            "ack_policy": "explicit",
            "ack_wait": round(ack_wait_s * 1e9),
            "max_ack_pending": at_once,
            "filter_subject": pattern,
        }
        await self.api(f"CONSUMER.CREATE.{stream}.{name}.{pattern}", {"stream_name": stream, "config": config})

    async def remove(self, stream: str, index: int) -> None:
        await self.api(f"STREAM.MSG.DELETE.{stream}", {"seq": index + 1, "no_erase": True})

    async def cut(self, wire: Wire) -> None:
        assert isinstance(wire, NatsWire)
        self.link(wire).cut()
        await until(lambda: not wire.connected)

    async def restore(self, wire: Wire) -> None:
        assert isinstance(wire, NatsWire)
        await self.link(wire).join()
        await until(lambda: wire.connected)

    def link(self, wire: NatsWire) -> Proxy:
        """The link of a wire."""
        link = self._wires[wire]
        assert link, "this ground was made without links"
        return link

    async def api(self, subject: str, body: dict[str, Any]) -> dict[str, Any]:
        """Ask the server's JetStream API as its administrator; an error fails the test."""
        answer = await self.admin.request(f"$JS.API.{subject}", json.dumps(body).encode(), None, 5.0)
        found: dict[str, Any] = json.loads(answer.data)
        assert "error" not in found, found["error"]
        return found

    def kill(self) -> None:
        """Kill the server as the kernel does when memory runs out; its supervisor starts it again."""
        self.server.child.kill9()

    async def strike(self) -> None:
        """Kill what stores appends, and return when it is back."""
        before = self.restarts
        self.kill()
        await until(lambda: self.restarts > before, 60.0)

    async def __aenter__(self) -> Self:
        await self.server.start()
        self.admin = await connect(self.server.url, "admin", nkey=self._seed_file("admin"))
        await self.create_stream(LOG, f"{ENV}.*.*.event.>")
        return self

    async def __aexit__(self, *_: object) -> None:
        for wire, link in self._wires.items():
            await wire.close()
            if link:
                await link.close()
        await self.admin.close()
        await self.server.stop()

    def _allow(
        self, identity: str, publish: tuple[str, ...], subscribe: tuple[str, ...], durables: tuple[str, ...]
    ) -> None:
        pair = self._keys.setdefault(identity, nkey_pair(os.urandom(32)))
        self._identities[identity] = Identity(
            identity,
            pair.public,
            _may_publish(publish, durables),
            (*subscribe, f"{inbox_prefix(identity)}.>"),
            responses=True,
        )

    def _accounts(self) -> tuple[Account, ...]:
        return (Account(ENV, tuple(self._identities.values())),)

    def _seed_file(self, identity: str) -> Path:
        path = self.folder / f"{identity}.nk"
        path.write_text(self._keys[identity].seed)
        return path

    def _restarted(self, _: object) -> None:
        self.restarts += 1


def play_sim(
    body: Callable[[SimGround], Coroutine[Any, Any, None]], seed: int = SEED, faults: Faults | None = None
) -> None:
    """Run a body on a simulated server."""

    async def whole() -> None:
        await body(SimGround(seed, faults))

    simulate(whole)


def play_nats(
    body: Callable[[NatsGround], Coroutine[Any, Any, None]], folder: Path, *, links: bool = True, fast: bool = True
) -> None:
    """Run a body on a real server."""

    async def whole() -> None:
        async with NatsGround(folder, links=links, fast=fast) as ground:
            await body(ground)

    asyncio.run(whole())


class Founded:
    """A log with a genesis, and the root that introduces parts to it."""

    def __init__(self, ground: Ground, root: Bus, signer: LocalSigner) -> None:
        self.ground, self.root, self.signer = ground, root, signer

    @classmethod
    async def on(cls, ground: Ground) -> Founded:
        """Write the genesis."""
        world = ground.world
        signer = LocalSigner(world.entropy(32))
        root = Bus(world, await ground.wire("root"), "root", "1", [signer])
        genesis = Genesis("root", [RootKey(signer.key_id, signer.public, "host")], 1, one_host=True, streams=[LOG])
        await root.append(Draft(genesis, new_id(world)))
        return cls(ground, root, signer)

    async def introduce(self, part: str, *patterns: str) -> LocalSigner:
        """Register a new key for `part`, which may sign these patterns (all of this test's decisions by default)."""
        signer = LocalSigner(self.ground.world.entropy(32))
        await self.register(part, signer.key_id, signer.public, *patterns)
        return signer

    async def register(self, part: str, key_id: str, public: bytes, *patterns: str) -> None:
        """Register a key that somebody holds."""
        grants = [Grant(pattern) for pattern in patterns or (Noted.pattern(ENV), Crossed.pattern(ENV))]
        introduced = KeyIntroduced("root", key_id, public, part, "ops", ["trial"], grants)
        await self.root.append(Draft(introduced, new_id(self.ground.world)))

    async def part(self, name: str = "desk", **wiring: tuple[str, ...]) -> Bus:
        """Introduce a part and return its bus."""
        signer = await self.introduce(name)
        return Bus(self.ground.world, await self.ground.wire(name, **wiring), name, "1", [signer])


def noted(world: World, n: int, who: str = "a") -> Draft:
    """A draft of these tests."""
    return Draft(Noted(who, n), new_id(world))
