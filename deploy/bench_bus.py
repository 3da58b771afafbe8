"""`bench bus`, claim by claim: what a message costs us, and what it costs raw nats-py and FastStream beside us.

Each claim is measured in one run, in turn, on one server and the same bytes; all sides decode with the same function.
Processor time is this process's alone, the best of ROUNDS; only where a claim speaks of waiting is it the clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import msgspec

from deploy.bench_log import BLOCK, SampleLog, replayed
from deploy.bench_rivals import RawNats, faststream, handle_with_faststream
from deploy.embedded import Account, Identity, NatsServer
from organs.steward.ports import TRACE_AGE_S, NatsGround, consumer_config, kept_config, log_config
from shared.bus import Bus, Draft, Outcome
from shared.bus.connecting import connect
from shared.bus.nats import NatsWire
from shared.codec import encode
from shared.constant import constant
from shared.envelope import Prefix, admit, leaf_of
from shared.envelope.keybook import ROOT_PART
from shared.keys import LocalSigner, load_or_create
from shared.log.entry import Entry
from shared.subjects.keys import KEYS_ENTITY, Genesis, KeyIntroduced, RootKey
from shared.subjects.nervous import Extent, LoadAssessed
from shared.world import RealWorld, new_id

ROUNDS = constant(3, "rounds", "X-07")
IN_FLIGHT = constant(200, "appends", "X-07")
UNSETTLED = constant(5_000, "messages", "X-07")
STARTS = constant(3, "starts", "X-07")
WORK = "WORK"
MAX_TIMES = constant(1.1, "times", "X-07")
MAX_START_MS = constant(250, "ms", "X-07")
MIN_REPLAYED = constant(100_000, "events/s", "X-04")
DONE = Outcome("ack")


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim: ours, what is beside it, and the figure that the target speaks of."""

    claim: str
    items: int
    unit: str
    ours: float
    beside: str
    theirs: float | None  #: None where there is nothing beside it, or it is not installed
    figure: float | None
    target: str
    met: bool | None  #: None where it was not measured

    @classmethod
    def less(cls, claim: str, items: int, ours_s: float, beside: str, theirs_s: float | None, times: float) -> Claim:
        """Ours takes so many times less processor time."""
        per, figure = 1e6 / items, theirs_s and theirs_s / ours_s
        theirs = theirs_s and theirs_s * per
        met = None if figure is None else figure >= times
        return cls(claim, items, "µs CPU", ours_s * per, beside, theirs, figure, f"≥ {times:g} × less", met)


