"""An overlapping pull of a durable JetStream consumer: explicit acks, and new pulls before the last one is empty.

nats-py's own `fetch` waits for a batch to end before it asks for the next, and its pull requests die on reconnect; here
the next request is sent while messages of the previous one still arrive, and a reconnect or a missed heartbeat asks
again.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from shared.bus.wire import Consumer, Outcome
from shared.constant import constant
from shared.log.entry import Entry

BATCH = constant(200, "messages", "X-07")
EXPIRES_S = constant(30, "s", "X-07")
ACKS = "$JS.ACK."
IDLE_S = constant(2, "s", "X-07")
HAND_BACK_S = constant(2.0, "s", "X-07")
PROGRESS_S = constant(1.5, "s", "X-07")
NOBODY = "503"
SHORT_ACK_TOKENS = 9


class Pull:
    """Receives one durable consumer's entries, one at a time, and settles each with its outcome."""

    def __init__(self, client: Client, stream: str, durable: str, consumer: Consumer) -> None:
        self.client, self.stream, self.durable, self.consumer = client, stream, durable, consumer
        self.subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"
        self.unanswered = False  #: the newest answer was that nobody answers: there is no such consumer
        self._inbox = client.new_inbox()
        self._queue: asyncio.Queue[Msg] = asyncio.Queue()
        self._wanted = 0  #: messages asked for and not yet delivered
        self._heard = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._working: Msg | None = None  #: what the consumer has, not settled yet
        self._drain = client.flush

    async def start(self) -> None:
        """Subscribe the private inbox and ask for the first batch."""
        subscription = await self.client.subscribe(self._inbox, cb=self._receive)  # pyright: ignore[reportUnknownMemberType] - untyped in nats-py
        self._drain = subscription.drain
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._work()), loop.create_task(self._watch())]
        await self.again()

    async def again(self) -> None:
        """Forget what was asked for (the server did) and ask anew."""
        self._wanted = 0
        await self._ask()

    async def close(self) -> None:
        """Stop receiving and hand back what was delivered and not settled: it goes to whoever pulls next, at once.

        Without a link nothing can be handed back; the server delivers it again after the ack wait.
        """
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if not tasks or not self.client.is_connected:
            return
        with suppress(NatsError, OSError, TimeoutError):
            async with asyncio.timeout(HAND_BACK_S):
                await self._drain()  # first, or the server would deliver it here again
            held = [self._working] if self._working is not None else []
            while not self._queue.empty():
                held.append(self._queue.get_nowait())
            for message in held:
                await self.client.publish(message.reply, b"-NAK")

    async def _ask(self) -> None:
        if self._wanted > BATCH // 2 or not self.client.is_connected or not self._tasks:
            return
        body = {"batch": BATCH, "expires": EXPIRES_S * 10**9, "idle_heartbeat": IDLE_S * 10**9}
        self._wanted += BATCH
        await self.client.publish(self.subject, json.dumps(body).encode(), self._inbox)

    async def _receive(self, message: Msg) -> None:
        self._heard.set()
        stored = message.reply.startswith(ACKS)  # a stored entry, whatever headers its writer gave it
        status = None if stored else (message.headers or {}).get("Status")
        self.unanswered = status == NOBODY
        if status is None:
            self._wanted -= 1
            self._queue.put_nowait(message)
        elif status != "100":  # 100 is a heartbeat; anything else ends a pull, delivered or not
            left = (message.headers or {}).get("Nats-Pending-Messages")
            self._wanted = max(0, self._wanted - int(left)) if left else 0
            if status != "408":  # not merely expired: the consumer is gone or busy, the watchdog asks again later
                return
        await self._ask()

    async def _watch(self) -> None:
        """Ask again when neither a message nor a heartbeat came for three heartbeats."""
        while True:
            self._heard.clear()
            try:
                async with asyncio.timeout(3 * IDLE_S):
                    await self._heard.wait()
            except TimeoutError:
                try:
                    await self.again()
                except NatsError:
                    continue  # the link is down: the reconnect asks again

    async def _work(self) -> None:
        while True:
            message = self._working = await self._queue.get()
            entry, deliveries = _read_ack(message)
            over = asyncio.Event()
            progress = asyncio.get_running_loop().create_task(self._tell_progress(message, over))
            try:
                outcome = await self.consumer(entry, deliveries)
            finally:
                over.set()
                await progress
            try:
                await self.client.publish(message.reply, _settle(outcome))
            except NatsError:
                continue  # not settled: the server delivers it again
            finally:
                self._working = None

    async def _tell_progress(self, message: Msg, over: asyncio.Event) -> None:
        """Ask the server to wait on until the consumer's work is over, so that the ack wait can be short."""
        while True:
            try:
                async with asyncio.timeout(PROGRESS_S):
                    await over.wait()
                    return
            except TimeoutError:
                with suppress(NatsError):
                    await self.client.publish(message.reply, b"+WPI")


def _settle(outcome: Outcome) -> bytes:
    if outcome.kind == "ack":
        return b"+ACK"
    if outcome.kind == "term":
        return b"+TERM"
    return b"-NAK " + json.dumps({"delay": int(outcome.delay_s * 1e9)}).encode()


def _read_ack(message: Msg) -> tuple[Entry, int]:
    """Read index, broker nanoseconds and delivery count from the acknowledgement subject, short or with a domain."""
    tokens = message.reply.split(".")
    delivered, sequence, _, stamp = tokens[4:8] if len(tokens) == SHORT_ACK_TOKENS else tokens[6:10]
    return Entry(int(sequence) - 1, message.subject, int(stamp), message.data), int(delivered)
