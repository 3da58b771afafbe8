"""The bus a part holds: typed messages, signed appends, verified replay, dead letters. Written once over any wire.

Every append resolves: a Receipt, a Refused, or a Fault. An append is a compare-and-set on its lane; after the
acknowledgement the appender reads its own entry back, admits it with the same function every reader uses, and only then
reports it. On a conflict or a lost answer it reads the lane: its own id admitted there means done.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from shared.bus.wire import INBOX, Delivery, Outcome, Sink, Subscription, Wire, stream_name
from shared.codec import decode, encode, encode_json
from shared.constant import constant
from shared.envelope import Attributes, Lane, Prefix, Verdict, admit, pack_event, recall, rfc3339, seal, type_of
from shared.envelope.envelope import MAX_BATCH_ENTRIES, MAX_BLOCK_EVENTS, Agent
from shared.errors import Fault, LogFault, NotPermitted, Refusal, Refused, Unreachable, Unresolved
from shared.keys import Signer
from shared.log.entry import Entry
from shared.message import Decision, Message, Reply, Request, Signal, lane_of
from shared.subjects.system import DeadLetter
from shared.world import World, new_id, now_ms

APPEND_TIMEOUT_S = constant(2.0, "s", "X-07")
APPEND_DEADLINE_S = constant(30.0, "s", "X-07")
REQUEST_TIMEOUT_S = constant(5.0, "s", "NIM-07")
RETRY_S = constant(0.05, "s", "X-07")
DEAD_PER_SECOND = constant(50, "letters/s", "X-12")
DEAD_DATA_BYTES = constant(48_000, "bytes", "X-12")
DEAD_HEADER_BYTES = constant(3_000, "bytes", "X-12")
ERROR_CODE = "Nats-Service-Error-Code"
ERROR_TEXT = "Nats-Service-Error"


@dataclass(frozen=True, slots=True)
class Receipt:
    """An event that is acknowledged and admitted: its position, and whether an earlier append had done it already.

    `proof` is pending until a signed checkpoint covers the position.
    """

    index: int
    offset: int
    subject: str
    event_id: bytes
    duplicate: bool = False
    proof: str = "pending"


@dataclass(frozen=True, slots=True)
class Draft:
    """A decision ready to be sealed: its identity, cause and evidence."""

    decision: Decision
    event_id: bytes
    cause: bytes = b""
    evidence: bytes = b""


@dataclass(frozen=True, slots=True)
class Context:
    """Where a message stands in its conversation: what caused it, and the correlation that runs through all of it."""

    cause: bytes = b""
    correlation: str = ""


@dataclass
class Counters:
    """What a bus lost or refused since it started; owned by the bus, read by health and metrics."""

    emitted: int = 0
    dropped: int = 0
    appended: int = 0
    void: int = 0
    dead: int = 0
    dead_dropped: int = 0


class Bus:
    """One part's voice and ears. The lane locks and the prefix belong to this object alone."""

    def __init__(  # noqa: PLR0913, PLR0917 - who speaks, over what, with which keys: each is its own fact
        self, world: World, wire: Wire, part: str, version: str, signers: Sequence[Signer], agent: Agent = "SOVEREIGN"
    ) -> None:
        self.world, self.wire, self.part, self.version = world, wire, part, version
        self.signers = signers
        self.agent: Agent = agent
        self.env = world.env
        self.log = stream_name("log", world.env)
        self.prefix = Prefix(world.env)
        self.counters = Counters()
        self.deadline_s = APPEND_DEADLINE_S
        self.observers: list[
            Callable[[Verdict], None]
        ] = []  #: called with every verdict as it is folded, in lane order
        self._sequence = 0
        self._keys_read = 0  #: every key event below this index is folded
        self._locks: dict[str, asyncio.Lock] = {}
        self._keys_lock = asyncio.Lock()
        self._confirmed: set[str] = set()
        self._scheduled: set[asyncio.Task[None]] = set()
        self._dead_second, self._dead_in_second = 0, 0

    # Signals and requests

    async def emit(
        self, message: Signal | Reply, context: Context | None = None, message_id: bytes | None = None
    ) -> None:
        """Publish at most once. A lost link counts a drop; NotPermitted if the server refuses the subject.

        The first emission on a subject waits until the server has judged it, so that a refusal is never silence.
        """
        subject = message.subject(self.env)
        headers = self._headers(message, context or Context(), message_id or new_id(self.world))
        try:
            await self.wire.publish(subject, encode(message), headers)
            if subject not in self._confirmed:
                await self.wire.confirm(subject)
                self._confirmed.add(subject)
            self.counters.emitted += 1
        except NotPermitted:
            self._confirmed.discard(subject)
            raise
        except Unreachable:
            self.counters.dropped += 1

    async def request(
        self, request: Request, timeout_s: float = REQUEST_TIMEOUT_S, context: Context | None = None
    ) -> Reply | Refusal:
        """Ask and return the declared reply or the typed refusal. Raises NotPermitted and Unreachable."""
        declared = type(request).reply
        assert declared is not None
        message_id = new_id(self.world)
        headers = self._headers(request, context or Context(), message_id)
        try:
            answer = await self.wire.request(request.subject(self.env), encode(request), headers, timeout_s)
        except Refused as no:
            return no.refusal
        try:
            return decode(Refusal if ERROR_CODE in answer.headers else declared, answer.data)
        except Refused as no:
            return no.refusal

    async def answer(self, to: Delivery, reply: Reply | Refusal, *, as_json: bool = False) -> None:
        """Answer a request on its inbox, and nowhere else: any other reply subject is Refused B004."""
        if not to.reply.startswith(INBOX):
            raise Refused(Refusal("B004", f"reply subject {to.reply!r} does not begin with {INBOX}"))
        headers = {ERROR_CODE: reply.code, ERROR_TEXT: reply.name} if isinstance(reply, Refusal) else None
        await self.wire.publish(to.reply, encode_json(reply) if as_json else encode(reply), headers)

    async def subscribe(self, pattern: str, sink: Sink, queue: str = "") -> Subscription:
        """Receive raw deliveries of a full pattern."""
        return await self.wire.subscribe(pattern, sink, queue)

    def schedule(self, delay_s: float, message: Signal) -> Callable[[], None]:
        """Emit `message` after a delay of the World's time; return the cancel. Lost in a crash, as every signal."""

        async def later() -> None:
            await self.world.sleep(delay_s)
            try:
                await self.emit(message)
            except (NotPermitted, Refused):
                self.counters.dropped += 1  # nobody waits here who could be told

        task = asyncio.get_running_loop().create_task(later())
        self._scheduled.add(task)
        task.add_done_callback(self._scheduled.discard)

        def cancel() -> None:
            task.cancel()

        return cancel

    # Decisions

    async def append(self, draft: Draft, context: Context | None = None) -> Receipt:
        """Append one decision to its lane and return its admitted position."""
        return (await self.append_many([draft], context))[0]

    async def append_many(self, drafts: Sequence[Draft], context: Context | None = None) -> list[Receipt]:
        """Append decisions of one lane atomically: all are admitted, or none is stored. Refused B003 if too many."""
        _bounded(len(drafts), MAX_BATCH_ENTRIES, "atomic batch")
        return await self._settle([[draft] for draft in drafts], context or Context(), None)

    async def append_block(self, drafts: Sequence[Draft], context: Context | None = None) -> list[Receipt]:
        """Append decisions that share one subject as one sealed block: one signature, one entry, many offsets."""
        _bounded(len(drafts), MAX_BLOCK_EVENTS, "sealed block")
        assert len({draft.decision.subject(self.env) for draft in drafts}) == 1, "a sealed block shares one subject"
        return await self._settle([list(drafts)], context or Context(), None)

    async def append_at(
        self, last: int, drafts: Sequence[Draft], context: Context | None = None
    ) -> list[Receipt] | None:
        """Append atomically only if the lane's last index is `last`; None when it moved: the caller decides again."""
        _bounded(len(drafts), MAX_BATCH_ENTRIES, "atomic batch")
        try:
            return await self._settle([[draft] for draft in drafts], context or Context(), last)
        except Refused as no:
            if no.refusal.code == "B007":
                return None
            raise

    async def follow(self, lane: str) -> list[Verdict]:
        """Fold what is new on a lane into the prefix and return its verdicts, in order."""
        async with self._lock(lane):
            return await self._follow(lane)

    async def judge(self, entry: Entry) -> Verdict:
        """Return the verdict of a delivered entry of the log, at any time and in any order."""
        lane = lane_of(entry.subject)
        if lane is None:
            await self.learn_keys(entry.index)
            self.counters.void += 1
            return admit(self.prefix, entry)
        async with self._lock(lane):
            if self.prefix.lane(lane).last < entry.index:
                await self._follow(lane, entry.index)
        verdict = recall(self.prefix, entry)
        self.counters.void += len(verdict.void())
        return verdict

    async def replay(self, trusted: str | None = None) -> AsyncIterator[Verdict]:
        """Yield the verdict of every entry from the genesis to the log's present end.

        LogFault at a gap, and where the log ends before what it says itself or what this bus has read already.
        """
        newest = await self.wire.last(self.log, f"{self.env}.>")
        end = max([newest.index if newest else -1, *(lane.last for lane in self.prefix.lanes.values())])
        if newest is None and await self.wire.read(self.log, 0, limit=1):
            raise LogFault("the log has entries, but the newest one cannot be read")
        prefix, index = Prefix(self.env), 0
        prefix.keys.trusted = trusted
        while index <= end:
            entries = await self.wire.read(self.log, index)
            if not entries:
                raise LogFault(f"the log ends at {index - 1}, but entry {end} was acknowledged")
            for entry in entries:
                if entry.index != index:
                    raise LogFault(f"entry {index} is missing: the next readable one is {entry.index}")
                verdict = admit(prefix, entry)
                prefix.fold(verdict)
                yield verdict
                index += 1

    async def consume(
        self, durable: str, handle: Callable[[Verdict], Awaitable[None]], stream: str = ""
    ) -> Subscription:
        """Receive a durable consumer's entries, judged, at least once.

        A Fault that allows a retry comes back later; any other failure is dead-lettered and settled for good.
        """

        async def consumer(entry: Entry, deliveries: int) -> Outcome:
            try:
                await handle(await self.judge(entry))
            except Fault as fault:
                if fault.retry:
                    return Outcome("nak", min(0.1 * 2**deliveries, 30.0))
                await self.dead(Delivery(entry.subject, entry.raw), Refusal("B009", f"{type(fault).__name__}: {fault}"))
                return Outcome("term")
            except Refused as no:
                await self.dead(Delivery(entry.subject, entry.raw), no.refusal)
                return Outcome("term")
            except Exception as error:  # noqa: BLE001 - one poison entry must not end the consumption in silence
                await self.dead(Delivery(entry.subject, entry.raw), Refusal("B009", f"{type(error).__name__}: {error}"))
                return Outcome("term")
            return Outcome("ack")

        return await self.wire.consume(stream or self.log, durable, consumer)

    # Dead letters and health

    async def dead(self, delivery: Delivery, refusal: Refusal) -> None:
        """Send what nobody could use to the dead-letter subject, at most DEAD_PER_SECOND; the rest is counted."""
        second = int(self.world.elapsed_s())
        if second != self._dead_second:
            self._dead_second, self._dead_in_second = second, 0
        self._dead_in_second += 1
        self.counters.dead += 1
        if self._dead_in_second > DEAD_PER_SECOND:
            self.counters.dead_dropped += 1
            return
        data = delivery.data[:DEAD_DATA_BYTES]
        headers = _first_of(delivery.headers, DEAD_HEADER_BYTES)
        whole = len(data) == len(delivery.data)
        letter = DeadLetter(self.part, delivery.subject, refusal.code, refusal.detail[:1000], data, whole, headers)
        try:
            await self.emit(letter)
        except (NotPermitted, Refused):
            self.counters.dead_dropped += 1

    async def redrive(self, letter: DeadLetter) -> None:
        """Publish a dead letter's message again where it first arrived.

        Refused B003 if it was too large to keep whole, R006 if it is a decision: the log holds it, and a copy is void.
        """
        if not letter.whole:
            raise Refused(Refusal("B003", "the dead letter holds only the beginning of its message"))
        if lane_of(letter.original) is not None:
            raise Refused(Refusal("R006", f"{letter.original} stands in the log; its reader finds it there"))
        await self.wire.publish(letter.original, letter.data, letter.headers)
        await self.wire.confirm(letter.original)

    async def drain(self) -> None:
        """Wait for appends in flight, drop what is scheduled, and disconnect."""
        for task in self._scheduled:
            task.cancel()
        for lock in list(self._locks.values()):
            async with lock:
                pass
        await self.wire.close()

    # How an append settles

    async def _settle(self, blocks: list[list[Draft]], context: Context, only_at: int | None) -> list[Receipt]:
        """Append until every draft has a position. `only_at` forbids appending after any other last index (B007)."""
        lane = blocks[0][0].decision.lane(self.env)
        assert all(draft.decision.lane(self.env) == lane for block in blocks for draft in block), "one lane per append"
        trouble: Exception | None = None
        stuck_at: int | None = None
        try:
            async with asyncio.timeout(self.deadline_s), self._lock(lane):
                known = lane in self.prefix.lanes
                while True:
                    try:
                        return await self._attempt(lane, blocks, context, only_at, known=known)
                    except Refused as no:
                        last = self.prefix.lane(lane).last
                        if no.refusal.code != "B007" or only_at not in (None, last):
                            raise
                        if stuck_at == last:  # refused again although nothing new stands on the lane
                            trouble = LogFault(
                                f"{lane} ends before {last}, which was read already: {no.refusal.detail}"
                            )
                            await self.world.sleep(RETRY_S)
                        stuck_at = last
                    except (Unreachable, Unresolved) as fault:
                        trouble = fault
                        await self.world.sleep(RETRY_S)
                    known = False
        except TimeoutError:
            if isinstance(trouble, LogFault):
                raise trouble from None
            why = trouble or "other appends to the lane took all the time"
            raise Unresolved(f"{lane}: {why}; the same event id makes a retry safe") from trouble

    async def _attempt(
        self, lane: str, blocks: list[list[Draft]], context: Context, only_at: int | None, *, known: bool
    ) -> list[Receipt]:
        """Append once what the lane, read anew unless `known`, does not hold yet; Refused B007 where it moved."""
        if not known:
            await self._follow(lane)
        missing = self._missing(lane, blocks)
        if missing:
            if only_at not in (None, self.prefix.lane(lane).last):
                raise Refused(Refusal("B007", f"{lane} moved past {only_at}"))
            await self._append_once(lane, missing, context)
        fresh = {draft.event_id for block in missing for draft in block}
        self.counters.appended += len(fresh)
        return [self._receipt(lane, d, duplicate=d.event_id not in fresh) for block in blocks for d in block]

    def _missing(self, lane: str, blocks: list[list[Draft]]) -> list[list[Draft]]:
        """Return the drafts that the lane does not hold, each event once."""
        asked, out = set[bytes](), list[list[Draft]]()
        for block in blocks:
            left: list[Draft] = []
            for draft in block:
                if draft.event_id not in asked and self._position(lane, draft) is None:
                    asked.add(draft.event_id)
                    left.append(draft)
            if left:
                out.append(left)
        return out

    async def _append_once(self, lane: str, blocks: list[list[Draft]], context: Context) -> None:
        """Seal, compare-and-set, read back, admit and fold; Refused if our own entry is void."""
        prev = self.prefix.lane(lane).last
        batch = [
            (b[0].decision.subject(self.env), self._seal(b, prev, place, context)) for place, b in enumerate(blocks)
        ]
        index = await self.wire.append(batch, lane, prev, APPEND_TIMEOUT_S)
        for verdict in await self._follow(lane, index):
            if verdict.entry.index > index - len(batch) and verdict.refusal:
                raise Refused(verdict.refusal)

    def _seal(self, block: list[Draft], prev: int, place: int, context: Context) -> bytes:
        if not self.signers:
            raise NotPermitted(f"{self.part} has no signing key and cannot decide")
        subject, cls = block[0].decision.subject(self.env), type(block[0].decision)
        self._sequence += 1
        attributes = Attributes(
            id=block[0].event_id.hex(),
            source=self.part,
            specversion="1.0",
            type=type_of(subject),
            subject=subject,
            time=rfc3339(now_ms(self.world)),
            ttlms=cls.ttl_ms,
            agent=self.agent,
            boot=self.world.boot,
            sequence=self._sequence,
            version=self.version,
            correlation=context.correlation,
            prev=prev,
            batch=place,
            count=0,
            root=b"",
        )
        events = [
            pack_event(d.event_id, encode(d.decision), cause=d.cause or context.cause, evidence=d.evidence)
            for d in block
        ]
        return seal(attributes, events, self.signers)

    async def _follow(self, lane: str, until: int | None = None) -> list[Verdict]:
        """Fold the lane's new entries, keys first; `until` is an index known to be stored (it must appear)."""
        start = self.prefix.lane(lane).last + 1
        entries: list[Entry] = []
        while True:
            some = await self.wire.read(self.log, start, f"{lane}.>")
            entries += some
            if not some or (until is not None and some[-1].index >= until):
                break
            start = some[-1].index + 1
        if until is not None and (not entries or entries[-1].index < until):
            raise Unresolved(f"entry {until} of {lane} was acknowledged but cannot be read yet")
        if entries:
            await self.learn_keys(entries[-1].index)
        verdicts: list[Verdict] = []
        for entry in entries:
            if lane == self._keys_lane():
                verdicts.append(recall(self.prefix, entry))
                continue
            verdict = admit(self.prefix, entry)
            self.prefix.fold(verdict)
            verdicts.append(verdict)
            for observe in self.observers:
                observe(verdict)
        self.prefix.lanes.setdefault(lane, Lane())
        return verdicts

    async def learn_keys(self, until: int) -> None:
        """Fold every key event up to an index."""
        async with self._keys_lock:
            while self._keys_read <= until:
                entries = await self.wire.read(self.log, self._keys_read, f"{self._keys_lane()}.>")
                for entry in entries:
                    verdict = admit(self.prefix, entry)
                    self.prefix.fold(verdict)
                self._keys_read = entries[-1].index + 1 if entries else until + 1

    def _keys_lane(self) -> str:
        return f"{self.env}.system.keys.event.root"

    def _position(self, lane: str, draft: Draft) -> tuple[int, int] | None:
        return self.prefix.lane(lane).seen.get((self.part, draft.event_id))

    def _receipt(self, lane: str, draft: Draft, *, duplicate: bool) -> Receipt:
        position = self._position(lane, draft)
        if position is None:
            raise LogFault(f"event {draft.event_id.hex()} of {lane} is stored but not admitted")
        return Receipt(position[0], position[1], draft.decision.subject(self.env), draft.event_id, duplicate)

    def _lock(self, lane: str) -> asyncio.Lock:
        return self._locks.setdefault(lane, asyncio.Lock())

    def _headers(self, message: Message, context: Context, message_id: bytes) -> dict[str, str]:
        headers = {
            "ce-id": message_id.hex(),
            "ce-source": self.part,
            "ce-specversion": "1.0",
            "ce-type": "nimmerverse." + type(message).template.replace("{", "").replace("}", ""),
            "ce-time": rfc3339(now_ms(self.world)),
        }
        if context.correlation:
            headers["ce-correlation"] = context.correlation
        if context.cause:
            headers["ce-causation"] = context.cause.hex()
        return headers


def _bounded(count: int, limit: int, what: str) -> None:
    if not 0 < count <= limit:
        raise Refused(Refusal("B003", f"{count} decisions for one {what}, 1 to {limit} may be"))


def _first_of(headers: Mapping[str, str], size: int) -> dict[str, str]:
    """Return whole headers from the first on, as many as fit into `size` bytes."""
    kept: dict[str, str] = {}
    for name, value in headers.items():
        size -= len(name.encode()) + len(value.encode())
        if size < 0:
            break
        kept[name] = value
    return kept
