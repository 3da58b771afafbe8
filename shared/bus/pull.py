"""An overlapping pull of a durable JetStream consumer: explicit acks, and new pulls before the last one is empty.

nats-py's own `fetch` waits for a batch to end before it asks for the next, and its pull requests die on reconnect; here
the next request is sent while messages of the previous one still arrive, and a reconnect or a missed heartbeat asks
again. What one message costs is what its consumer does: no task, no timer and no write of its own.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from contextlib import suppress

from nats.errors import Error as NatsError

from shared.bus.answers import NOBODY
from shared.bus.fastlane import Ear, Steady
from shared.bus.lines import read_headers
from shared.bus.wire import Consumer, Outcome
from shared.constant import constant
from shared.log.entry import Entry

BATCH = constant(200, "messages", "X-07")
EXPIRES_S = constant(30, "s", "X-07")
ACKS = b"$JS.ACK."
IDLE_S = constant(2, "s", "X-07")
HAND_BACK_S = constant(2.0, "s", "X-07")
PROGRESS_S = constant(1.5, "s", "X-07")
SHORT_ACK_TOKENS, AT_DELIVERIES = 9, 4  #: one with a domain has two tokens more in front


Held = tuple[Entry, int, bytes]  #: an entry, how often it was delivered, and the subject that settles it


class Pull:
    """Receives one durable consumer's entries, one at a time, and settles each with its outcome."""

    def __init__(self, client: Steady, stream: str, durable: str, consumer: Consumer) -> None:
        self.client, self.stream, self.durable, self.consumer = client, stream, durable, consumer
        self.subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"
        self.unanswered = False  #: the newest answer was that nobody answers: there is no such consumer
        self._inbox = client.new_inbox()
        self._held: deque[Held] = deque()
        self._arrived = asyncio.Event()
        self._wanted = 0  #: messages asked for and not yet delivered
        self._silent_s = 0.0  #: since anything was heard
        self._ear: Ear | None = None
        self._task: asyncio.Task[None] | None = None
        self._beat: asyncio.TimerHandle | None = None
        self._working: Held | None = None  #: what the consumer has, not settled yet
        self._settled: list[tuple[bytes, bytes]] = []  #: until the loop's next turn, which sends them all at once

    async def start(self) -> None:
        """Subscribe the private inbox and ask for the first batch."""
        self._ear = await self.client.listen(self._inbox, self._receive)
        self._task = asyncio.get_running_loop().create_task(self._work())
        self._set_beat()
        self.again()

    def again(self) -> None:
        """Forget what was asked for (the server did) and ask anew."""
        self._wanted = 0
        self._ask()

    async def close(self) -> None:
        """Stop receiving and hand back what was delivered and not settled: it goes to whoever pulls next, at once.

        Without a link nothing can be handed back; the server delivers it again after the ack wait.
        """
        task, self._task = self._task, None
        if self._beat is not None:
            self._beat.cancel()
        if task is None:
            return
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if not self.client.is_connected or self._ear is None:
            return
        with suppress(NatsError, OSError, TimeoutError):
            async with asyncio.timeout(HAND_BACK_S):
                await self._ear.drain()  # first, or the server would deliver it here again
            for held in ([self._working] if self._working is not None else []) + list(self._held):
                self._settle(held, b"-NAK")
            self._send_settled()

    def _ask(self) -> None:
        if self._wanted > BATCH // 2 or not self.client.is_connected or self._task is None:
            return
        body = {"batch": BATCH, "expires": EXPIRES_S * 10**9, "idle_heartbeat": IDLE_S * 10**9}
        self._wanted += BATCH
        with suppress(NatsError):  # the link is down and what it may keep is full: it is asked again
            self.client.post(self.subject, json.dumps(body).encode(), self._inbox)

    def _receive(self, subject: bytes, reply: bytes, raw: bytes, data: bytes) -> None:
        self._silent_s = 0.0
        if reply.startswith(ACKS):  # a stored entry, whatever headers its writer gave it
            self.unanswered = False
            self._wanted -= 1
            held = _read(subject, reply, data)
            if not self._held:
                self._arrived.set()
            self._held.append(held)
            if self._wanted > BATCH // 2:
                return
        elif status := (headers := read_headers(raw)).get("Status"):
            self.unanswered = status == NOBODY
            if status != "100":  # 100 is a heartbeat; anything else ends a pull, delivered or not
                left = headers.get("Nats-Pending-Messages", "")
                self._wanted = max(0, self._wanted - int(left)) if left.isdecimal() else 0
                if status != "408":  # not merely expired: the consumer is gone or busy, the beat asks again later
                    return
        self._ask()

    def _set_beat(self) -> None:
        self._beat = asyncio.get_running_loop().call_later(PROGRESS_S, self._tell_and_look)

    def _tell_and_look(self) -> None:
        """Have the server wait on for work that is not over, so that the ack wait can be short; ask anew in silence.

        Silence is that neither a message nor a heartbeat came for three heartbeats.
        """
        self._set_beat()
        if self._working is not None:
            self._settle(self._working, b"+WPI")
        self._silent_s += PROGRESS_S
        if self._silent_s >= 3 * IDLE_S:
            self._silent_s = 0.0
            self.again()

    async def _work(self) -> None:
        waiting, consumer = self._held, self.consumer
        while True:
            if not waiting:
                self._arrived.clear()
                await self._arrived.wait()
            held = self._working = waiting.popleft()
            outcome = await consumer(held[0], held[1])
            self._working = None
            self._settle(held, b"+ACK" if outcome.kind == "ack" else _words(outcome))

    def _settle(self, held: Held, words: bytes) -> None:
        if not self._settled:
            asyncio.get_running_loop().call_soon(self._send_settled)
        self._settled.append((held[2], words))

    def _send_settled(self) -> None:
        settled, self._settled = self._settled, []
        self.client.post_all(settled)


def _words(outcome: Outcome) -> bytes:
    if outcome.kind == "term":
        return b"+TERM"
    return b"-NAK " + json.dumps({"delay": int(outcome.delay_s * 1e9)}).encode()


def _read(subject: bytes, reply: bytes, data: bytes) -> Held:
    """Read index, broker nanoseconds and delivery count from the acknowledgement subject, short or with a domain.

    UNREADABLE where it is not the server's: somebody else wrote into this inbox.
    """
    tokens = reply.split(b".")
    at = AT_DELIVERIES if len(tokens) == SHORT_ACK_TOKENS else AT_DELIVERIES + 2
    return Entry(int(tokens[at + 1]) - 1, subject.decode(), int(tokens[at + 3]), data), int(tokens[at]), reply
