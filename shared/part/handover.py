"""Handing a message to a part's own code, and publishing what it says: replies, signals, and an organ's decisions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, cast

import msgspec

from shared.bus import Bus, Delivery, Draft, Receipt
from shared.codec import decode_any
from shared.decisions import says_its_subject
from shared.envelope import Verdict, derive_event_id
from shared.errors import Refusal, Refused
from shared.log.entry import Position
from shared.message import Decision, Message, PlacedReply, Reply, Request, Signal, lookup
from shared.part.cell import Cell
from shared.part.declare import Handler, Part
from shared.part.mind import Mind
from shared.part.nerve import Nerve
from shared.part.own_code import HandlerFailed, act, collect, own_code
from shared.part.reading import Received
from shared.subjects.system import Decided

Answer = Reply | Refusal | None


@dataclass
class Work:
    """What a part did since it started; owned by its runner."""

    handled: int = 0
    refused: int = 0
    failed: int = 0
    dropped: int = 0
    repeated: int = 0


class Handover:
    """The only caller of a part's handlers. Counts what was handled and refused in the runner's work."""

    def __init__(self, part: Part, bus: Bus, work: Work) -> None:
        self.part, self.bus, self.work = part, bus, work
        self.handlers = {cls: handler for handler in part.handlers() for cls in handler.hears}
        self.mind = Mind(cast("Nerve[Any, Any]", part), bus) if isinstance(part, Nerve) else None

    async def hand_over(self, received: Received) -> Answer:
        """Return the part's answer to one message; Refused, or a Fault, where it has none."""
        handler = self.handlers[type(received.message)]
        self.work.handled += 1
        if self.mind is not None:
            receipts, answer = await self._decide(self.mind, handler, received)
            return (
                _decided(receipts[0])
                if answer is None and receipts and type(received.message).reply is Decided
                else answer
            )
        running = (collect if isinstance(self.part, Cell) else act)(handler.call, received.message)
        return await self._publish(handler, received, await own_code(self.part.name, running))

    async def _decide(
        self, mind: Mind, handler: Handler, received: Received, at: Position | None = None
    ) -> tuple[list[Receipt], Answer]:
        """Have a nerve decide, and publish what else it says: what is urgent first, the rest once it is logged."""

        async def ahead(urgent: list[Any]) -> None:
            await self._publish(replace(handler, name=f"{handler.name} ahead"), received, urgent)

        deciding = mind.decide(received.message, received.message_id, received.context, ahead, at)
        receipts, outputs = await own_code(self.part.name, deciding)
        said = [_placed(output, receipts) for output in outputs]
        return receipts, await self._publish(handler, received, said)

    async def _publish(self, handler: Handler, received: Received, outputs: Iterable[Any]) -> Answer:
        """Publish a handler's outputs in order and return its answer; nothing is published if one is undeclared.

        What an organ decides is appended; a nerve's decisions stand in the log already. Of several that an organ
        decides, each an entry of its own, the last is the answer: who waits for it waits for all. A request goes out as
        a signal does, at most once, and nobody waits for its answer.
        """
        outputs = list(outputs)
        reply = type(received.message).reply
        for output in outputs:
            if not isinstance(output, (Refusal, *handler.says)) and (reply is None or type(output) is not reply):
                where, what = f"{self.part.name}.{handler.name}", type(output).__name__
                raise HandlerFailed(f"{where} published an undeclared {what}; add it to the return annotation")
        answer: Answer = None
        receipts = list[Receipt]()
        for ordinal, output in enumerate(outputs):
            if isinstance(output, Refusal):
                self.work.refused += 1
                if not isinstance(received.message, Request):  # nobody waits who could be told
                    await self.bus.dead(received.delivery, output)
            if isinstance(output, Reply | Refusal):
                answer = output
            output_id = derive_event_id(received.identity, self.part.name, handler.name, ordinal)
            if isinstance(output, Decision):
                draft = Draft(output, output_id, received.message_id)
                receipts.append(await self.bus.append(draft, received.context))
            if isinstance(output, Signal | Reply | Request):
                await self._emit(output, received, output_id)
        return _decided(receipts[-1]) if answer is None and receipts and reply is Decided else answer

    async def _emit(self, output: Signal | Reply | Request, received: Received, output_id: bytes) -> None:
        try:
            await self.bus.emit(output, received.context, output_id)
        except (Refused, ValueError) as no:  # our own output, so not the sender's fault
            raise HandlerFailed(f"{self.part.name} made a {type(output).__name__} that cannot be sent: {no}") from no

    async def consume(self, verdict: Verdict) -> None:
        """Hand one judged entry of the log to an organ or a nerve; a Fault decides about its redelivery."""
        self.work.handled += 1
        whole = self.handlers.get(cast("type[Message]", Verdict))
        if whole is not None:
            await own_code(self.part.name, act(whole.call, verdict))
        cls = lookup(verdict.entry.subject)
        handler = self.handlers.get(cls) if cls is not None else None
        if handler is None or cls is None:
            return
        for offset, event in verdict.admitted():
            message, _ = decode_any(cls, bytes(event.data))
            delivery, at = Delivery(verdict.entry.subject, b""), Position(verdict.entry.index, offset)
            if not says_its_subject(message, verdict.entry.subject):
                await self.bus.dead(delivery, Refusal("R008", f"what stands at {at.index} names another lane"))
                continue
            received = Received(message, event.id, "", delivery, as_json=False)
            if self.mind is not None:
                await self._decide(self.mind, handler, received, at)
                continue
            placed = (at,) if handler.placed else ()
            await self._publish(handler, received, await own_code(self.part.name, act(handler.call, message, *placed)))


def _placed(output: object, receipts: list[Receipt]) -> object:
    """Return a reply with the place of the first decision made beside it: its nerve could not know that."""
    if isinstance(output, PlacedReply) and receipts:
        return msgspec.structs.replace(output, index=receipts[0].index, offset=receipts[0].offset)
    return output


def _decided(receipt: Receipt) -> Decided:
    r = receipt
    return Decided(r.subject, r.event_id.hex(), r.index, r.offset, r.duplicate, r.proof)
