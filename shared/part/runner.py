"""The runner carries one part on a bus: it receives, judges, hands over, publishes, answers, beats and drains.

The same runner serves in one process, in many, in a container and under simulated time. A message the part cannot use
ends as a named refusal and, within a bound, as a dead letter; the part stays alive.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

from shared.bus import Bus, Context, Delivery, Receipt
from shared.bus.wire import INBOX, Subscription
from shared.codec import decode_any
from shared.constant import constant
from shared.envelope import Verdict, derive_event_id
from shared.envelope.admission import CLOCK_SKEW_MS
from shared.envelope.envelope import parse_rfc3339
from shared.errors import Deadlock, Fault, Refusal, Refused, WallClockUse
from shared.message import Decision, Message, Reply, Request, Signal, lookup
from shared.part.cell import Cell
from shared.part.declare import Handler, Part, declaration
from shared.part.discovery import Discovery
from shared.part.handshake import shake_hands
from shared.part.mind import Mind
from shared.part.nerve import Nerve
from shared.part.organ import Organ
from shared.subjects.system import Decided, Heartbeat, Tick
from shared.world import new_id, now_ms

QUEUE = constant(1_000, "messages", "X-12")
REMEMBERED = constant(4_096, "messages", "X-07")
HEARTBEAT_S = constant(5.0, "s", "NIM-02")
DRAIN_S = constant(5.0, "s", "X-07")


@dataclass(frozen=True, slots=True)
class Received:
    """A message that could be read, and where it stands in its conversation."""

    message: Message
    message_id: bytes
    correlation: str
    delivery: Delivery
    as_json: bool

    @property
    def context(self) -> Context:
        """The context of whatever this message causes."""
        return Context(self.message_id, self.correlation or self.message_id.hex())


@dataclass
class Work:
    """What a part did since it started; owned by its runner."""

    handled: int = 0
    refused: int = 0
    failed: int = 0
    dropped: int = 0
    repeated: int = 0
    spent_ulf: int = 0


class Runner:
    """Runs one part until `stop`. Owns the queue, the subscriptions and the part's working memory."""

    def __init__(self, part: Part, bus: Bus, *, beat_s: float = 1.0, handshake: bool = True) -> None:
        self.part, self.bus, self.world = part, bus, bus.world
        self.declared = declaration(part)
        self.beat_s, self.handshake = beat_s, handshake
        self.work = Work()
        self.greeted = ""  #: how the start-up handshake ended
        self._handlers = {cls: handler for handler in part.handlers() for cls in handler.hears}
        self._mind = Mind(cast("Nerve[Any, Any]", part), bus) if isinstance(part, Nerve) else None
        self._queue: asyncio.Queue[Delivery | Tick] = asyncio.Queue(QUEUE)
        self._answers: OrderedDict[bytes, Reply | Refusal | None] = OrderedDict()
        self._subscriptions: list[Subscription] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._saying: set[asyncio.Task[None]] = set()
        self._discovery = Discovery(self.declared, self.world, bus.env)

    async def start(self) -> None:
        """Subscribe, shake hands with the steward, then begin to work. Refused if the steward says no."""
        if isinstance(self.part, Organ):
            await self.part.open(self.bus)
        queue = "" if isinstance(self.part, Nerve) else self.part.name
        for pattern in self.declared.subscribe(self.bus.env):
            if pattern.startswith("$SRV"):
                self._subscriptions.append(await self.bus.subscribe(pattern, self._discover))
            elif not pattern.startswith(INBOX):
                self._subscriptions.append(await self.bus.subscribe(pattern, self._receive, queue))
        if self.handshake:
            self.greeted = await shake_hands(self.bus, self.declared)
        for durable in self.declared.consumers(self.bus.env):
            self._subscriptions.append(await self.bus.consume(durable, self._logged))
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(work()) for work in (self._work, self._heartbeat)]
        if Tick in self._handlers:
            self._tasks.append(loop.create_task(self._beat()))

    async def stop(self) -> None:
        """Take no more messages, finish those that arrived, close the part and drain its bus."""
        for subscription in self._subscriptions:
            await subscription.close()
        if self._tasks:
            try:
                async with asyncio.timeout(DRAIN_S):
                    await self._queue.join()
            except TimeoutError:
                self.work.dropped += self._queue.qsize()
        await self.halt()
        if isinstance(self.part, Organ):
            await self.part.close()
        await self.bus.drain()

    async def halt(self) -> None:
        """Stop at once, as a crash would: nothing is finished, nothing is said."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def broken(self) -> None:
        """Wait for ever, or raise what broke the part: a failed assertion or an error in its own loop."""
        while self._tasks:
            done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if not task.cancelled():
                    task.result()

    # Receiving

    def _receive(self, delivery: Delivery) -> None:
        try:
            self._queue.put_nowait(delivery)
        except asyncio.QueueFull:
            self.work.dropped += 1

    def _discover(self, delivery: Delivery) -> None:
        answer = self._discovery.answer(delivery.subject, self.work.handled, self.work.failed + self.work.refused)
        if answer and delivery.reply.startswith(INBOX):
            task = asyncio.get_running_loop().create_task(self._say(delivery.reply, answer))
            self._saying.add(task)
            task.add_done_callback(self._saying.discard)

    async def _say(self, subject: str, answer: bytes) -> None:
        try:
            await self.bus.wire.publish(subject, answer)
        except Fault:
            self.work.dropped += 1

    async def _work(self) -> None:
        while True:
            item = await self._queue.get()
            before = self.world.cpu_s()
            try:
                if isinstance(item, Tick):
                    await self._tick(item)
                else:
                    await self._one(item)
            finally:
                self.work.spent_ulf += round((self.world.cpu_s() - before) * 1e6)
                self._queue.task_done()

    async def _one(self, delivery: Delivery) -> None:
        """Read one delivery and hand it over; whatever goes wrong has a name, and the part stays alive."""
        try:
            received = self._read(delivery)
        except Refused as no:
            await self._refuse(delivery, no.refusal)
            return
        if received.message_id in self._answers:
            self.work.repeated += 1
            await self._answer(received, self._answers[received.message_id])
            return
        try:
            answer = await self._hand_over(received)
        except Refused as no:
            self.work.refused += 1
            answer = no.refusal
        except Fault as fault:
            self.work.failed += 1
            answer = Refusal("B009", str(fault))
            await self.bus.dead(delivery, answer)
        self._answers[received.message_id] = answer
        while len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)
        await self._answer(received, answer)

    def _read(self, delivery: Delivery) -> Received:
        if delivery.reply and not delivery.reply.startswith(INBOX):
            raise Refused(Refusal("B004", f"reply subject {delivery.reply!r} does not begin with {INBOX}"))
        cls = lookup(delivery.subject)
        if cls is None or cls not in self._handlers:
            raise Refused(Refusal("B001", f"{self.part.name} knows no message on {delivery.subject}"))
        message, as_json = decode_any(cls, delivery.data)
        if message.subject(self.bus.env) != delivery.subject:
            raise Refused(Refusal("B002", f"the message says {message.subject(self.bus.env)}, it came on {delivery.subject}"))
        self._check_age(message, delivery)
        written = delivery.headers.get("ce-id", "")
        if written and not _is_hex(written, 32):
            raise Refused(Refusal("B002", f"ce-id {written[:40]!r} is not 32 hexadecimal digits"))
        if written:
            message_id = bytes.fromhex(written)
        elif delivery.reply:  # two replicas of a nerve must give a hand-made request one identity
            message_id = derive_event_id(delivery.data, delivery.subject, delivery.reply, 0)
        else:
            message_id = new_id(self.world)
        return Received(message, message_id, delivery.headers.get("ce-correlation", "")[:64], delivery, as_json)

    def _check_age(self, message: Message, delivery: Delivery) -> None:
        written = delivery.headers.get("ce-time")
        if written is None or not isinstance(message, Request):
            return
        try:
            age_ms = now_ms(self.world) - parse_rfc3339(written)
        except (ValueError, OverflowError, OSError):
            raise Refused(Refusal("B002", f"ce-time {written[:40]!r} is not RFC 3339 with milliseconds in UTC")) from None
        if age_ms > message.ttl_ms:
            raise Refused(Refusal("B010", f"written {age_ms} ms ago, the request lives {message.ttl_ms} ms"))
        if age_ms < -CLOCK_SKEW_MS:
            raise Refused(Refusal("R001", f"written {-age_ms} ms in the future, at most {CLOCK_SKEW_MS} ms of skew are allowed"))

    async def _refuse(self, delivery: Delivery, refusal: Refusal) -> None:
        self.work.refused += 1
        await self.bus.dead(delivery, refusal)
        if delivery.reply.startswith(INBOX):
            await self._guard(self.bus.answer(delivery, refusal, as_json=delivery.data[:1] == b"{"))

    async def _answer(self, received: Received, answer: Reply | Refusal | None) -> None:
        if received.delivery.reply and isinstance(received.message, Request):
            refusal = Refusal("B012", f"{self.part.name} has no answer to this request")
            await self._guard(self.bus.answer(received.delivery, answer or refusal, as_json=received.as_json))

    async def _guard(self, sending: Awaitable[None]) -> None:
        try:
            await sending
        except (Fault, Refused):
            self.work.dropped += 1

    # Handing over

    async def _hand_over(self, received: Received) -> Reply | Refusal | None:
        handler = self._handlers[type(received.message)]
        self.work.handled += 1
        if self._mind is not None:
            receipts, outputs = await self._own_code(self._mind.decide(received.message, received.message_id, received.context))
            answer = await self._publish(handler, received, outputs)
            return _decided(receipts[0]) if answer is None and receipts and type(received.message).reply is Decided else answer
        if isinstance(self.part, Cell):
            return await self._publish(handler, received, await self._own_code(_collect(handler.call, received.message)))
        return await self._publish(handler, received, await self._own_code(_act(handler.call, received.message)))

    async def _own_code(self, running: Awaitable[Any]) -> Any:
        """Await the part's own code: the one place where any error of it becomes a Fault (a broken assert stops the part)."""
        try:
            return await running
        except (Refused, Fault, AssertionError, WallClockUse, Deadlock):
            raise
        except Exception as error:  # noqa: BLE001 - a stranger's input must not stop the part, whatever its code raises
            raise HandlerFailed(f"{self.part.name}: {type(error).__name__}: {error}") from error

    async def _publish(self, handler: Handler, received: Received, outputs: Iterable[Any]) -> Reply | Refusal | None:
        """Publish a handler's outputs in order and return its answer."""
        answer: Reply | Refusal | None = None
        for ordinal, output in enumerate(outputs):
            if isinstance(output, Refusal):
                self.work.refused += 1
                answer = output
                continue
            if not isinstance(output, handler.says) and not (isinstance(output, Reply) and type(output) is type(received.message).reply):
                raise HandlerFailed(f"{self.part.name}.{handler.name} published an undeclared {type(output).__name__}; add it to the return annotation")
            if isinstance(output, Reply):
                answer = output
            if isinstance(output, Signal | Reply):
                output_id = derive_event_id(received.message_id, self.part.name, handler.name, ordinal)
                await self.bus.emit(output, received.context, output_id)
        return answer

    async def _logged(self, verdict: Verdict) -> None:
        """Hand one judged log entry to the organ's handlers; Faults decide about redelivery in the bus."""
        self.work.handled += 1
        whole = self._handlers.get(cast("type[Message]", Verdict))
        if whole is not None:
            await self._own_code(_act(whole.call, verdict))
        cls = lookup(verdict.entry.subject)
        handler = self._handlers.get(cls) if cls is not None else None
        if handler is None or cls is None:
            return
        for _, event in verdict.admitted():
            message, _ = decode_any(cls, bytes(event.data))
            received = Received(message, event.id, "", Delivery(verdict.entry.subject, b""), as_json=False)
            await self._publish(handler, received, await self._own_code(_act(handler.call, message)))

    # Beating

    async def _beat(self) -> None:
        beat = 0
        while True:
            await self.world.sleep(self.beat_s)
            beat += 1
            try:
                self._queue.put_nowait(Tick(self.part.name, self.world.boot, beat, now_ms(self.world)))
            except asyncio.QueueFull:
                self.work.dropped += 1

    async def _tick(self, tick: Tick) -> None:
        tick_id = derive_event_id(b"", self.part.name, f"tick {tick.boot}", tick.beat)
        received = Received(tick, tick_id, "", Delivery("", b""), as_json=False)
        try:
            await self._hand_over(received)
        except (Fault, Refused) as failure:
            self.work.failed += 1
            if isinstance(failure, HandlerFailed):
                await self.bus.dead(Delivery(tick.subject(self.bus.env), b""), Refusal("B009", str(failure)))

    async def _heartbeat(self) -> None:
        beat = 0
        while True:
            beat += 1
            await self._guard(self.bus.emit(self.pulse(beat)))
            await self.world.sleep(HEARTBEAT_S)

    def pulse(self, beat: int) -> Heartbeat:
        """Return the part's heartbeat: what it did, lost and spent since it started."""
        w, dropped = self.work, self.work.dropped + self.bus.counters.dropped
        spent = w.spent_ulf
        return Heartbeat(
            self.part.name, self.part.version, self.world.boot, beat, w.handled, w.refused, w.failed, dropped, spent, spent
        )


class HandlerFailed(Fault):
    """The part's own code failed on a message; the message is dead-lettered with the error."""


async def _collect(call: Callable[..., Any], message: Message) -> list[Any]:
    return list(call(message))


async def _act(call: Callable[..., Any], message: Any) -> list[Any]:
    outputs = await call(message)
    if outputs is None:
        return []
    return [outputs] if isinstance(outputs, Refusal | Message) else list(outputs)


def _decided(receipt: Receipt) -> Decided:
    r = receipt
    return Decided(r.subject, r.event_id.hex(), r.index, r.offset, r.duplicate, r.proof)


def _is_hex(text: str, digits: int) -> bool:
    return len(text) == digits and all(c in "0123456789abcdef" for c in text)


__all__ = ["Decision", "HandlerFailed", "Received", "Runner", "Work"]
