"""A simulated server and its wires: virtual time, and faults drawn from the World's seed."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from shared.bus.bucket import SimBucket
from shared.bus.wire import INBOX, READ_BATCH, Consumer, Delivery, Moved, Sink, Subscription, inbox_prefix
from shared.envelope.keybook import covers
from shared.errors import NoStream, NotPermitted, Refusal, Refused, Unreachable, Unresolved
from shared.log.entry import Entry
from shared.message import lane_of
from shared.world import SimWorld


@dataclass(frozen=True)
class Faults:
    """Chances in [0, 1] per message, and the longest extra delay in seconds.

    `behind_s` makes the server a cluster: who answers a reading is up to so many seconds behind what is stored.
    """

    drop: float = 0.0
    duplicate: float = 0.0
    delay_s: float = 0.002
    lose_ack: float = 0.0
    lose_append: float = 0.0
    behind_s: float = 0.0


@dataclass
class SimStream:
    """A stored, ordered list of entries. Index i is the (i+1)-th ever stored; `limit` drops the oldest."""

    patterns: tuple[str, ...]
    limit: int | None = None
    first: int = 0
    entries: deque[Entry] = field(default_factory=deque[Entry])
    by_lane: dict[str, list[Entry]] = field(default_factory=dict[str, list[Entry]])

    def add(self, subject: str, raw: bytes, time_ns: int) -> int:
        """Store one message and return its index."""
        entry = Entry(self.first + len(self.entries), subject, time_ns, raw)
        self.entries.append(entry)
        if self.limit is None:
            self.by_lane.setdefault(subject.rsplit(".", 1)[0], []).append(entry)
        elif len(self.entries) > self.limit:
            self.entries.popleft()
            self.first += 1
        return entry.index

    def read(self, start: int, pattern: str, limit: int, until_ns: int | None = None) -> list[Entry]:
        """Return up to `limit` entries from `start` on that match; a whole lane is answered from its index."""
        lane = self.by_lane.get(pattern.removesuffix(".>"))
        if pattern.endswith(".>") and lane is not None:
            found = lane[bisect_left(lane, start, key=lambda e: e.index) :][:limit]
        else:
            rest = islice(self.entries, max(start - self.first, 0), None)
            found = list(islice((e for e in rest if not pattern or covers(pattern, e.subject)), limit))
        return found if until_ns is None else [entry for entry in found if entry.time_ns <= until_ns]

    def last(self, pattern: str, until_ns: int | None = None) -> Entry | None:
        """Return the newest entry that matches."""
        lane = self.by_lane.get(pattern.removesuffix(".>")) if pattern.endswith(".>") else None
        kept = self.entries if lane is None else lane
        held = (e for e in reversed(kept) if until_ns is None or e.time_ns <= until_ns)
        return next((e for e in held if covers(pattern, e.subject)), None)


@dataclass
class SimDurable:
    """A durable consumer's place: what is next, and what was delivered but not settled, `at_once` entries at most."""

    stream: str
    patterns: tuple[str, ...]
    ack_wait_s: float = 30.0
    at_once: int = 1
    next: int = 0
    #: index → (due, deliveries)
    waiting: dict[int, tuple[float, int]] = field(default_factory=dict[int, tuple[float, int]])


@dataclass
class _Listener:
    wire: SimWire
    pattern: str
    sink: Sink
    queue: str

    async def close(self) -> None:
        if self in self.wire.server.listeners:
            self.wire.server.listeners.remove(self)