class BusBench:
    """A server of its own, and each claim measured on it."""

    def __init__(self, world: RealWorld, folder: Path, messages: int) -> None:
        self.world, self.folder, self.messages = world, folder, messages
        self.nkey = folder / "keys" / "bench.nk"
        public = load_or_create(self.nkey, world.entropy).public
        everything = Identity("bench", public, (">",), (">",), responses=True)
        self.server = NatsServer(folder / "nats", (Account(world.env, (everything,)),))
        self.raw = RawNats()
        self.data = encode(_assessed())
        self.decode = msgspec.msgpack.Decoder(LoadAssessed).decode
        self.consumers = 0

    async def run(self) -> list[Claim]:
        """Measure every claim that needs a server."""
        await self.server.start()
        try:
            self.wire = await self._wire()
            self.ground = NatsGround(self.wire.client)
            await self.raw.connect(self.server.url, str(self.nkey))
            for name, subjects in ((WORK, "work.>"), ("APPEND", "append.>")):
                await self.ground.create_stream(kept_config(name, [subjects], TRACE_AGE_S))
            await self.raw.publish("work", self.data, self.messages, IN_FLIGHT)
            claims = [await self.append(), *await self.handle(), await self.replay(), await self.request()]
            await self.raw.close()
            await self.wire.close()
            return [*claims, await self.start()]
        finally:
            await self.server.stop()

    async def append(self) -> Claim:
        """Many lanes, one append of each in flight; ours are conditional on their lane, theirs on nothing."""
        turns = max(self.messages // IN_FLIGHT, 1)
        lasts = [-1] * IN_FLIGHT

        async def ours() -> None:
            async def write(writer: int) -> None:
                lane = f"append.ours.{writer}"
                for _ in range(turns):
                    lasts[writer] = await self.wire.append([(f"{lane}.n", self.data)], lane, lasts[writer], 10.0)

            await asyncio.gather(*(write(writer) for writer in range(IN_FLIGHT)))

        async def theirs() -> None:
            await self.raw.publish("append.theirs", self.data, turns * IN_FLIGHT, IN_FLIGHT)

        ours_s, theirs_s = await self._in_turn(ours, theirs)
        return Claim.less("pipelined append", turns * IN_FLIGHT, ours_s, "nats-py's publish_async", theirs_s, 5)

    async def handle(self) -> list[Claim]:
        """A durable consumer's typed handler; and once more in strict order, one at a time, as the steward makes it."""
        count = self.messages
        seed = self.nkey.read_text().strip()

        async def fast() -> None:
            durable = await self._durable(UNSETTLED)
            await handle_with_faststream(self.server.url, seed, WORK, durable, "work.>", count, self.decode)

        many = (lambda: self._ours(count, UNSETTLED), lambda: self._theirs(count, UNSETTLED, 100))
        ours_s, theirs_s = await self._in_turn(*many)
        fast_s = (await self._in_turn(fast))[0] if faststream() else None
        few = max(count // 10, 1)
        strict = (lambda: self._ours(few, 1), lambda: self._theirs(few, 1, 1))
        strict_ours_s, strict_theirs_s = await self._in_turn(*strict)
        name = "durable typed handler"
        return [
            Claim.less(name, count, ours_s, "nats-py fetch(100)", theirs_s, 10),
            Claim.less(name, count, ours_s, "FastStream's pull subscriber", fast_s, 20),
            Claim.less(f"{name}, one at a time", few, strict_ours_s, "nats-py fetch(1)", strict_theirs_s, 1),
        ]

    async def _ours(self, count: int, unsettled: int) -> None:
        done, seen = asyncio.Event(), 0

        async def consumer(entry: Entry, _: int) -> Outcome:
            nonlocal seen
            self.decode(entry.raw)
            seen += 1
            if seen == count:
                done.set()
            return DONE

        pull = await self.wire.consume(WORK, await self._durable(unsettled), consumer)
        await done.wait()
        await pull.close()

    async def _theirs(self, count: int, unsettled: int, batch: int) -> None:
        await self.raw.handle(WORK, await self._durable(unsettled), count, self.decode, batch)

    async def _durable(self, unsettled: int) -> str:
        self.consumers += 1
        name = f"reader{self.consumers}"
        config = consumer_config(name, ["work.>"]) | {"max_ack_pending": unsettled}
        await self.ground.create_consumer(WORK, config)
        return name

    async def replay(self) -> Claim:
        """Every message of the stream, in order."""
        count = self.messages

        async def ours() -> None:
            at = 0
            while at < count:
                entries = await self.wire.read(WORK, at)
                for entry in entries:
                    self.decode(entry.raw)
                at = entries[-1].index + 1

        async def theirs() -> None:
            await self.raw.replay(WORK, "work.>", count, self.decode)

        ours_s, theirs_s = await self._in_turn(ours, theirs)
        return Claim.less("replay", count, ours_s, "nats-py's ordered callback", theirs_s, 5)

    async def request(self) -> Claim:
        """The median of a question and its answer, each asked after the other on both sides."""
        await self.raw.answer("echo")
        rounds = max(self.messages // 10, 10)
        ours, theirs = list[float](), list[float]()
        for _ in range(rounds):
            began = self.world.elapsed_s()
            await self.wire.request("echo", self.data, None, 5.0)
            between = self.world.elapsed_s()
            await self.raw.client.request("echo", self.data, timeout=5.0)
            ours.append(between - began)
            theirs.append(self.world.elapsed_s() - between)
        p50, beside = median(ours) * 1e6, median(theirs) * 1e6
        ratio = p50 / beside
        target = f"≤ {MAX_TIMES:g} × as long"
        return Claim("request and reply", rounds, "µs p50", p50, "nats-py", beside, ratio, target, ratio <= MAX_TIMES)

    async def start(self) -> Claim:
        """From nothing running on an initialised folder to the first acknowledged, admitted append."""
        signer = LocalSigner.generate(self.world.entropy)
        await self.server.stop()
        took = list[float]()
        for turn in range(STARTS + 1):
            began = self.world.elapsed_s()
            await self.server.start()
            bus = Bus(self.world, await self._wire(), ROOT_PART, "1", [signer])
            if turn == 0:
                await NatsGround(bus.wire.client).create_stream(log_config(self.world.env))
                roots = [RootKey(signer.key_id, signer.public, "bench")]
                genesis = Genesis(KEYS_ENTITY, roots, 1, one_host=True, streams=[])
                await bus.append(Draft(genesis, new_id(self.world)))
            else:
                key = LocalSigner.generate(self.world.entropy)
                introduced = KeyIntroduced(KEYS_ENTITY, key.key_id, key.public, f"desk{turn}", "bench", ["part"], [])
                await bus.append(Draft(introduced, new_id(self.world)))
                took.append((self.world.elapsed_s() - began) * 1e3)
            await bus.drain()
            await self.server.stop()
        ms = median(took)
        target = f"≤ {MAX_START_MS} ms"
        return Claim("start to first acknowledged append", STARTS, "ms", ms, "", None, ms, target, ms <= MAX_START_MS)

    async def _in_turn(self, *ways: Callable[[], Awaitable[None]]) -> list[float]:
        """Return the least processor time of each way, measured in turn so that what slows the machine slows all."""
        best = [float("inf")] * len(ways)
        for _ in range(ROUNDS):
            for place, way in enumerate(ways):
                began = self.world.cpu_s()
                await way()
                best[place] = min(best[place], self.world.cpu_s() - began)
        return best

    async def _wire(self) -> NatsWire:
        return await connect(self.server.url, "bench", nkey=self.nkey)


def measure_blocks(world: RealWorld, events: int) -> list[Claim]:
    """Measure sealed blocks beside a signed entry for each event, in memory, and the verified replay of such blocks."""
    events = max(events // BLOCK, 1) * BLOCK
    data = encode(_assessed())
    drawn = [(world.entropy(16), data) for _ in range(events)]
    makings, checks, replays = list[tuple[float, float]](), list[tuple[float, float]](), list[float]()
    for _ in range(ROUNDS):
        logs = [SampleLog(world, 0, 1) for _ in range(2)]
        blocks, singles = logs
        makings.append((_cpu_s(world, _made, blocks, drawn, BLOCK), _cpu_s(world, _made, singles, drawn, 1)))
        checks.append((_cpu_s(world, _checked, blocks), _cpu_s(world, _checked, singles)))
        leaves = [leaf_of(entry) for entry in blocks.entries]
        replays.append(_cpu_s(world, replayed, world.env, leaves))
    made, made_singly, checked, checked_singly = (
        min(some) for some in (*zip(*makings, strict=True), *zip(*checks, strict=True))
    )
    rate = events / min(replays)
    singly = "a signed entry of each event"
    return [
        Claim.less(f"making sealed blocks of {BLOCK}", events, made, singly, made_singly, 10),
        Claim.less(f"checking sealed blocks of {BLOCK}", events, checked, singly, checked_singly, 20),
        Claim(
            "verified replay, bytes to typed events",
            events,
            "events/s of CPU",
            rate,
            "",
            None,
            rate,
            f"≥ {MIN_REPLAYED:,} per second",
            rate >= MIN_REPLAYED,
        ),
    ]


def _made(log: SampleLog, drawn: list[tuple[bytes, bytes]], size: int) -> None:
    subject = _assessed().subject(log.world.env)
    for first in range(0, len(drawn), size):
        log.put("desk", subject, drawn[first : first + size], log.desk)


def _checked(log: SampleLog) -> None:
    prefix = Prefix(log.world.env, recalls=False)
    for entry in log.entries:
        verdict = admit(prefix, entry)
        prefix.fold(verdict)
        assert not verdict.void(), verdict.void()


def _assessed() -> LoadAssessed:
    extent = Extent(100_000, 200_000)
    return LoadAssessed(
        "bench", "NORMAL", "UNKNOWN", "asked", 3, 3_000, cpu=extent, memory=extent, disk=extent, load=extent
    )


def _cpu_s(world: RealWorld, act: Callable[..., None], *args: object) -> float:
    began = world.cpu_s()
    act(*args)
    return world.cpu_s() - began


async def measure_bus(world: RealWorld, messages: int) -> list[Claim]:
    """Measure every claim; what is started here lies in a temporary folder and is gone afterwards."""
    with TemporaryDirectory(prefix="nimmerverse-bench-") as folder:
        claims = await BusBench(world, Path(folder), max(messages // 100, 1) * 100).run()
    return [*claims, *measure_blocks(world, messages)]


def table(claims: Sequence[Claim]) -> str:
    """Return the claims for people."""
    lines = [f"{'claim':<40} {'items':>7} {'ours':>10} {'unit':<9} {'beside':<30} {'theirs':>8} {'ratio':>8} target"]
    for c in claims:
        theirs = "" if c.theirs is None else f"{c.theirs:,.1f}"
        figure = "—" if c.figure is None else f"{c.figure:,.1f}"
        verdict = "not installed" if c.met is None else "met" if c.met else "MISSED"
        lines.append(
            f"{c.claim:<40} {c.items:>7} {c.ours:>10,.1f} {c.unit:<9} {c.beside:<30} {theirs:>8} {figure:>8} "
            f"{c.target}: {verdict}"
        )
    return "\n".join(lines)
