"""`bench`: appends per second and processor time per event, beside raw nats-py on the same server in the same run.

Every server setting is the product's own (`sync: always`). Raw nats-py publishes the same bytes and waits for each
acknowledgement; ours also signs, chains, reads back and admits. Absolute figures mean nothing on shared machines; the
ratios of one run do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from nats.aio.client import Client

from deploy.embedded import Account, Identity, NatsServer
from organs.steward.ports import TRACE_AGE_S, NatsGround, kept_config, log_config
from shared.bus import Bus, Draft, Writer
from shared.bus.connecting import connect
from shared.bus.nats import NatsWire
from shared.codec import encode
from shared.constant import constant
from shared.envelope.keybook import ROOT_PART
from shared.keys import LocalSigner, load_or_create
from shared.subjects.keys import KEYS_ENTITY, Genesis, Grant, KeyIntroduced, RootKey
from shared.subjects.nervous import Extent, LoadAssessed
from shared.world import RealWorld, new_id

WRITERS = constant(16, "parts", "X-07")


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured way of appending; `ratio` is its events per second over raw nats-py's with as many writers."""

    name: str
    writers: int
    events: int
    per_second: float
    cpu_us: float
    ratio: float


class Publishes(Protocol):
    """The part of nats-py's JetStream context that is measured."""

    async def publish(self, subject: str, payload: bytes) -> object: ...


class Bench:
    """A log on a server of its own, and the ways of appending to it."""

    def __init__(self, world: RealWorld, client: Client, url: str, nkey: Path, events: int) -> None:
        self.world, self.client, self.url, self.nkey, self.events = world, client, url, nkey, events
        self.root = LocalSigner.generate(world.entropy)

    async def prepare(self) -> None:
        """Create the log and its genesis, and one bus per writer with a key of its own."""
        await NatsGround(self.client).create_stream(log_config(self.world.env))
        raw = kept_config("RAW", ["raw.>"], TRACE_AGE_S) | {"persist_mode": "default"}
        await NatsGround(self.client).create_stream(raw)
        root = Bus(self.world, await self._wire("root"), ROOT_PART, "1", [self.root])
        genesis = Genesis(
            KEYS_ENTITY, [RootKey(self.root.key_id, self.root.public, "bench")], 1, one_host=True, streams=[]
        )
        await root.append(Draft(genesis, new_id(self.world)))
        self.buses = [await self._part(root, f"part{i}") for i in range(WRITERS)]
        await root.drain()

    async def run(self) -> list[Figure]:
        """Measure every way once; fewer events where each waits for the disk alone."""
        few = max(self.events // 10, WRITERS)
        figures: list[Figure] = []
        for writers in (1, WRITERS):
            raw = await self._measure("raw nats-py", writers, few, self._raw, None)
            figures.append(raw)
            figures.append(await self._measure("signed, single", writers, few, self._single, raw))
            figures.append(await self._measure("signed, sealed blocks", writers, self.events, self._sealed, raw))
        for bus in self.buses:
            await bus.drain()
        return figures

    async def _measure(
        self, name: str, writers: int, events: int, append: Callable[[int, int], Awaitable[None]], raw: Figure | None
    ) -> Figure:
        wall, cpu = self.world.elapsed_s(), self.world.cpu_s()
        await asyncio.gather(*(append(writer, events // writers) for writer in range(writers)))
        wall, cpu, done = self.world.elapsed_s() - wall, self.world.cpu_s() - cpu, events // writers * writers
        rate = done / wall
        return Figure(
            name,
            writers,
            done,
            round(rate, 1),
            round(cpu / done * 1e6, 1),
            round(rate / raw.per_second, 2) if raw else 1.0,
        )

    async def _raw(self, writer: int, count: int) -> None:
        stream: Publishes = self.client.jetstream()  # pyright: ignore[reportUnknownMemberType] - nats-py leaves its options untyped
        data = encode(_decision(writer, 0))
        for _ in range(count):
            await stream.publish(f"raw.{writer}", data)

    async def _single(self, writer: int, count: int) -> None:
        for i in range(count):
            await self.buses[writer].append(Draft(_decision(writer, i), new_id(self.world)))

    async def _sealed(self, writer: int, count: int) -> None:
        out = Writer(self.buses[writer])
        await asyncio.gather(*(out.put(Draft(_decision(writer, i), new_id(self.world))) for i in range(count)))

    async def _wire(self, name: str) -> NatsWire:
        return await connect(self.url, name, nkey=self.nkey)

    async def _part(self, root: Bus, name: str) -> Bus:
        signer = LocalSigner.generate(self.world.entropy)
        grants = [Grant(LoadAssessed.pattern(self.world.env))]
        introduced = KeyIntroduced(KEYS_ENTITY, signer.key_id, signer.public, name, "bench", ["part"], grants)
        await root.append(Draft(introduced, new_id(self.world)))
        return Bus(self.world, await self._wire(name), name, "1", [signer])


async def bench(events: int) -> list[Figure]:
    """Start a server in a temporary folder, measure, and leave nothing behind."""
    world = RealWorld("dev")
    with TemporaryDirectory(prefix="nimmerverse-bench-") as folder:
        nkey = Path(folder) / "keys" / "bench.nk"
        public = load_or_create(nkey, world.entropy).public
        everything = Identity("bench", public, (">",), (">",), responses=True)
        async with NatsServer(Path(folder) / "nats", (Account("dev", (everything,)),)) as server:
            wire = await connect(server.url, "bench", nkey=nkey)
            measured = Bench(world, wire.client, server.url, nkey, events)
            await measured.prepare()
            try:
                return await measured.run()
            finally:
                await wire.close()


def table(figures: Sequence[Figure]) -> str:
    """Return the figures as text."""
    lines = [f"{'':<24}{'writers':>8}{'events':>8}{'events/s':>11}{'CPU µs/event':>14}{'× raw':>8}"]
    lines += [
        f"{f.name:<24}{f.writers:>8}{f.events:>8}{f.per_second:>11,.0f}{f.cpu_us:>14,.0f}{f.ratio:>8.2f}"
        for f in figures
    ]
    return "\n".join(lines)


def _decision(writer: int, number: int) -> LoadAssessed:
    site = f"site{writer}"
    cpu, other = Extent(number % 1_000_000, 1_000_000), Extent(400_000, 500_000)
    return LoadAssessed(site, "NORMAL", "NORMAL", "asked", 3, 3_000, cpu=cpu, memory=other, disk=other, load=other)
