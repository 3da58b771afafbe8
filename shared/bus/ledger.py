"""The log as one part sees it: signed appends that settle, lanes folded in order, and verified replay.

Every append resolves: a Receipt, a Refused, or a Fault. An append is a compare-and-set on its lane; after the
acknowledgement the appender reads its own entry back, admits it with the same function every reader uses, and only then
reports it. On a conflict or a lost answer it reads the lane: its own id admitted there means done.

In a cluster any replica answers a reading, and one may be behind: it shows a true beginning of the log. So what this
bus was acknowledged, was delivered or has read before, it reads until it is there (BEHIND_S); and that no further key
event stands before an entry it believes to whoever shows in the same answer that it holds that entry.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from shared.bus.wire import READ_BATCH, Moved, Wire, stream_name
from shared.codec import encode
from shared.constant import constant
from shared.envelope import (
    Attributes,
    KeyBook,
    Lane,
    Prefix,
    Signature,
    Verdict,
    admit,
    assemble,
    pack_event,
    prepare,
    recall,
    rfc3339,
    type_of,
)
from shared.envelope.envelope import MAX_BATCH_ENTRIES, MAX_BLOCK_EVENTS, Agent
from shared.errors import LogFault, NoStream, NotPermitted, Refusal, Refused, Unreachable, Unresolved
from shared.keys import RemoteSigner, Signer, signature_of
from shared.log.entry import Entry
from shared.message import Decision, lane_of
from shared.subjects.keys import KEYS_LANE
from shared.world import World, now_ms

T = TypeVar("T")
APPEND_TIMEOUT_S = constant(2.0, "s", "X-07")
APPEND_DEADLINE_S = constant(30.0, "s", "X-07")
RETRY_S = constant(0.05, "s", "X-07")
BEHIND_S = constant(5.0, "s", "X-07")
BEHIND_AGAIN_S = constant(0.01, "s", "X-07")


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
class _Course:
    """How one append goes: the indices that were acknowledged here, and how far its lane is said to reach."""

    own: set[int] = field(default_factory=set[int])
    reach: int = -1


@dataclass
class Counters:
    """What a bus lost or refused since it started; owned by the bus, read by health and metrics."""

    emitted: int = 0
    sent_bytes: int = 0
    dropped: int = 0
    appended: int = 0
    void: int = 0
    dead: int = 0
    dead_dropped: int = 0


class Ledger:
    """One part's view of its environment's log. The lane locks and the prefix belong to this object alone."""

    def __init__(  # noqa: PLR0913, PLR0917 - who speaks, over what, with which keys: each is its own fact
        self,
        world: World,
        wire: Wire,
        part: str,
        version: str,
        signers: Sequence[Signer | RemoteSigner],
        agent: Agent = "SOVEREIGN",
    ) -> None:
        self.world, self.wire, self.part, self.version = world, wire, part, version
        self.signers = signers
        self.agent: Agent = agent
        self.env = world.env
        self.log = stream_name("log", world.env)
        self.prefix = Prefix(world.env)
        self.counters = Counters()
        self.deadline_s = APPEND_DEADLINE_S
        #: called with every verdict as it is folded, in lane order
        self.observers: list[Callable[[Verdict], None]] = []
        self.known = -1  #: the newest index that is known to be stored
        self._sequence = 0
        self._keys_read = 0  #: every key event below this index is folded
        self._keys_lane = KEYS_LANE.format(env=world.env)
        self._locks: dict[str, asyncio.Lock] = {}
        self._keys_lock = asyncio.Lock()

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
        newest = await self.newest()
        end = max([newest.index if newest else -1, *(lane.last for lane in self.prefix.lanes.values())])
        if newest is None and await self.wire.read(self.log, 0, limit=1):
            raise LogFault("the log has entries, but the newest one cannot be read")
        prefix, index = Prefix(self.env), 0
        prefix.keys.trusted = trusted
        while index <= end:
            entries = await self.entries(index, end)
            if not entries:
                raise LogFault(f"the log ends at {index - 1}, but entry {end} was acknowledged")
            for entry in entries:
                if entry.index != index:
                    raise LogFault(f"entry {index} is missing: the next readable one is {entry.index}")
                verdict = admit(prefix, entry)
                prefix.fold(verdict)
                yield verdict
                index += 1

    async def entries(self, start: int, known: int = -1, limit: int = READ_BATCH) -> list[Entry]:
        """Return what is stored from index `start` on, as much as one reading gives; nothing is judged.

        `known` is an index that the caller knows to be stored: a replica that has not got as far is asked again.
        """
        return await self._read(start, limit=limit, known=known)

    async def newest(self, known: int = -1) -> Entry | None:
        """Return the last stored entry; one before `known` is not the last."""
        until = max(known, self.known)
        found = await self._held(
            lambda: self.wire.last(self.log, f"{self.env}.>"),
            lambda found: until < 0 or (found is not None and found.index >= until),
        )
        self.known = max(self.known, -1 if found is None else found.index)
        return found

    async def keys_until(self, index: int) -> KeyBook:
        """Return the keys as the log knows them up to an index, or further."""
        await self.learn_keys(index)
        return self.prefix.keys

    async def judged(self, start: int, limit: int, known: int = -1) -> list[Verdict]:
        """Return the verdicts of up to `limit` stored entries from index `start` on; LogFault at a gap.

        `known` is an index that the caller knows to be stored.
        """
        entries = await self._read(start, limit=limit, known=known)
        for index, entry in enumerate(entries, start):
            if entry.index != index:
                raise LogFault(f"entry {index} is missing: the next readable one is {entry.index}")
        return [await self.judge(entry) for entry in entries]

    async def settled(self) -> None:
        """Return when no append is in flight any more."""
        for lock in list(self._locks.values()):
            async with lock:
                pass

    # How an append settles

    async def _settle(self, blocks: list[list[Draft]], context: Context, only_at: int | None) -> list[Receipt]:
        """Append until every draft has a position. `only_at` forbids appending after any other last index (B007)."""
        lane = blocks[0][0].decision.lane(self.env)
        assert all(draft.decision.lane(self.env) == lane for block in blocks for draft in block), "one lane per append"
        trouble: Exception | None = None
        stuck_at: int | None = None
        course = _Course()
        try:
            async with asyncio.timeout(self.deadline_s), self._lock(lane):
                known = lane in self.prefix.lanes
                while True:
                    try:
                        return await self._attempt(lane, blocks, context, only_at, course, known=known)
                    except Refused as no:
                        last = self.prefix.lane(lane).last
                        if no.refusal.code != "B007" or only_at not in (None, last):
                            raise
                        course.reach = max(course.reach, no.to if isinstance(no, Moved) else -1)
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

    async def _attempt(  # noqa: PLR0913 - one append, and what is known of it so far
        self,
        lane: str,
        blocks: list[list[Draft]],
        context: Context,
        only_at: int | None,
        course: _Course,
        *,
        known: bool,
    ) -> list[Receipt]:
        """Append once what the lane, read anew unless `known`, does not hold yet; Refused B007 where it moved.

        What was acknowledged is never appended again: it is read until it is there.
        """
        if not known:
            await self._read_back(lane, course)
        missing = self._missing(lane, blocks)
        if missing:
            if only_at not in (None, self.prefix.lane(lane).last):
                raise Refused(Refusal("B007", f"{lane} moved past {only_at}"))
            await self._append_once(lane, missing, context, course)
        receipts = [self._receipt(lane, draft, course.own) for block in blocks for draft in block]
        self.counters.appended += len({receipt.event_id for receipt in receipts if not receipt.duplicate})
        return receipts

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

    async def _append_once(self, lane: str, blocks: list[list[Draft]], context: Context, course: _Course) -> None:
        """Seal, compare-and-set, read back, admit and fold; Refused if our own entry is void."""
        prev = self.prefix.lane(lane).last
        batch = [
            (b[0].decision.subject(self.env), await self._seal(b, prev, place, context))
            for place, b in enumerate(blocks)
        ]
        self.counters.sent_bytes += sum(len(raw) for _, raw in batch)
        index = await self.wire.append(batch, lane, prev, APPEND_TIMEOUT_S)
        course.own.update(range(index - len(batch) + 1, index + 1))
        course.reach = max(course.reach, index)
        await self._read_back(lane, course)

    async def _read_back(self, lane: str, course: _Course) -> None:
        """Fold what is new on a lane, as far as it is said to reach; Refused where what was acknowledged is void."""
        for verdict in await self._follow(lane, course.reach):
            if verdict.entry.index in course.own and verdict.refusal:
                raise Refused(verdict.refusal)

    async def _seal(self, block: list[Draft], prev: int, place: int, context: Context) -> bytes:
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
        unsigned = prepare(attributes, events)
        message = unsigned.message
        return assemble(unsigned, [Signature(s.key_id, await signature_of(s, message)) for s in self.signers])

    async def _follow(self, lane: str, until: int = -1) -> list[Verdict]:
        """Fold the lane's new entries, keys first; `until` is an index known to be stored (it must appear)."""
        start = self.prefix.lane(lane).last + 1
        entries: list[Entry] = []
        while True:
            some = await self._read(start, f"{lane}.>", known=until)
            entries += some
            if not some or 0 <= until <= some[-1].index:
                break
            start = some[-1].index + 1
        if start <= until and (not entries or entries[-1].index < until):
            raise Unresolved(f"entry {until} of {lane} was acknowledged but cannot be read yet")
        if entries:
            await self.learn_keys(entries[-1].index)
        verdicts: list[Verdict] = []
        for entry in entries:
            if lane == self._keys_lane:
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
        """Fold every key event up to an index that is stored; Unresolved where nobody who answers holds it yet."""
        async with self._keys_lock:
            if self._keys_read > until:
                return
            newest = await self._newest_key(until) if self.wire.replicated else until
            while self._keys_read <= newest:
                entries = await self._read(self._keys_read, f"{self._keys_lane}.>", known=newest)
                for entry in entries:
                    self.prefix.fold(admit(self.prefix, entry))
                self._keys_read = (entries[-1].index if entries else newest) + 1
            self._keys_read = max(self._keys_read, until + 1)

    async def _newest_key(self, until: int) -> int:
        """Return the index of the newest key event that was not read, -1 for none, from one who holds `until`."""
        newest, held = await self._held(
            lambda: self.wire.horizon(self.log, f"{self._keys_lane}.>", self._keys_read), lambda told: told[1] >= until
        )
        if held < until and await self._has_keys():
            raise Unresolved(f"who answers holds the log up to {held}, not yet up to {until}")
        return newest

    async def _has_keys(self) -> bool:
        """Say whether the log was begun with a key event; one that was not has none that count."""
        first = await self._read(0, limit=1, known=0)
        return not first or lane_of(first[0].subject) == self._keys_lane

    # Replicas that are behind

    async def _read(self, start: int, pattern: str = "", limit: int = READ_BATCH, *, known: int = -1) -> list[Entry]:
        """Return what is stored from `start` on; nothing only where what is `known` to be stored ends before.

        Where no pattern chooses, everything that this bus knows of counts as that.
        """
        until = known if pattern else max(known, self.known)
        found = await self._held(
            lambda: self.wire.read(self.log, start, pattern, limit), lambda found: found != [] or until < start
        )
        self.known = max(self.known, found[-1].index if found else -1)
        return found

    async def _held(self, reading: Callable[[], Awaitable[T]], holds: Callable[[T], bool]) -> T:
        """Repeat a reading while whoever answers does not hold what is known to be stored, for BEHIND_S at most."""
        give_up_s = self.world.elapsed_s() + BEHIND_S
        while True:
            late = not self.wire.replicated or self.world.elapsed_s() >= give_up_s
            try:
                found = await reading()
            except NoStream:
                if late:
                    raise
            else:
                if late or holds(found):
                    return found
            await self.world.sleep(BEHIND_AGAIN_S)

    def _position(self, lane: str, draft: Draft) -> tuple[int, int] | None:
        return self.prefix.lane(lane).seen.get((self.part, draft.event_id))

    def _receipt(self, lane: str, draft: Draft, own: set[int]) -> Receipt:
        position = self._position(lane, draft)
        if position is None:
            raise LogFault(f"event {draft.event_id.hex()} of {lane} is stored but not admitted")
        subject = draft.decision.subject(self.env)
        return Receipt(position[0], position[1], subject, draft.event_id, position[0] not in own)

    def _lock(self, lane: str) -> asyncio.Lock:
        return self._locks.setdefault(lane, asyncio.Lock())


def _bounded(count: int, limit: int, what: str) -> None:
    if not 0 < count <= limit:
        raise Refused(Refusal("B003", f"{count} decisions for one {what}, 1 to {limit} may be"))
