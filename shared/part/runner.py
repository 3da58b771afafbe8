"""The runner carries one part on a bus: it receives, judges, hands over, publishes, answers, beats and drains.

The same runner serves in one process, in many, in a container and under simulated time. A message the part cannot use
ends as a named refusal and, within a bound, as a dead letter; the part stays alive. A bug of ours stops it, wholly.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Coroutine
from typing import Any

from shared.bus import Bus, Delivery
from shared.bus.confidential import quotable
from shared.bus.wire import INBOX, Subscription
from shared.codec import decode
from shared.constant import constant
from shared.envelope import Verdict, derive_event_id
from shared.errors import Fault, Refusal, Refused
from shared.journal import record
from shared.message import MAX_MESSAGE_BYTES, Reply, Request
from shared.part.declare import TIERS, Part, declaration
from shared.part.discovery import Discovery
from shared.part.handover import Answer, Handover, Work
from shared.part.handshake import shake_hands
from shared.part.meter import Measured, Meter, metered
from shared.part.mind import Mind
from shared.part.nerve import Nerve
from shared.part.organ import Organ
from shared.part.own_code import STOPS, HandlerFailed
from shared.part.reading import Received, read_delivery
from shared.part.rest import Rest
from shared.subjects.system import Heartbeat, LifeforceTold, Tick
from shared.world import now_ms

QUEUE = constant(1_000, "messages", "X-12")
REMEMBERED = constant(4_096, "messages", "X-07")
HEARTBEAT_S = constant(5.0, "s", "NIM-02")
DRAIN_S = constant(5.0, "s", "X-07")


class Runner:
    """Runs one part until `stop`. Owns the queue, the subscriptions and the part's working memory."""

    def __init__(
        self, part: Part, bus: Bus, *, beat_s: float = 1.0, handshake: bool = True, alone: bool = False
    ) -> None:
        """`alone` says that the process is the part's own, so that all it uses is the part's."""
        self.part, self.bus, self.world = part, bus, bus.world
        self.declared = declaration(part)
        self.beat_s, self.handshake = beat_s, handshake
        bus.stamp = stamp(part)
        self.work, self.meter = Work(), Meter(bus.world, alone=alone)
        self.rest = Rest(self.world)
        self.greeted = ""  #: how the start-up handshake ended
        self._handover = Handover(part, bus, self.work)
        self._queue: asyncio.Queue[Delivery | Tick] = asyncio.Queue(QUEUE)
        self._answers: OrderedDict[bytes, Answer] = OrderedDict()
        self._subscriptions: list[Subscription] = []
        self._following: list[Subscription] = []  #: of the log
        self._turning = asyncio.Lock()  #: to rest and back
        self._tasks: list[asyncio.Task[None]] = []
        self._beating: asyncio.Task[None] | None = None
        self._aside: set[asyncio.Task[None]] = set()  #: short answers given outside the queue's order
        self._cause: BaseException | None = None  #: what broke the part
        self._discovery = Discovery(self.declared, self.world, bus.env)

    # Starting and stopping

    async def start(self) -> None:
        """Subscribe, shake hands with the steward, then begin to work. Refused if the steward says no.

        A part that could not start has let go of everything, so that no message waits for it.
        """
        try:
            if isinstance(self.part, Organ):
                await self.part.open(self.bus)
            await self._join()
        except BaseException:
            await self._leave()
            raise
        self.meter.begin()
        self._tasks = [self._task(self._work()), self._task(self._heartbeat())]
        if Tick in self._handover.handlers:
            self._beating = self._task(self._beat())
            self._tasks.append(self._beating)
        record(self.part.name, "part_started", version=self.part.version, greeted=self.greeted or "not asked")

    async def stop(self) -> None:
        """Take no more messages, finish those that arrived, close the part and drain its bus."""
        await self._close_subscriptions()
        if self._beating is not None:
            self._beating.cancel()
        if self._tasks and self._cause is None:
            try:
                async with asyncio.timeout(DRAIN_S):
                    await self._queue.join()
            except TimeoutError:
                self.work.dropped += self._queue.qsize()
        await self.halt()
        await self._leave()
        record(self.part.name, "part_stopped", handled=self.work.handled, dropped=self.work.dropped)

    async def halt(self) -> None:
        """Stop at once, as a crash would: nothing is finished, nothing is said."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    def raise_if_broken(self) -> None:
        """Raise what stopped the part: a failed assertion or an error in its own loop."""
        if self._cause is not None:
            raise self._cause

    @property
    def mind(self) -> Mind | None:
        """The mind of a nerve; None for a cell or an organ."""
        return self._handover.mind

    async def _join(self) -> None:
        queue = "" if isinstance(self.part, Nerve) else self.part.name
        for pattern in self.declared.subscribe(self.bus.env):
            if pattern.startswith("$SRV"):
                self._subscriptions.append(await self.bus.subscribe(pattern, self._discover))
            elif pattern == LifeforceTold.pattern(self.bus.env):
                self._subscriptions.append(await self.bus.subscribe(pattern, self._told))
            elif not pattern.startswith(INBOX):
                self._subscriptions.append(await self.bus.subscribe(pattern, self._receive, queue))
        if self.handshake:
            self.greeted = await shake_hands(self.bus, self.declared)
        await self._follow_log()

    async def _follow_log(self) -> None:
        for durable in self.declared.consumers(self.bus.env):
            self._following.append(await self.bus.consume(durable, self._logged))

    async def _leave(self) -> None:
        await self._close_subscriptions()
        await asyncio.gather(*self._aside, return_exceptions=True)
        if isinstance(self.part, Organ):
            await self.part.close()
        await self.bus.drain()

    async def _close_subscriptions(self) -> None:
        closing, self._subscriptions = self._subscriptions, []
        await asyncio.gather(*(subscription.close() for subscription in closing))
        await self._unfollow_log()

    async def _unfollow_log(self) -> None:
        closing, self._following = self._following, []
        for subscription in closing:
            await subscription.close()

    def _task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(lambda t: None if t.cancelled() else self._break(t.exception()))
        return task

    def _break(self, error: BaseException | None) -> None:
        """Stop the part for a bug of ours: it takes nothing more, says nothing more, and does not look alive."""
        if error is None or self._cause is not None:
            return
        self._cause = error
        record(self.part.name, "part_broken", error=f"{type(error).__name__}: {error}")
        for task in self._tasks:
            task.cancel()
        self._beside(self._close_subscriptions())

    # Receiving

    def _receive(self, delivery: Delivery) -> None:
        if self.rest.resting:
            self.work.dropped += 1
            if delivery.reply.startswith(INBOX):
                no = Refusal("B014", f"{self.part.name} rests: {self.rest.why}")
                self._beside(self._guard(self.bus.answer(delivery, no, as_json=delivery.data[:1] == b"{")))
            return
        try:
            self._queue.put_nowait(delivery)
        except asyncio.QueueFull:
            self.work.dropped += 1
            if delivery.reply.startswith(INBOX):
                busy = Refusal("B008", f"{QUEUE} messages wait for {self.part.name} already; try later")
                self._beside(self._guard(self.bus.answer(delivery, busy, as_json=delivery.data[:1] == b"{")))

    def _discover(self, delivery: Delivery) -> None:
        answer = self._discovery.answer(delivery.subject, self.work.handled, self.work.failed + self.work.refused)
        if answer and delivery.reply.startswith(INBOX):
            self._beside(self._guard(self.bus.wire.publish(delivery.reply, answer)))

    def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something short outside the queue's order; what is beyond the bound is dropped."""
        if len(self._aside) >= QUEUE:
            work.close()
            self.work.dropped += 1
            return
        task = asyncio.get_running_loop().create_task(work)
        self._aside.add(task)
        task.add_done_callback(self._aside.discard)

    async def _guard(self, sending: Awaitable[None]) -> None:
        try:
            await sending
        except (Fault, Refused):
            self.work.dropped += 1

    async def _work(self) -> None:
        while True:
            item = await self._queue.get()
            try:
                if isinstance(item, Tick):
                    await self._measured(self._tick(item))
                else:
                    self.meter.spending.received_bytes += len(item.data)
                    await self._measured(self._one(item))
            finally:
                self._queue.task_done()

    async def _measured(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something on the part's account."""
        began_s = self.world.elapsed_s()
        try:
            await metered(work, self.meter.spending, self.world)
        finally:
            self.meter.spending.elapsed_us += round((self.world.elapsed_s() - began_s) * 1e6)

    async def _one(self, delivery: Delivery) -> None:
        """Read one delivery and hand it over; whatever goes wrong has a name, and the part stays alive."""
        try:
            received = read_delivery(delivery, self.part.name, self._handover.handlers, self.world)
        except Refused as no:
            await self._refuse(delivery, no.refusal)
            return
        identity = received.identity
        if identity in self._answers:
            self.work.repeated += 1
        else:
            answer, final = await self._answer_to(received)
            if not final or _is_large(answer):  # a repeat may succeed later; many large answers are too much to hold
                await self._reply(received, answer)
                return
            self._answers[identity] = answer
            while len(self._answers) > REMEMBERED:
                self._answers.popitem(last=False)
        await self._reply(received, self._answers[identity])

    async def _answer_to(self, received: Received) -> tuple[Answer, bool]:
        """Return the answer to one message, and whether a repeat would be answered alike."""
        try:
            return await self._handover.hand_over(received), True
        except Refused as no:
            self.work.refused += 1
            if not isinstance(received.message, Request):  # nobody waits who could be told
                await self.bus.dead(received.delivery, no.refusal)
            return no.refusal, True
        except STOPS:
            raise
        except Fault as fault:
            self.work.failed += 1
            refusal = Refusal("B009", str(fault))
            told = quotable(received.delivery.subject, refusal)
            record(self.part.name, "handler_failed", subject=received.delivery.subject, detail=told)
            await self.bus.dead(received.delivery, refusal)
            return refusal, not fault.retry

    async def _refuse(self, delivery: Delivery, refusal: Refusal) -> None:
        self.work.refused += 1
        told = quotable(delivery.subject, refusal)
        record(self.part.name, "message_refused", subject=delivery.subject, code=refusal.code, detail=told)
        await self.bus.dead(delivery, refusal)
        if delivery.reply.startswith(INBOX):
            await self._guard(self.bus.answer(delivery, refusal, as_json=delivery.data[:1] == b"{"))

    async def _reply(self, received: Received, answer: Answer) -> None:
        if received.delivery.reply and isinstance(received.message, Request):
            refusal = Refusal("B012", f"{self.part.name} has no answer to this request")
            await self._guard(self.bus.answer(received.delivery, answer or refusal, as_json=received.as_json))

    async def _logged(self, verdict: Verdict) -> None:
        """Hand one judged log entry to the organ's handlers; Faults decide about redelivery in the bus."""
        self.meter.spending.received_bytes += len(verdict.entry.raw)
        try:
            await self._measured(self._handover.consume(verdict))
        except STOPS as error:
            self._break(error)
            await asyncio.get_running_loop().create_future()  # never settled: the entry comes back after the restart

    # Beating

    async def _beat(self) -> None:
        beat = 0
        while True:
            await self.world.sleep(self.beat_s)
            beat += 1
            if self.rest.resting:
                continue
            try:
                self._queue.put_nowait(Tick(self.part.name, self.world.boot, beat, now_ms(self.world)))
            except asyncio.QueueFull:
                self.work.dropped += 1

    async def _tick(self, tick: Tick) -> None:
        tick_id = derive_event_id(b"", self.part.name, f"tick {tick.boot}", tick.beat)
        received = Received(tick, tick_id, "", Delivery(tick.subject(self.bus.env), b""), as_json=False)
        await self._answer_to(received)

    async def _heartbeat(self) -> None:
        beat = 0
        while True:
            beat += 1
            self.meter.look(self.part.workers() if isinstance(self.part, Organ) else ())
            await self._guard(self.bus.emit(self.pulse(beat)))
            if self.rest.forgotten:
                self._turn(None)
            await self.world.sleep(HEARTBEAT_S)

    def pulse(self, beat: int) -> Heartbeat:
        """Return the part's heartbeat: what it did, lost and spent since it started."""
        w, dropped, used = self.work, self.work.dropped + self.bus.counters.dropped, self.measured
        return Heartbeat(
            self.part.name,
            self.part.version,
            self.world.boot,
            beat,
            w.handled,
            w.refused,
            w.failed,
            dropped,
            used.cpu_us,
            used.energy_uj,
            used.received_bytes,
            used.sent_bytes,
            used.elapsed_us,
            used.spent_ulf,
            self.rest.resting,
        )

    @property
    def measured(self) -> Measured:
        """What the part has used since it started."""
        return self.meter.read(self.bus.counters.sent_bytes)

    # Resting

    def _told(self, delivery: Delivery) -> None:
        """Hear whether there is lifeforce; what cannot be read says nothing."""
        try:
            self._turn(decode(LifeforceTold, delivery.data))
        except Refused:
            self.work.refused += 1

    def _turn(self, told: LifeforceTold | None) -> None:
        """Rest or wake as one is told; what was taken is finished, and the log waits."""
        if self.rest.hear(told):
            record(self.part.name, "part_rests" if self.rest.resting else "part_wakes", detail=self.rest.why)
            self._beside(self._guard(self._settle()))

    async def _settle(self) -> None:
        """Follow the log where the part is awake, and not where it rests."""
        async with self._turning:
            if self.rest.resting:
                await self._unfollow_log()
            elif not self._following and self._subscriptions:
                await self._follow_log()


def _is_large(answer: Answer) -> bool:
    return isinstance(answer, Reply) and answer.max_bytes > MAX_MESSAGE_BYTES


def stamp(part: Part) -> dict[str, str]:
    """Return what the headers of a part's messages say of it (NIM-03): version, kind, garden, and its kind's tier."""
    tier = str(TIERS[part.kind])
    return {"ce-version": part.version, "ce-kind": part.kind, "ce-garden": part.garden, "ce-tier": tier}


__all__ = ["HandlerFailed", "Received", "Runner", "Work"]
