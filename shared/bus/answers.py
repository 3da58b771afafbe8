"""One private inbox for all that is asked: each answer finds whoever waits by its token; many questions wait at once.

Every question ends: an answer, nobody who could answer, time that is over, or the error of whoever else knows of it (a
refusal of the server, a lost link).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

import msgspec
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeout
from nats.nuid import NUID

from shared.bus.fastlane import Hear, Steady
from shared.bus.lines import read_headers
from shared.bus.wire import Delivery
from shared.constant import constant

TOKEN_BYTES = constant(8, "bytes", "X-12")  #: whoever answered one question must not guess the token of another
NOBODY = "503"


def read_delivery(subject: bytes, reply: bytes, headers: bytes, data: bytes) -> Delivery:
    """Return what arrived, its headers still to be read; UNREADABLE where it is no text."""
    return Delivery(subject.decode(), data, read_headers(headers), reply.decode())


class _Asked(msgspec.Struct, frozen=True):
    """One question: the subjects that must not be refused, and until when it waits."""

    subjects: Sequence[str]
    answer: asyncio.Future[Delivery]
    end_s: float


class Answers:
    """What one client asked and is not answered yet."""

    def __init__(self, client: Steady) -> None:
        self.client = client
        self._prefix = ""  #: of every inbox, once they are subscribed
        self._asked: dict[bytes, _Asked] = {}  #: by inbox: what takes one answer
        self._hears: dict[bytes, Hear] = {}  #: by inbox: what takes many
        self._timer: asyncio.TimerHandle | None = None
        self._count = 0
        self._secret = bytes(NUID().next())  # a generator of its own, so that its prefix never travels

    async def ask(
        self, subjects: Sequence[str], data: bytes, headers: Mapping[str, str] | None, timeout_s: float
    ) -> asyncio.Future[Delivery]:
        """Ask on the last of `subjects` and return the answer to come.

        NoRespondersError or nats-py's TimeoutError is set where there will be none.
        """
        loop = asyncio.get_running_loop()
        inbox = await self._inbox()
        asked = _Asked(subjects, loop.create_future(), loop.time() + timeout_s)
        self._asked[inbox.encode()] = asked
        await self.client.send(subjects[-1], data, inbox, headers)
        if self._timer is None or asked.end_s < self._timer.when():
            self._set_timer(asked.end_s)
        return asked.answer

    async def hear(self, subject: str, data: bytes, hear: Hear) -> Callable[[], None]:
        """Ask what has many answers; `hear` is called with each until the function returned is called."""
        inbox = await self._inbox()
        key = inbox.encode()
        with ExitStack() as hearing:
            self._hears[key] = hear
            hearing.callback(self._hears.pop, key)
            await self.client.send(subject, data, inbox)
            return hearing.pop_all().close

    def waiting(self, subject: str | None = None) -> list[asyncio.Future[Delivery]]:
        """Return what is not answered yet: everything, or what needs a subject, named in lower case."""
        return [
            asked.answer
            for asked in self._asked.values()
            if subject is None or any(subject == one.lower() for one in asked.subjects)
        ]

    async def _inbox(self) -> str:
        """Return a fresh subject. What is asked on it goes out behind the subscription, which need not be awaited."""
        if not self._prefix:
            prefix = self.client.new_inbox() + "."
            await self.client.listen(prefix + "*", self._find)
            self._prefix = prefix
        self._count += 1
        token = hashlib.blake2s(self._count.to_bytes(8), key=self._secret, digest_size=TOKEN_BYTES)
        return self._prefix + token.hexdigest()

    def _find(self, inbox: bytes, reply: bytes, headers: bytes, data: bytes) -> None:
        asked = self._asked.pop(inbox, None)
        if asked is None:
            hear = self._hears.get(inbox)
            if hear is not None:  # else nobody waits any more
                hear(inbox, reply, headers, data)
            return
        delivery = read_delivery(inbox, reply, headers, data)
        if asked.answer.done():
            return
        if headers and delivery.headers.get("Status") == NOBODY:
            asked.answer.set_exception(NoRespondersError())
        else:
            asked.answer.set_result(delivery)

    def _set_timer(self, end_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(end_s, self._give_up)

    def _give_up(self) -> None:
        """End what waited its whole time, and forget what ended otherwise.

        One timer serves all: it is set anew only when it rings, or rings too late for somebody.
        """
        now_s, self._timer = asyncio.get_running_loop().time(), None
        for inbox, asked in [*self._asked.items()]:
            if asked.answer.done():
                del self._asked[inbox]
            elif asked.end_s <= now_s:
                del self._asked[inbox]
                asked.answer.set_exception(NatsTimeout())
        if self._asked:
            self._set_timer(min(asked.end_s for asked in self._asked.values()))
