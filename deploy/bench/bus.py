"""`bench bus`, claim by claim: what a message costs us, and what it costs raw nats-py and FastStream beside us.

Each claim is measured in one run, in turn, on one server and the same bytes; all sides decode with the same function;
what the bus takes in is signed, and beside that the client takes the bytes alone.
Processor time is this process's alone, the best of BUS_ROUNDS; only where a claim speaks of waiting is it the clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import msgspec

from deploy.bench.claims import Claim, Way, explained
from deploy.bench.log import BLOCK, SampleLog, replayed
from deploy.bench.rivals import FETCH, FastStream, RawNats, faststream
from deploy.embedded import Account, Identity, NatsServer
from organs.steward.ports import TRACE_AGE_S, NatsGround, consumer_config, kept_config, log_config
from shared.bus import Bus, Draft, Outcome
from shared.bus.connecting import connect
from shared.bus.nats import NatsWire
from shared.bus.wire import stream_name
from shared.codec import encode
from shared.constant import constant
from shared.envelope import Prefix, Verdict, admit, leaf_of
from shared.envelope.keybook import ROOT_PART
from shared.keys import LocalSigner, load_or_create
from shared.log.entry import Entry
from shared.subjects.keys import KEYS_ENTITY, Genesis, KeyIntroduced, RootKey
from shared.subjects.nervous import Extent, LoadAssessed
from shared.world import RealWorld, new_id

BUS_ROUNDS = constant(9, "rounds", "X-07")
IN_FLIGHT = constant(200, "appends", "X-07")
UNSETTLED = constant(5_000, "messages", "X-07")
MEANINGFUL = constant(1_000, "messages", "X-07")
STARTS = constant(3, "starts", "X-07")
WORK = "WORK"
MAX_TIMES = constant(1.1, "times", "X-07")
MAX_START_MS = constant(250, "ms", "X-07")
MIN_REPLAYED = constant(100_000, "events/s", "X-04")
DONE = Outcome("ack")


def rounds_of(messages: int) -> int:
    """Return how often each way is measured: so few messages that nothing can be said of them, once."""
    return BUS_ROUNDS if messages >= MEANINGFUL else 1


class BusBench:
    """A server of its own, and each claim measured on it."""

    def __init__(self, world: RealWorld, folder: Path, messages: int) -> None:
        self.world, self.folder, self.messages = world, folder, messages
        self.rounds = rounds_of(messages)
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
            await self.raw.connect(self.server.url, self.nkey)
            for name, subjects in ((WORK, "work.>"), ("APPEND", "append.>")):
                await self.ground.create_stream(kept_config(name, [subjects], TRACE_AGE_S))
            await self.raw.publish(self._messages("work", self.messages), IN_FLIGHT)
            claims = [*await self.append(), *await self.handle(), *await self.replay()]
            for per_entry in (1, BLOCK):
                claims += await self.signed(per_entry)
            claims.append(await self.request())
            await self.raw.close()
            await self.wire.close()
            return [*claims, await self.start()]
        finally:
            await self.server.stop()

    async def append(self) -> list[Claim]:
        """Many lanes, one append of each in flight; ours are conditional on their lane, theirs on nothing."""
        turns = max(self.messages // IN_FLIGHT, 1)
        lasts, count = [-1] * IN_FLIGHT, turns * IN_FLIGHT
        world, log = await self._log("appended", 0, 1)
        bus = Bus(world, self.wire, "desk", "1", [log.desk])

        async def ours() -> None:
            async def write(writer: int) -> None:
                lane = f"append.ours.{writer}"
                for _ in range(turns):
                    lasts[writer] = await self.wire.append([(f"{lane}.n", self.data)], lane, lasts[writer], 10.0)

            await asyncio.gather(*(write(writer) for writer in range(IN_FLIGHT)))

        async def theirs() -> None:
            await self.raw.publish(self._messages("append.theirs", count), IN_FLIGHT)

        async def signed() -> None:
            async def write(writer: int) -> None:
                for _ in range(turns):
                    await bus.append(Draft(_assessed(f"site{writer}"), new_id(world)))

            await asyncio.gather(*(write(writer) for writer in range(IN_FLIGHT)))

        ours_s, theirs_s, signed_s = await self._in_turn(ours, theirs, signed)
        beside = "nats-py's publish_async"
        return [
            *await explained(ours, Claim.less("wire: pipelined append", count, beside, (ours_s, theirs_s), 5)),
            Claim.less("bus: pipelined append, signed, read back", count, beside, (signed_s, theirs_s), None),
        ]

    async def handle(self) -> list[Claim]:
        """A durable consumer's typed handler; and once more in strict order, one at a time, as the steward makes it."""
        count, few = self.messages, max(self.messages // 10, 1)
        stream = FastStream(self.server.url, self.nkey, self.decode) if faststream() else None
        many = await self._durables(WORK, 3 * self.rounds + 1, UNSETTLED)
        single = await self._durables(WORK, 2 * self.rounds + 1, 1)

        def ours() -> Awaitable[None]:
            return self._ours(many.pop(), count)

        def strictly() -> Awaitable[None]:
            return self._ours(single.pop(), few)

        ways: list[Way] = [ours, lambda: self.raw.handle(WORK, many.pop(), count, self.decode)]
        if stream is not None:
            await stream.connect()
            ways.append(lambda: stream.handle(WORK, many.pop(), "work.>", count))
        ours_s, theirs_s, *streamed_s = await self._in_turn(*ways)
        if stream is not None:
            await stream.close()
        each = await self._in_turn(strictly, lambda: self.raw.handle(WORK, single.pop(), few, self.decode, 1))
        name, beside = "wire: durable typed handler", "FastStream's pull subscriber"
        return [
            *await explained(
                ours,
                Claim.less(name, count, f"nats-py fetch({FETCH})", (ours_s, theirs_s), 10),
                Claim.less(name, count, beside, (ours_s, *streamed_s), 20),
            ),
            *await explained(strictly, Claim.less(f"{name}, one at a time", few, "nats-py fetch(1)", each, 1)),
        ]

    async def signed(self, per_entry: int) -> list[Claim]:
        """Signed entries by way of the bus, consumed as the steward has it and replayed; theirs takes the bytes."""
        kind = f"blocks of {BLOCK}" if per_entry > 1 else "single entries"
        world, log = await self._log(f"log{per_entry}", self.messages, per_entry)
        stream, entries = stream_name("log", world.env), len(log.entries)
        strict = await self._durables(stream, self.rounds, 1)
        many = await self._durables(stream, self.rounds, UNSETTLED)

        async def consume() -> None:
            done, seen = asyncio.Event(), 0

            async def handle(verdict: Verdict) -> None:
                nonlocal seen
                assert not verdict.void(), verdict.void()
                seen += 1
                if seen == entries:
                    done.set()

            pull = await Bus(world, self.wire, "desk", "1", []).consume(strict.pop(), handle)
            await done.wait()
            await pull.close()

        async def replay() -> None:
            async for verdict in Bus(world, self.wire, "desk", "1", []).replay():
                assert not verdict.void(), verdict.void()

        fetched = f"nats-py fetch({FETCH}), the bytes"
        consumed = await self._in_turn(consume, lambda: self.raw.handle(stream, many.pop(), entries, bytes))
        replayed = await self._in_turn(replay, lambda: self.raw.replay(stream, f"{world.env}.>", entries, bytes))
        return [
            Claim.less(f"bus: consume {kind}, one at a time", self.messages, fetched, consumed, None),
            Claim.less(f"bus: replay of {kind}", self.messages, "nats-py's callback, the bytes", replayed, None),
        ]

    async def _log(self, env: str, events: int, per_entry: int) -> tuple[RealWorld, SampleLog]:
        """Store a signed log of so many events as an environment of its own."""
        world = RealWorld(env)
        log = SampleLog(world, events, per_entry)
        await self.ground.create_stream(kept_config(stream_name("log", env), [f"{env}.>"], TRACE_AGE_S))
        await self.raw.publish([(entry.subject, entry.raw) for entry in log.entries], IN_FLIGHT)
        return world, log

    def _messages(self, subject: str, count: int) -> Iterator[tuple[str, bytes]]:
        return ((f"{subject}.{number % IN_FLIGHT}", self.data) for number in range(count))

    async def _ours(self, durable: str, count: int) -> None:
        done, seen = asyncio.Event(), 0

        async def consumer(entry: Entry, _: int) -> Outcome:
            nonlocal seen
            self.decode(entry.raw)
            seen += 1
            if seen == count:
                done.set()
            return DONE

        pull = await self.wire.consume(WORK, durable, consumer)
        await done.wait()
        await pull.close()

    async def _durables(self, stream: str, count: int, unsettled: int) -> list[str]:
        """Create so many durable consumers; nothing of that is measured."""
        names = [f"reader{self.consumers + n}" for n in range(count)]
        self.consumers += count
        for name in names:
            await self.ground.create_consumer(stream, consumer_config(name, [">"]) | {"max_ack_pending": unsettled})
        return names

    async def replay(self) -> list[Claim]:
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

        claim = Claim.less("wire: replay", count, "nats-py's ordered callback", await self._in_turn(ours, theirs), 5)
        return await explained(ours, claim)

    async def request(self) -> Claim:
        """The median of a question and its answer, each asked after the other on both sides."""
        await self.raw.answer("echo")
        rounds = max(self.messages // 10, 10)
        ways = (
            lambda: self.wire.request("echo", self.data, None, 5.0),
            lambda: self.raw.client.request("echo", self.data, timeout=5.0),
        )
        took = [list[float](), list[float]()]
        for turn in range(2 * rounds):
            side = (turn + turn // 2) % 2  # ours, theirs, theirs, ours: neither always comes first
            began = self.world.elapsed_s()
            await ways[side]()
            took[side].append(self.world.elapsed_s() - began)
        ours, theirs = (median(one) * 1e6 for one in took)
        ratio, target = ours / theirs, f"≤ {MAX_TIMES:g} × as long"
        return Claim(
            "wire: request and reply", rounds, "µs p50", ours, "nats-py", theirs, ratio, target, ratio <= MAX_TIMES
        )

    async def start(self) -> Claim:
        """From nothing running on an initialised folder to the first acknowledged, admitted append."""
        signer = LocalSigner.generate(self.world.entropy)
        await self.server.stop()
        took = list[float]()
        for turn in range(min(STARTS, self.rounds) + 1):
            began = self.world.elapsed_s()
            await self.server.start()
            wire = await self._wire()
            bus = Bus(self.world, wire, ROOT_PART, "1", [signer])
            if turn == 0:
                await NatsGround(wire.client).create_stream(log_config(self.world.env))
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
        return Claim.within("start to first acknowledged append", len(took), "ms", median(took), MAX_START_MS)

    async def _in_turn(self, *ways: Way) -> list[float]:
        """Return the least processor time of each way, measured in turn so that what slows the machine slows all."""
        best = [float("inf")] * len(ways)
        for _ in range(self.rounds):
            for place, way in enumerate(ways):
                began = self.world.cpu_s()
                await way()
                best[place] = min(best[place], self.world.cpu_s() - began)
        return best

    async def _wire(self) -> NatsWire:
        return await connect(self.server.url, "bench", nkey=self.nkey)


async def measure_blocks(world: RealWorld, events: int) -> list[Claim]:
    """Measure sealed blocks beside a signed entry for each event, in memory, and the verified replay of such blocks."""
    events = max(events // BLOCK, 1) * BLOCK
    data = encode(_assessed())
    drawn = [(world.entropy(16), data) for _ in range(events)]
    makings, checks, replays = list[tuple[float, float]](), list[tuple[float, float]](), list[float]()
    for _ in range(rounds_of(events)):
        blocks, singles = SampleLog(world, 0, 1), SampleLog(world, 0, 1)
        makings.append((_cpu_s(world, _made, blocks, drawn, BLOCK), _cpu_s(world, _made, singles, drawn, 1)))
        checks.append((_cpu_s(world, _checked, blocks), _cpu_s(world, _checked, singles)))
        leaves = [leaf_of(entry) for entry in blocks.entries]
        replays.append(_cpu_s(world, replayed, world.env, leaves))
    singly, rate = "a signed entry of each event", events / min(replays)
    blocks = SampleLog(world, 0, 1)
    _made(blocks, drawn, BLOCK)

    async def make() -> None:
        _made(SampleLog(world, 0, 1), drawn, BLOCK)

    async def check() -> None:
        _checked(blocks)

    async def replay() -> None:
        replayed(world.env, [leaf_of(entry) for entry in blocks.entries])

    rate_claim = Claim.within("verified replay, bytes to typed events", events, "events/s of CPU", rate, MIN_REPLAYED)
    return [
        *await explained(make, Claim.less(f"making sealed blocks of {BLOCK}", events, singly, _least(makings), 10)),
        *await explained(check, Claim.less(f"checking sealed blocks of {BLOCK}", events, singly, _least(checks), 20)),
        *await explained(replay, rate_claim),
    ]


def _least(rounds: list[tuple[float, float]]) -> list[float]:
    return [min(one) for one in zip(*rounds, strict=True)]


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


def _assessed(site: str = "bench") -> LoadAssessed:
    extent = Extent(100_000, 200_000)
    return LoadAssessed(
        site, "NORMAL", "UNKNOWN", "asked", 3, 3_000, cpu=extent, memory=extent, disk=extent, load=extent
    )


def _cpu_s(world: RealWorld, act: Callable[..., None], *args: object) -> float:
    began = world.cpu_s()
    act(*args)
    return world.cpu_s() - began


async def measure_bus(world: RealWorld, messages: int) -> list[Claim]:
    """Measure every claim; what is started here lies in a temporary folder and is gone afterwards."""
    with TemporaryDirectory(prefix="nimmerverse-bench-") as folder:
        claims = await BusBench(world, Path(folder), max(messages // 100, 1) * 100).run()
    return [*claims, *await measure_blocks(world, messages)]