class SimServer:
    """One simulated nats-server: subjects, streams, durable consumers and permissions."""

    def __init__(self, world: SimWorld, faults: Faults | None = None) -> None:
        self.world = world
        self.faults = faults or Faults()
        self.streams: dict[str, SimStream] = {}
        self.buckets: dict[str, SimBucket] = {}
        self.durables: dict[tuple[str, str], SimDurable] = {}
        self.listeners: list[_Listener] = []
        self.wires: list[SimWire] = []
        self.lanes: dict[str, int] = {}
        self.stored = asyncio.Condition()
        self.witness: Callable[[Entry], None] | None = None  #: sees every entry of the log as it is stored
        self._turns = 0

    def wire(self, identity: str, publish: tuple[str, ...] = (">",), subscribe: tuple[str, ...] = (">",)) -> SimWire:
        """Return a new connection of `identity` with these permissions."""
        wire = SimWire(self, identity, publish, subscribe)
        self.wires.append(wire)
        return wire

    def permit(self, identity: str, publish: tuple[str, ...], subscribe: tuple[str, ...]) -> None:
        """Change what the connections of `identity` may do."""
        for wire in self.wires:
            if wire.identity == identity:
                wire.may_publish, wire.may_subscribe = publish, subscribe

    def deliver(self, delivery: Delivery, *, faulty: bool) -> bool:
        """Hand a message to every listener, one per queue group; say whether anybody listens."""
        chosen: list[_Listener] = []
        groups: dict[tuple[str, str], list[_Listener]] = {}
        for listener in self.listeners:
            if listener.wire.linked and covers(listener.pattern, delivery.subject):
                if listener.queue:
                    groups.setdefault((listener.pattern, listener.queue), []).append(listener)
                else:
                    chosen.append(listener)
        for members in groups.values():
            self._turns += 1
            chosen.append(members[self._turns % len(members)])
        for listener in chosen:
            copies = 1
            if faulty:
                copies = (
                    0 if self.world.chance() < self.faults.drop else 1 + (self.world.chance() < self.faults.duplicate)
                )
            for _ in range(copies):
                self._later(listener, delivery)
        return bool(chosen)

    def _later(self, listener: _Listener, delivery: Delivery) -> None:
        def arrive() -> None:
            if listener.wire.linked and listener in self.listeners:
                listener.sink(delivery)

        loop, delay_s = asyncio.get_running_loop(), self.world.chance() * self.faults.delay_s
        if delay_s:
            loop.call_later(delay_s, arrive)
        else:  # in the order of sending; timers that are due at the same moment have none
            loop.call_soon(arrive)

    def keep(self, subject: str, data: bytes) -> int | None:
        """Store a message in the stream that lists its subject; None when no stream does."""
        for stream in self.streams.values():
            if any(covers(pattern, subject) for pattern in stream.patterns):
                index = stream.add(subject, data, self.world.now_ns())
                self.lanes[subject.rsplit(".", 1)[0]] = index
                if self.witness is not None and stream.limit is None and lane_of(subject) is not None:
                    self.witness(stream.entries[-1])
                return index
        return None

    def held_ns(self) -> int | None:
        """Return until when the one that answers holds what was stored; None where it holds all of it."""
        behind_s = self.faults.behind_s
        return self.world.now_ns() - int(self.world.chance() * behind_s * 1e9) if behind_s else None

    async def wake(self) -> None:
        """Tell durable consumers that something was stored."""
        async with self.stored:
            self.stored.notify_all()


