"""The log as one part writes it: signed appends that settle.

Every append resolves: a Receipt, a Refused, or a Fault. An append is a compare-and-set on its lane; after the
acknowledgement the appender reads its own entry back, admits it with the same function every reader uses, and only then
reports it. On a conflict or a lost answer it reads the lane: its own id admitted there means done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.bus.reading import Reading
from shared.bus.wire import Moved, Wire
from shared.codec import encode
from shared.constant import constant
from shared.envelope import (
    Attributes,
    Signature,
    assemble,
    pack_event,
    prepare,
    rfc3339,
    type_of,
)
from shared.envelope.envelope import MAX_BATCH_ENTRIES, MAX_BLOCK_EVENTS, Agent
from shared.errors import LogFault, NotPermitted, Refusal, Refused, Unreachable, Unresolved
from shared.keys import RemoteSigner, Signer, signature_of
from shared.message import Decision
from shared.world import World, now_ms

APPEND_TIMEOUT_S = constant(2.0, "s", "X-07")
APPEND_DEADLINE_S = constant(30.0, "s", "X-07")
RETRY_S = constant(0.05, "s", "X-07")

_OTHERS = "other appends to the lane took all the time"


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


class Ledger(Reading):
    """One part's view of its environment's log, and its appends to it."""

    def __init__(  # noqa: PLR0913, PLR0917 - who speaks, over what, with which keys: each is its own fact
        self,
        world: World,
        wire: Wire,
        part: str,
        version: str,
        signers: Sequence[Signer | RemoteSigner],
        agent: Agent = "SOVEREIGN",
    ) -> None:
        super().__init__(world, wire)
        self.part, self.version = part, version
        self.signers = signers
        self.agent: Agent = agent
        self.deadline_s = APPEND_DEADLINE_S
        self._sequence = 0

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

    async def settled(self) -> None:
        """Return when no append is in flight any more."""
        for lock in list(self._locks.values()):
            async with lock:
                pass

    # How an append settles

    async def _settle(self, blocks: list[list[Draft]], context: Context, only_at: int | None) -> list[Receipt]:
        """Append until every draft has a position. `only_at` forbids appending after any other last index (B007).

        A lane that ends before what was read is lost for good where one server keeps it; of several, one that has just
        lost its place may say so.
        """
        lane = blocks[0][0].decision.lane(self.env)
        assert all(draft.decision.lane(self.env) == lane for block in blocks for draft in block), "one lane per append"
        trouble: Exception | None = None
        why, stuck_at = _OTHERS, None
        course = _Course()
        try:
            async with asyncio.timeout(self.deadline_s), self._lock(lane):
                known, why = lane in self.prefix.lanes, "nothing was answered in time"
                while True:
                    try:
                        return await self._attempt(lane, blocks, context, only_at, course, known=known)
                    except Refused as no:
                        last = self.prefix.lane(lane).last
                        if no.refusal.code != "B007" or only_at not in (None, last):
                            raise
                        course.reach, why = max(course.reach, no.to if isinstance(no, Moved) else -1), _OTHERS
                        if stuck_at == last:  # refused again although nothing new stands on the lane
                            trouble = LogFault(
                                f"{lane} ends before {last}, which was read already: {no.refusal.detail}"
                            )
                            if isinstance(no, Moved) and no.to < last and not self.wire.replicated:
                                raise trouble from None
                            await self.world.sleep(RETRY_S)
                        stuck_at = last
                    except (Unreachable, Unresolved) as fault:
                        trouble = fault
                        await self.world.sleep(RETRY_S)
                    known = False
        except TimeoutError:
            if isinstance(trouble, LogFault):
                raise trouble from None
            raise Unresolved(f"{lane}: {trouble or why}; the same event id makes a retry safe") from trouble

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

    def _position(self, lane: str, draft: Draft) -> tuple[int, int] | None:
        return self.prefix.lane(lane).seen.get((self.part, draft.event_id))

    def _receipt(self, lane: str, draft: Draft, own: set[int]) -> Receipt:
        position = self._position(lane, draft)
        if position is None:
            raise LogFault(f"event {draft.event_id.hex()} of {lane} is stored but not admitted")
        subject = draft.decision.subject(self.env)
        return Receipt(position[0], position[1], subject, draft.event_id, position[0] not in own)


def _bounded(count: int, limit: int, what: str) -> None:
    if not 0 < count <= limit:
        raise Refused(Refusal("B003", f"{count} decisions for one {what}, 1 to {limit} may be"))
