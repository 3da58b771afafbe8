"""A nerve's mind: its states folded from the log, its windows, and the loop decide → append → evolve.

A decision is appended only where the lane still stands as it stood when `decide` looked; when another replica was
faster the mind folds what happened and decides again. Where a request or an entry of the log leads to no decision, the
lane is looked at before that is said. State evolves while the lane is folded, never before admission.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

from shared.bus import Bus, Context, Draft, Receipt
from shared.codec import decode, encode
from shared.constant import constant
from shared.envelope import Verdict, derive_event_id
from shared.envelope.envelope import MAX_EVIDENCE_BYTES
from shared.errors import Fault, LogFault, Refusal, Refused
from shared.log.entry import Position
from shared.message import EVENT_TOKEN, Decision, Message, Request, decode_token, encode_token, lane_of, lookup
from shared.part.declare import declaration
from shared.part.nerve import Nerve
from shared.part.own_code import HandlerFailed
from shared.subjects.system import Tick
from shared.world import now_ms

MAX_ENTITIES = constant(10_000, "entities", "X-12")
MAX_ROUNDS = constant(50, "rounds", "X-07")

Decided = tuple[list[Receipt], list[Any]]
Ahead = Callable[[list[Any]], Awaitable[None]]  #: publishes what is urgent


class Mind:
    """Owns states and windows by entity; nothing else writes them."""

    def __init__(self, nerve: Nerve[Any, Any], bus: Bus) -> None:
        self.nerve, self.bus = nerve, bus
        self.states: dict[str, Any] = {}
        self.windows: OrderedDict[str, Any] = OrderedDict()
        self._decides = declaration(nerve).decides()
        stem = ".".join(self._decides[0].tokens[:2]) if self._decides else ""
        self._stem = f"{bus.env}.{stem}.{EVENT_TOKEN}." if stem else ""
        self._deciding = asyncio.Lock()  #: messages and the log's entries come by two ways
        self._owed: dict[str, list[tuple[list[Any], int]]] = {}  #: urgent signals whose decision is not in the log yet
        self._unreadable: dict[str, str] = {}  #: why an entity's lane cannot be folded; nothing is decided there
        self._looked = 0  #: up to where the log was searched for entities that the nerve remembers
        bus.observers.append(self._evolve)

    def lane(self, entity: str) -> str:
        """Return the lane of an entity; Refused B002 if it cannot be one."""
        try:
            return self._stem + encode_token(entity)
        except ValueError as error:
            raise Refused(Refusal("B002", f"{self.nerve.name}: {error}")) from None

    def state(self, entity: str) -> Any:  # noqa: ANN401 - each nerve has its own state class
        """Return the state of an entity, folded from its lane so far."""
        return self.states[entity] if entity in self.states else self.nerve.start()

    async def decide(
        self, message: Message, message_id: bytes, context: Context, ahead: Ahead, at: Position | None = None
    ) -> Decided:
        """Decide about one message; return the receipts of its decisions and what else it says.

        What is urgent is handed to `ahead` before anything is appended, once. One message is decided about at a time.
        `at` is where a message that is a decision stands in the log.
        """
        async with self._deciding:
            if isinstance(message, Tick):
                return await self._about_all(message, message_id, context, ahead)
            entity = self.nerve.entity(message)
            if entity is None:
                return [], []
            return await self._about(entity, message, message_id, context, ahead, at)

    async def _about_all(self, tick: Tick, tick_id: bytes, context: Context, ahead: Ahead) -> Decided:
        """Decide about every entity with a window, or that the nerve remembers; no trouble with one hides another."""
        receipts, said, trouble = list[Receipt](), list[Any](), list[Fault | Refused]()
        if self.nerve.remembers:
            await self._remind()
        for entity in sorted({*self.windows, *(self.states if self.nerve.remembers else ())}):
            try:
                one_id = derive_event_id(tick_id, entity, "tick", 0)
                more, outputs = await self._about(entity, tick, one_id, context, ahead)
            except (Fault, Refused) as failure:
                trouble.append(failure)
            else:
                receipts += more
                said += outputs
        if trouble:
            raise trouble[0]
        return receipts, said

    async def _remind(self) -> None:
        """Follow every lane that the nerve has decided on, whoever did so and whenever."""
        while entries := await self.bus.wire.read(self.bus.log, self._looked, f"{self._stem}>"):
            for lane in sorted({lane_of(entry.subject) or "" for entry in entries}):
                if lane.startswith(self._stem):
                    await self._looked_first(lane, entries[-1].index)
            self._looked = entries[-1].index + 1

    async def _looked_first(self, lane: str, held: int) -> bool:
        """Follow a lane that was never looked at, from one who holds that entry; say whether it was such a one."""
        if lane in self.bus.prefix.lanes:
            return False
        await self.bus.follow(lane, held)
        return True

    async def _about(  # noqa: PLR0913, PLR0917 - one message, with all that came with it
        self,
        entity: str,
        message: Message,
        message_id: bytes,
        context: Context,
        ahead: Ahead,
        at: Position | None = None,
    ) -> Decided:
        lane = self.lane(entity)
        held = self.bus.known if at is None else at.index
        maybe_behind = not await self._looked_first(lane, held) and (at is not None or isinstance(message, Request))
        for _ in range(MAX_ROUNDS):
            if entity in self._unreadable:
                raise LogFault(self._unreadable[entity])
            last = self.bus.prefix.lane(lane).last
            window = self.windows.get(entity) or self.nerve.empty()
            window = window if at is None else self.nerve.placed(window, at)
            at_ms = now_ms(self.bus.world)
            after, outputs = self.nerve.decide(self.state(entity), window, message, at_ms)
            if maybe_behind and not _appends(outputs):  # no append will tell that a replica decided meanwhile
                maybe_behind = False
                await self.bus.follow(lane, held)
                if self.bus.prefix.lane(lane).last != last:
                    continue
            if not outputs and not isinstance(message, Request) and entity not in self._owed:
                self._remember(entity, after)  # nothing is said, and nobody waits to hear where it stands
                return [], []
            repeated = await self._done_before(lane, message, message_id)
            if repeated is not None:  # by a replica, or by this nerve before a crash
                self._remember(entity, self._indebted(entity, after))
                return [repeated], []
            if isinstance(outputs, Refusal):
                self._remember(entity, after)
                return [], [outputs]
            decisions = [output for output in outputs if isinstance(output, Decision)]
            urgent = [output for output in outputs if output.urgent]
            others = [output for output in outputs if not isinstance(output, Decision) and not output.urgent]
            self._check(decisions, lane)
            evidence = self._evidence(window, message, message_id, at_ms) if decisions else b""
            drafts = self._drafts(decisions, message, message_id, evidence)
            if urgent:
                await ahead(urgent)
                self._owed.setdefault(entity, []).append((urgent, at_ms))
                self._remember(entity, self.nerve.acted(window, urgent, at_ms))
            receipts = await self.bus.append_at(last, drafts, context) if drafts else []
            if receipts is not None:
                self._owed.pop(entity, None)
                self._remember(entity, after)
                stale = any(receipt.duplicate for receipt in receipts)  # a replica decided on a newer state, and spoke
                return receipts, [] if stale else others
            await self.bus.follow(lane)
        raise LogFault(f"{lane} moved {MAX_ROUNDS} times while {self.nerve.name} decided about one message")

    def _check(self, decisions: list[Decision], lane: str) -> None:
        """Nothing undeclared, and nothing about another entity, is ever sealed."""
        for decision in decisions:
            if type(decision) not in self._decides:
                what = type(decision).__name__
                raise HandlerFailed(f"{self.nerve.name} decided an undeclared {what}; add it to the return annotation")
            if decision.lane(self.bus.env) != lane:
                raise HandlerFailed(
                    f"{self.nerve.name} was asked about {lane} and decided about {decision.lane(self.bus.env)}"
                )

    def _evidence(self, window: Any, message: Message, message_id: bytes, at_ms: int) -> bytes:  # noqa: ANN401 - as state
        evidence = self.nerve.evidence(window, message, message_id, at_ms)
        if len(evidence) <= MAX_EVIDENCE_BYTES:
            return evidence
        what = f"{len(evidence)} bytes of evidence, at most {MAX_EVIDENCE_BYTES} are allowed"
        if len(evidence) - len(encode(message)) <= MAX_EVIDENCE_BYTES // 2:
            raise Refused(Refusal("B003", f"{what}; this {type(message).__name__} is too large to decide from"))
        raise HandlerFailed(f"{self.nerve.name}: {what}; bound the window, or refer to content by digest")

    def _drafts(self, decisions: list[Decision], message: Message, message_id: bytes, evidence: bytes) -> list[Draft]:
        return [Draft(d, self._event_id(message, message_id, i), message_id, evidence) for i, d in enumerate(decisions)]

    def _event_id(self, message: Message, message_id: bytes, ordinal: int) -> bytes:
        """Return an event's id; it rests on what the message says too, for anyone can publish a message's id first."""
        heard = derive_event_id(message_id + encode(message), message.template, "heard", 0)
        return derive_event_id(heard, self.nerve.name, "decide", ordinal)

    async def _done_before(self, lane: str, message: Message, message_id: bytes) -> Receipt | None:
        """Return the receipt of this message's first decision if it stands in the log already."""
        event_id = self._event_id(message, message_id, 0)
        position = self.bus.prefix.lane(lane).seen.get((self.nerve.name, event_id))
        if position is None:
            return None
        entries = await self.bus.entries(position[0], position[0], 1)
        if not entries or entries[0].index != position[0]:
            raise LogFault(f"entry {position[0]} of {lane} was admitted and is gone")
        return Receipt(*position, entries[0].subject, event_id, duplicate=True)

    def _indebted(self, entity: str, window: Any) -> Any:  # noqa: ANN401 - each nerve has its own window class
        """Return a window with what was done and is still owed to the log, where another's decision stands."""
        for urgent, at_ms in self._owed.get(entity, []):
            window = self.nerve.acted(window, urgent, at_ms)
        return window

    def _remember(self, entity: str, window: Any) -> None:  # noqa: ANN401 - each nerve has its own window class
        """Keep a window; an empty one is forgotten, so that questions about nobody push no other window out."""
        if window == self.nerve.empty():
            self.windows.pop(entity, None)
            return
        self.windows[entity] = window
        self.windows.move_to_end(entity)
        if len(self.windows) > MAX_ENTITIES:
            self.windows.popitem(last=False)

    def _evolve(self, verdict: Verdict) -> None:
        """Fold one verdict of the nerve's own; what cannot be folded closes its entity, for half a state is none."""
        lane = lane_of(verdict.entry.subject) or ""
        if not self._stem or not lane.startswith(self._stem) or verdict.sealed is None:
            return
        if verdict.sealed.attributes.source != self.nerve.name:
            return
        entity = decode_token(lane.removeprefix(self._stem))
        try:
            state = self._folded(self.state(entity), verdict)
        except AssertionError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, this entity's state is not known any more
            what = f"entry {verdict.entry.index} of {lane}, decided by version {verdict.sealed.attributes.version}"
            self._unreadable[entity] = f"{self.nerve.name} {self.nerve.version} cannot fold {what}: {error}"
        else:
            self.states[entity] = state

    def _folded(self, state: Any, verdict: Verdict) -> Any:  # noqa: ANN401 - each nerve has its own state class
        for _, event in verdict.admitted():
            cls = lookup(verdict.entry.subject)
            if cls is None:
                raise LogFault(f"no class is declared for {verdict.entry.subject}")
            state = self.nerve.evolve(state, decode(cls, bytes(event.data)))
        return state


def _appends(outputs: list[Any] | Refusal) -> bool:
    return not isinstance(outputs, Refusal) and any(isinstance(output, Decision) for output in outputs)