class SimWire:
    """A connection to a SimServer; `linked` False is a cut: nothing arrives or leaves, appends stay unresolved."""

    def __init__(self, server: SimServer, identity: str, publish: tuple[str, ...], subscribe: tuple[str, ...]) -> None:
        self.server, self.identity = server, identity
        self.may_publish, self.may_subscribe = publish, subscribe
        self.linked = True
        self._answers: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listeners: list[_Listener] = []

    @property
    def connected(self) -> bool:
        return self.linked

    @property
    def replicated(self) -> bool:
        return self.server.faults.behind_s > 0

    def inbox(self) -> str:
        return f"{inbox_prefix(self.identity)}.{self.server.world.entropy(11).hex()}"

    async def publish(
        self, subject: str, data: bytes, headers: Mapping[str, str] | None = None, reply: str = ""
    ) -> None:
        self._check_link()
        self._check_publish(subject)
        self.server.deliver(Delivery(subject, data, dict(headers or {}), reply), faulty=not subject.startswith(INBOX))
        if self.server.keep(subject, data) is not None:
            await self.server.wake()

    async def confirm(self, subject: str) -> None:
        self._check_publish(subject)

    async def subscribe(self, pattern: str, sink: Sink, queue: str = "") -> Subscription:
        self._check_link()
        own = f"{inbox_prefix(self.identity)}.>"
        if not any(covers(allowed, pattern) or allowed == pattern for allowed in (*self.may_subscribe, own)):
            raise NotPermitted(f"{self.identity} may not subscribe to {pattern}")

        def receive(delivery: Delivery) -> None:
            if delivery.reply.startswith(INBOX):
                self._answers.add(delivery.reply)
            sink(delivery)

        listener = _Listener(self, pattern, receive, queue)
        self.server.listeners.append(listener)
        self._listeners.append(listener)
        return listener

    async def request(self, subject: str, data: bytes, headers: Mapping[str, str] | None, timeout_s: float) -> Delivery:
        self._check_publish(subject)
        answer: asyncio.Future[Delivery] = asyncio.get_running_loop().create_future()
        inbox = self.inbox()
        listening = await self.subscribe(inbox, lambda d: None if answer.done() else answer.set_result(d))
        try:
            if not self.server.deliver(Delivery(subject, data, dict(headers or {}), inbox), faulty=True):
                raise Refused(Refusal("B006", f"nobody listens on {subject}"))
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError:
            raise Refused(Refusal("B006", f"no answer on {subject} within {timeout_s} s")) from None
        finally:
            await listening.close()

    async def append(self, batch: Sequence[tuple[str, bytes]], lane: str, last: int, timeout_s: float) -> int:
        for subject, _ in batch:
            self._check_publish(subject)
        await self._carried(lane, timeout_s, self.server.faults.lose_append)
        newest = self.server.lanes.get(lane, -1)
        if newest != last:
            raise Moved(lane, last, newest)
        index = -1
        for subject, raw in batch:
            stored = self.server.keep(subject, raw)
            if stored is None:
                raise Unreachable(f"no stream stores {subject}")
            index = stored
        self.server.deliver(Delivery(batch[-1][0], batch[-1][1]), faulty=True)
        await self.server.wake()
        await self._carried(lane, timeout_s, self.server.faults.lose_ack)
        return index

    async def swap(self, subject: str, data: bytes, last: int, timeout_s: float) -> int:
        self._check_publish(subject)
        self._check_link()
        buckets = self.server.buckets.values()
        bucket = next((b for b in buckets if any(covers(p, subject) for p in b.patterns)), None)
        if bucket is None:
            raise Unreachable(f"no bucket keeps {subject}; the steward creates it")
        await self._carried(subject, timeout_s, self.server.faults.lose_append)
        index = bucket.swap(subject, data, last, self.server.world.now_ns())
        await self._carried(subject, timeout_s, self.server.faults.lose_ack)
        if index is None:
            newest = bucket.last(subject, self.server.world.now_ns())
            raise Moved(subject, last, -1 if newest is None else newest.index)
        return index

    async def read(self, stream: str, start: int, pattern: str = "", limit: int = READ_BATCH) -> list[Entry]:
        await self._round_trip(f"$JS.API.DIRECT.GET.{stream}")
        return self._stream(stream).read(start, pattern, limit, self.server.held_ns())

    async def last(self, stream: str, pattern: str) -> Entry | None:
        await self._round_trip(f"$JS.API.DIRECT.GET.{stream}")
        bucket = self.server.buckets.get(stream)
        if bucket is not None:
            return bucket.last(pattern, self.server.world.now_ns())
        return self._stream(stream).last(pattern, self.server.held_ns())

    async def horizon(self, stream: str, pattern: str, start: int) -> tuple[int, int]:
        await self._round_trip(f"$JS.API.DIRECT.GET.{stream}")
        kept, held_ns = self._stream(stream), self.server.held_ns()
        newest, end = kept.last(pattern, held_ns), kept.last(">", held_ns)
        if newest is None or end is None:
            return -1, -1
        return newest.index if newest.index >= start else -1, end.index

    async def consume(self, stream: str, durable: str, consumer: Consumer) -> Subscription:
        self._check_link()
        self._check_publish(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}")
        state = self.server.durables.get((stream, durable))
        if state is None:
            raise Unreachable(f"no durable consumer {durable} on {stream}; the steward creates it")
        held = set[int]()
        task = asyncio.get_running_loop().create_task(self._pull(state, consumer, held))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return _Pull(task, state, held)

    async def close(self) -> None:
        for listener in list(self._listeners):
            await listener.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.linked = False
        if self in self.server.wires:
            self.server.wires.remove(self)

    async def _pull(self, state: SimDurable, consumer: Consumer, held: set[int]) -> None:
        world, stream = self.server.world, self._stream(state.stream)
        while True:
            entry = self._due(state, stream)
            if entry is None or not self.linked:
                async with self.server.stored:
                    try:
                        async with asyncio.timeout(1.0):
                            await self.server.stored.wait()
                    except TimeoutError:
                        continue
                continue
            deliveries = state.waiting.get(entry.index, (0.0, 0))[1] + 1
            state.waiting[entry.index] = (world.elapsed_s() + state.ack_wait_s, deliveries)
            state.next = max(state.next, entry.index + 1)
            held.add(entry.index)
            await world.sleep(world.chance() * self.server.faults.delay_s)
            outcome = await consumer(entry, deliveries)
            held.clear()
            if not self.linked or world.chance() < self.server.faults.lose_ack:
                continue
            if outcome.kind == "nak":
                state.waiting[entry.index] = (world.elapsed_s() + outcome.delay_s, deliveries)
            else:
                state.waiting.pop(entry.index, None)

    def _due(self, state: SimDurable, stream: SimStream) -> Entry | None:
        now = self.server.world.elapsed_s()
        again = min((i for i, (due, _) in state.waiting.items() if due <= now), default=None)
        if again is None and len(state.waiting) >= state.at_once:
            return None
        wanted = state.next if again is None else again
        found = [entry for pattern in state.patterns for entry in stream.read(wanted, pattern, 1)]
        if again is None and not found:
            state.next = stream.first + len(stream.entries)  # nothing until there is for it
        return min(found, key=lambda entry: entry.index, default=None)

    def _check_publish(self, subject: str) -> None:
        if subject in self._answers:
            self._answers.discard(subject)
        elif not any(covers(pattern, subject) for pattern in self.may_publish):
            raise NotPermitted(f"{self.identity} may not publish to {subject}")

    def _stream(self, name: str) -> SimStream:
        stream = self.server.streams.get(name)
        if stream is None:
            raise NoStream(f"there is no stream {name}; the steward creates it")
        return stream

    async def _carried(self, subject: str, timeout_s: float, lost: float) -> None:
        """Carry an append or its acknowledgement; Unresolved where it is lost."""
        world = self.server.world
        await world.sleep(world.chance() * self.server.faults.delay_s)
        if not self.linked or world.chance() < lost:
            await world.sleep(timeout_s)
            raise Unresolved(f"no acknowledgement on {subject} within {timeout_s} s")

    async def _round_trip(self, subject: str) -> None:
        self._check_publish(subject)
        await self.server.world.sleep(self.server.world.chance() * self.server.faults.delay_s)
        self._check_link()

    def _check_link(self) -> None:
        if not self.linked:
            raise Unreachable(f"{self.identity} has no link to the bus")


@dataclass
class _Pull:
    task: asyncio.Task[None]
    state: SimDurable
    held: set[int]  #: what the consumer has, not settled yet

    async def close(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        for index in self.held:
            self.state.waiting[index] = (0.0, self.state.waiting[index][1])
