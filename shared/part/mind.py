"""A nerve's mind: its states folded from the log, its windows, and the loop decide → append → evolve.

A decision is appended only where the lane still stands as it stood when `decide` looked; when another replica was faster
the mind folds what happened and decides again. State evolves while the lane is folded, never before admission.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from shared.bus import Bus, Context, Draft, Receipt
from shared.codec import decode
from shared.constant import constant
from shared.envelope import Verdict, derive_event_id
from shared.errors import LogFault, Refusal
from shared.message import EVENT_TOKEN, Decision, Message, decode_token, encode_token, lane_of, lookup
from shared.part.declare import declaration
from shared.part.nerve import Nerve
from shared.subjects.system import Tick

MAX_ENTITIES = constant(10_000, "entities", "X-12")
MAX_ROUNDS = constant(50, "rounds", "X-07")


class Mind:
    """Owns states and windows by entity; nothing else writes them."""

    def __init__(self, nerve: Nerve[Any, Any], bus: Bus) -> None:
        self.nerve, self.bus = nerve, bus
        self.states: dict[str, Any] = {}
        self.windows: OrderedDict[str, Any] = OrderedDict()
        decisions = declaration(nerve).decides()
        self._stem = f"{bus.env}.{decisions[0].tokens[0]}.{decisions[0].tokens[1]}.{EVENT_TOKEN}." if decisions else ""
        bus.observers.append(self._evolve)

    def lane(self, entity: str) -> str:
        """Return the lane of an entity."""
        return self._stem + encode_token(entity)

    async def decide(self, message: Message, message_id: bytes, context: Context) -> tuple[list[Receipt], list[Any]]:
        """Decide about one message; return the receipts of its decisions and what else it says."""
        if isinstance(message, Tick):
            said: list[Any] = []
            receipts: list[Receipt] = []
            for entity in sorted(self.windows):
                more, outputs = await self._about(entity, message, derive_event_id(message_id, entity, "tick", 0), context)
                receipts += more
                said += outputs
            return receipts, said
        entity = self.nerve.entity(message)
        if entity is None:
            return [], []
        return await self._about(entity, message, message_id, context)

    async def _about(self, entity: str, message: Message, message_id: bytes, context: Context) -> tuple[list[Receipt], list[Any]]:
        lane = self.lane(entity)
        if lane not in self.bus.prefix.lanes:
            await self.bus.follow(lane)
        for _ in range(MAX_ROUNDS):
            last = self.bus.prefix.lane(lane).last
            window = self.windows.get(entity) or self.nerve.empty()
            at_ms = self.bus.world.now_ns() // 1_000_000
            after, outputs = self.nerve.decide(self.state(entity), window, message, at_ms)
            if isinstance(outputs, Refusal):
                self._remember(entity, after)
                return [], [outputs]
            decisions = [output for output in outputs if isinstance(output, Decision)]
            repeated = self._done_before(lane, message_id)
            if not decisions and repeated is None:
                self._remember(entity, after)
                return [], outputs
            if repeated is not None:
                self._remember(entity, after)
                return [repeated], []
            evidence = self.nerve.evidence(window, message, message_id, at_ms)
            receipts = await self.bus.append_at(last, self._drafts(decisions, message_id, evidence), context)
            if receipts is not None:
                self._remember(entity, after)
                return receipts, [output for output in outputs if not isinstance(output, Decision)]
            await self.bus.follow(lane)
        raise LogFault(f"{lane} moved {MAX_ROUNDS} times while {self.nerve.name} decided about one message")

    def state(self, entity: str) -> Any:
        """Return the state of an entity, folded from its lane so far."""
        return self.states[entity] if entity in self.states else self.nerve.start()

    def _drafts(self, decisions: list[Decision], message_id: bytes, evidence: bytes) -> list[Draft]:
        return [Draft(d, self._event_id(message_id, i), message_id, evidence) for i, d in enumerate(decisions)]

    def _event_id(self, message_id: bytes, ordinal: int) -> bytes:
        return derive_event_id(message_id, self.nerve.name, "decide", ordinal)

    def _done_before(self, lane: str, message_id: bytes) -> Receipt | None:
        """Return the receipt of this message's decision if a replica, or this nerve before a crash, made it already."""
        event_id = self._event_id(message_id, 0)
        position = self.bus.prefix.lane(lane).seen.get((self.nerve.name, event_id))
        return Receipt(*position, lane, event_id, duplicate=True) if position else None

    def _remember(self, entity: str, window: Any) -> None:
        self.windows[entity] = window
        self.windows.move_to_end(entity)
        if len(self.windows) > MAX_ENTITIES:
            self.windows.popitem(last=False)

    def _evolve(self, verdict: Verdict) -> None:
        lane = lane_of(verdict.entry.subject) or ""
        cls = lookup(verdict.entry.subject)
        if not self._stem or not lane.startswith(self._stem) or cls is None or verdict.sealed is None:
            return
        if verdict.sealed.attributes.source != self.nerve.name:
            return
        entity = decode_token(lane.removeprefix(self._stem))
        for _, event in verdict.admitted():
            self.states[entity] = self.nerve.evolve(self.state(entity), decode(cls, bytes(event.data)))
