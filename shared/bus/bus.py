"""The bus a part holds: typed signals and requests, durable consumption and dead letters beside the log.

Written once over any wire; what appends and replays is in ledger.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict

from shared.bus.bucket import Bucket
from shared.bus.confidential import is_confidential, quotable
from shared.bus.ledger import Context, Ledger
from shared.bus.wire import INBOX, Delivery, Outcome, Sink, Subscription, Wire
from shared.codec import decode, encode, encode_json
from shared.constant import constant
from shared.envelope import Verdict, rfc3339
from shared.envelope.envelope import Agent
from shared.errors import Fault, NotPermitted, Refusal, Refused, Unreachable
from shared.keys import RemoteSigner, Signer
from shared.log.entry import Entry
from shared.message import Message, Reply, Request, Signal, lane_of
from shared.subjects.system import DeadLetter
from shared.world import World, new_id, now_ms

REQUEST_TIMEOUT_S = constant(5.0, "s", "NIM-07")
DEAD_PER_SECOND = constant(50, "letters/s", "X-12")
DEAD_DATA_BYTES = constant(48_000, "bytes", "X-12")
DEAD_HEADER_BYTES = constant(3_000, "bytes", "X-12")
ERROR_CODE = "Nats-Service-Error-Code"
ERROR_TEXT = "Nats-Service-Error"


class Bus(Ledger):
    """One part's voice and ears: the log, and beside it signals, requests, dead letters."""

    def __init__(  # noqa: PLR0913, PLR0917 - who speaks, over what, with which keys: each is its own fact
        self,
        world: World,
        wire: Wire,
        part: str,
        version: str,
        signers: Sequence[Signer | RemoteSigner],
        agent: Agent = "SOVEREIGN",
    ) -> None:
        super().__init__(world, wire, part, version, signers, agent)
        self.stamp: Mapping[str, str] = {}  #: what a runner says of its part in every header
        self._confirmed: set[str] = set()
        self._scheduled: set[asyncio.Task[None]] = set()
        self._dead_second, self._dead_in_second = 0, 0

    # Signals and requests

    async def emit(
        self, message: Signal | Reply | Request, context: Context | None = None, message_id: bytes | None = None
    ) -> None:
        """Publish at most once. A lost link counts a drop; NotPermitted if the server refuses the subject.

        The first emission on a subject waits until the server has judged it, so that a refusal is never silence.
        """
        subject = message.subject(self.env)
        headers = self._headers(message, context or Context(), message_id or new_id(self.world))
        data = encode(message)
        try:
            await self.wire.publish(subject, data, headers)
            if subject not in self._confirmed:
                await self.wire.confirm(subject)
                self._confirmed.add(subject)
            self.counters.emitted += 1
            self.counters.sent_bytes += len(data)
        except NotPermitted:
            self._confirmed.discard(subject)
            raise
        except Unreachable:
            self.counters.dropped += 1

    async def request(
        self,
        request: Request,
        timeout_s: float = REQUEST_TIMEOUT_S,
        context: Context | None = None,
        *,
        message_id: bytes | None = None,
    ) -> Reply | Refusal:
        """Ask and return the declared reply or the typed refusal. Raises NotPermitted and Unreachable.

        Whoever asks again under the `message_id` of the first time is told what was decided then.
        """
        declared = type(request).reply
        assert declared is not None
        message_id = message_id or new_id(self.world)
        headers = self._headers(request, context or Context(), message_id)
        try:
            data = encode(request)
            self.counters.sent_bytes += len(data)
            answer = await self.wire.request(request.subject(self.env), data, headers, timeout_s)
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
        data = encode_json(reply) if as_json else encode(reply)
        await self.wire.publish(to.reply, data, headers)
        self.counters.sent_bytes += len(data)

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

    def bucket(self, name: str) -> Bucket:
        """Return a bucket of the environment, which the part names among its `buckets`."""
        return Bucket(self.wire, self.env, name)

    # Durable consumption

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
        """Send what nobody could use to the dead-letter subject, at most DEAD_PER_SECOND; the rest is counted.

        A confidential message is named, not kept.
        """
        second = int(self.world.elapsed_s())
        if second != self._dead_second:
            self._dead_second, self._dead_in_second = second, 0
        self._dead_in_second += 1
        self.counters.dead += 1
        if self._dead_in_second > DEAD_PER_SECOND:
            self.counters.dead_dropped += 1
            return
        data = b"" if is_confidential(delivery.subject) else delivery.data[:DEAD_DATA_BYTES]
        headers = _first_of(delivery.headers, DEAD_HEADER_BYTES)
        whole, detail = len(data) == len(delivery.data), quotable(delivery.subject, refusal)[:1000]
        letter = DeadLetter(self.part, delivery.subject, refusal.code, detail, data, whole, headers)
        try:
            await self.emit(letter)
        except (NotPermitted, Refused):
            self.counters.dead_dropped += 1

    async def redrive(self, letter: DeadLetter) -> None:
        """Publish a dead letter's message again where it first arrived.

        Refused B003 if it was too large to keep whole, R006 if it is a decision: the log holds it, and a copy is void.
        """
        if not letter.whole:
            raise Refused(Refusal("B003", "the dead letter holds only the beginning of its message, or nothing of it"))
        if lane_of(letter.original) is not None:
            raise Refused(Refusal("R006", f"{letter.original} stands in the log; its reader finds it there"))
        await self.wire.publish(letter.original, letter.data, letter.headers)
        await self.wire.confirm(letter.original)

    def health(self) -> dict[str, int]:
        """Return whether the link is up (1 or 0) and what this bus sent, lost, refused and dead-lettered so far."""
        return {"connected": int(self.wire.connected), **asdict(self.counters)}

    async def drain(self) -> None:
        """Wait for appends in flight, drop what is scheduled, and disconnect."""
        for task in self._scheduled:
            task.cancel()
        await self.settled()
        await self.wire.close()

    def _headers(self, message: Message, context: Context, message_id: bytes) -> dict[str, str]:
        headers = {
            "ce-id": message_id.hex(),
            "ce-source": self.part,
            "ce-specversion": "1.0",
            "ce-type": "nimmerverse." + type(message).template.replace("{", "").replace("}", ""),
            "ce-time": rfc3339(now_ms(self.world)),
            **self.stamp,
        }
        if context.correlation:
            headers["ce-correlation"] = context.correlation
        if context.cause:
            headers["ce-causation"] = context.cause.hex()
        return headers


def _first_of(headers: Mapping[str, str], size: int) -> dict[str, str]:
    """Return whole headers from the first on, as many as fit into `size` bytes."""
    kept: dict[str, str] = {}
    for name, value in headers.items():
        size -= len(name.encode()) + len(value.encode())
        if size < 0:
            break
        kept[name] = value
    return kept
