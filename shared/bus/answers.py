"""One private inbox for all that is asked: each answer finds whoever waits by its token; many questions wait at once.

Every question ends: an answer, nobody who could answer, time that is over, or the error of whoever else knows of it (a
refusal of the server, a lost link).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping

from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeout
from nats.nuid import NUID

from shared.bus.fastlane import Hear, Steady, read_headers, read_subject
from shared.bus.wire import Delivery
from shared.constant import constant

TOKEN_BYTES = constant(8, "bytes", "X-12")  #: whoever answered one question must not guess the token of another
NOBODY = "503"


def read_delivery(subject: bytes, reply: bytes, headers: bytes, data: bytes) -> Delivery:
    """Return what arrived, its headers still to be read; Garbled where it is no text."""
    return Delivery(read_subject(subject), data, read_headers(headers), read_subject(reply))


class Answers:
    """What one client asked and is not answered yet."""

    def __init__(self, client: Steady) -> None:
        self.client = client
        self._prefix = ""  #: of the inbox, once it is subscribed
        self._hears: dict[bytes, Hear] = {}  #: by inbox
        self._ends: dict[asyncio.Future[Delivery], float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._asked = 0
        self._secret = bytes(NUID().next())  # a generator of its own, so that its prefix never travels

    async def ask(
        self, subject: str, data: bytes, headers: Mapping[str, str] | None, timeout_s: float
    ) -> asyncio.Future[Delivery]:
        """Send a question and return its answer to come; NoRespondersError or nats-py's TimeoutError is set instead."""
        answer: asyncio.Future[Delivery] = asyncio.get_running_loop().create_future()

        def hear(inbox: bytes, reply: bytes, headers: bytes, data: bytes) -> None:
            delivery = read_delivery(inbox, reply, headers, data)
            if answer.done():
                return
            if headers and delivery.headers.get("Status") == NOBODY:
                answer.set_exception(NoRespondersError())
            else:
                answer.set_result(delivery)

        close = await self.hear(subject, data, hear, headers)

        def end(_: object) -> None:
            close()
            self._ends.pop(answer, None)
            if not answer.cancelled():
                answer.exception()  # looked at: whoever waited may have given up

        answer.add_done_callback(end)
        self._end_at(answer, asyncio.get_running_loop().time() + timeout_s)
        return answer

    async def hear(
        self, subject: str, data: bytes, hear: Hear, headers: Mapping[str, str] | None = None
    ) -> Callable[[], object]:
        """Send a question whose answers, one or many, `hear` is called with, until the function returned is called."""
        if not self._prefix:
            await self._open()
        self._asked += 1
        token = hashlib.blake2s(self._asked.to_bytes(8), key=self._secret, digest_size=TOKEN_BYTES).hexdigest()
        inbox = self._prefix + token
        key = inbox.encode()
        self._hears[key] = hear
        try:
            await self.client.send(subject, data, inbox, headers)
        except BaseException:
            del self._hears[key]
            raise
        return lambda: self._hears.pop(key, None)

    async def _open(self) -> None:
        """Subscribe the inbox. What is asked meanwhile is sent behind the subscription, so it need not wait for it."""
        self._prefix = prefix = self.client.new_inbox() + "."
        try:
            await self.client.listen(prefix + "*", self._find)
        except BaseException:
            self._prefix = ""
            raise

    def _find(self, inbox: bytes, reply: bytes, headers: bytes, data: bytes) -> None:
        hear = self._hears.get(inbox)
        if hear is not None:  # else nobody waits any more
            hear(inbox, reply, headers, data)

    def _end_at(self, answer: asyncio.Future[Delivery], end_s: float) -> None:
        self._ends[answer] = end_s
        if self._timer is None or end_s < self._timer.when():
            self._set_timer(end_s)

    def _set_timer(self, end_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(end_s, self._give_up)

    def _give_up(self) -> None:
        """End what waited its whole time. One timer serves all: it is set anew only when it rings, or is too late."""
        now_s, self._timer = asyncio.get_running_loop().time(), None
        for answer in [answer for answer, end_s in self._ends.items() if end_s <= now_s]:
            del self._ends[answer]
            if not answer.done():
                answer.set_exception(NatsTimeout())
        if self._ends:
            self._set_timer(min(self._ends.values()))
