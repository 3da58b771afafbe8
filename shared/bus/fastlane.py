"""The fast lane: messages of chosen subscriptions go from the socket to a plain function, their headers read on demand.

nats-py keeps what it is good at: connecting, authentication, TLS, pings, errors, reconnecting, and every message of a
subscription that nobody chose. Only its parser is replaced, by one that takes the lines a nats-server writes and leaves
all others, with whatever stands behind them, to nats-py's own. That leans on names which are nobody's promise, so the
lane opens for one version of nats-py alone; with any other, or `bus_fast_lane` off, the same subscriptions are served
by nats-py's parser and callbacks (docs/decisions/0034).

Lines that are taken, each with its payload and CRLF behind it; SID and sizes in digits, one space between the words:

    MSG SUBJECT SID [REPLY] BYTES
    HMSG SUBJECT SID [REPLY] HEADER-BYTES ALL-BYTES
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any, cast

from nats.aio.client import PING_PROTO, Client, Srv, __version__
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.errors import MaxPayloadError, OutboundBufferLimitError
from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

from shared.bus.lines import LINE_END, PLAIN, UNREADABLE, frame
from shared.constant import constant
from shared.journal import record

# This module alone looks inside nats-py, whose version is pinned.
# pyright: reportPrivateUsage=false

MADE_FOR = constant("2.16.0", "nats-py version", "X-07")
MAX_DIGITS = constant(10, "digits", "X-12")  #: a longer number is nothing that a server announces
NO_HEADER: Any = None  #: what nats-py's parser says of a message without headers

Hear = Callable[[bytes, bytes, bytes, bytes], None]
"""Called with subject, reply subject (empty when no answer is wanted), header block and data, all as they arrived.

It raises nothing but UNREADABLE."""


HEADED = {b"MSG": False, b"HMSG": True}
SID, PLAIN_WORDS = 2, 4  #: which word of a line is the subscription's number; how many words there are without a reply
PLAIN_LINE = re.compile(rb"MSG (\S+) (\d{1,10}) (?:(\S+) )?()(\d{1,10})\r\n")
HEADED_LINE = re.compile(rb"HMSG (\S+) (\d{1,10}) (?:(\S+) )?(\d{1,10}) (\d{1,10})\r\n")
OTHER_LINE = re.compile(rb"(?:PING|PONG|\+OK|-ERR '.+'|INFO [^\r\n]+)\r\n")


class Ear:
    """One subscription of a client, until it is closed."""

    def __init__(self, client: Steady, subscription: Subscription) -> None:
        self._client, self._subscription = client, subscription

    async def hush(self) -> None:
        """Have the server send nothing more; what it sent before is heard until `close`."""
        if self._client.is_connected:
            with suppress(NatsError, OSError):  # the link is going: nothing is sent either way
                await self._client._send_unsubscribe(self._subscription._id)  # noqa: SLF001 - as everywhere here

    async def heard(self) -> None:
        """Wait until all that has arrived is heard."""
        await self._subscription._pending_queue.join()  # noqa: SLF001 - as everywhere here

    async def close(self) -> None:
        """Hear nothing more, from now on."""
        self._client.forget(self._subscription)
        with suppress(NatsError):  # closed before, or the link is gone: nothing is received either way
            await self._subscription.unsubscribe()

    async def drain(self) -> None:
        """Have the server send nothing more, and hear all that it sent before."""
        try:
            await self._subscription.drain()
        finally:
            self._client.forget(self._subscription)


class Steady(Client):
    """nats-py's client with a fast lane, and steadier: a message that it cannot read is counted and dropped.

    Its own read loop ends with the first such message (bytes that are no text, headers that are none), and whoever may
    name a reply subject can send one.
    """

    def __init__(self, *, fast: bool = True) -> None:
        super().__init__()
        self.garbled = 0  #: messages that nobody could read
        self.chosen: dict[bytes, Hear] = {}  #: by the subscription's number, as it stands in a line
        self.fast = fast and _is_known()
        self._sending: set[asyncio.Task[None]] = set()
        if self.fast:
            self._ps = FastLane(self)

    async def listen(self, pattern: str, hear: Hear, queue: str = "") -> Ear:
        """Subscribe; `hear` is called from the read loop itself, so it must be quick and wait for nothing."""
        if not self.fast:
            return Ear(self, await self.subscribe(pattern, queue, cb=_adapt(self, hear)))  # pyright: ignore[reportUnknownMemberType] - untyped in nats-py
        sid = b"%d" % (self._sid + 1)  # known before the server can answer
        with ExitStack() as choosing:
            self.chosen[sid] = hear
            choosing.callback(self.chosen.pop, sid)
            ear = Ear(self, await self.subscribe(pattern, queue))  # pyright: ignore[reportUnknownMemberType] - untyped in nats-py
            choosing.pop_all()
        return ear

    def forget(self, subscription: Subscription) -> None:
        """Hand over nothing more of a subscription."""
        self.chosen.pop(b"%d" % subscription._id, None)  # noqa: SLF001 - as everywhere here

    def post(self, subject: str, data: bytes, reply: str = "", headers: Mapping[str, str] | None = None) -> None:
        """Send at the loop's next turn, together with all that is sent until then; what cannot be sent is lost.

        Raises what nats-py's `publish` raises where the message itself cannot be sent.
        """
        if not self.fast:
            self._say(subject, data, reply, headers)
            return
        if len(data) > self._max_payload:
            raise MaxPayloadError
        if not self.is_connected and self._pending_data_size + len(data) > self._max_pending_size:
            raise OutboundBufferLimitError
        sent = frame(subject, data, reply, headers)
        self.stats["out_msgs"] += 1
        self.stats["out_bytes"] += len(data)
        self._write(sent)

    def post_all(self, answers: Sequence[tuple[bytes, bytes]]) -> None:
        """Send short answers to the reply subjects that the server named, in one write."""
        if not self.fast:
            for subject, data in answers:
                self._say(subject.decode(), data)
            return
        self.stats["out_msgs"] += len(answers)
        self._write(b"".join([b"PUB %b %d\r\n%b\r\n" % (subject, len(data), data) for subject, data in answers]))

    def _write(self, sent: bytes) -> None:
        self._pending.append(sent)
        self._pending_data_size += len(sent)
        queue = self._flush_queue
        if queue is not None and queue.empty() and self.is_connected:
            queue.put_nowait(asyncio.get_running_loop().create_future())

    async def send(self, subject: str, data: bytes, reply: str = "", headers: Mapping[str, str] | None = None) -> None:
        """Send as `publish` of nats-py does, which waits where the server is slower than whoever sends."""
        if not self.fast:
            await self.publish(subject, data, reply, dict(headers) if headers else None)
            return
        self.post(subject, data, reply, headers)
        if self._pending_data_size > self._max_pending_size:
            await self._flush_pending(force_flush=True)

    def _say(self, subject: str, data: bytes, reply: str = "", headers: Mapping[str, str] | None = None) -> None:
        async def say() -> None:
            with suppress(NatsError):
                await self.publish(subject, data, reply, dict(headers) if headers else None)

        task = asyncio.get_running_loop().create_task(say())
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _connect_to_server(self, s: Srv) -> None:
        """Connect, after closing a connection that failed once it was open, as those to a relay without a server do.

        Where `asyncio.wait_for` told of the last refusal in place of a cancellation, that one is raised now.
        """
        task = self._reconnection_task
        if task is not None and task is asyncio.current_task() and task.cancelling():
            raise asyncio.CancelledError
        if self._transport is not None:
            self._transport.close()
        await super()._connect_to_server(s)

    async def _close(self, status: int, do_cbs: bool = True) -> None:  # noqa: FBT001, FBT002 - as in nats-py
        """Close in order though what reconnects was cancelled while it waited for the same connection's end.

        That raises CancelledError in every other task that waits for it, whether anybody cancelled that one or not.
        """
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        cancelled = task.cancelling()
        try:
            await super()._close(status, do_cbs)
        except asyncio.CancelledError:
            if task.cancelling() > cancelled:
                raise
            if do_cbs and self._disconnected_cb is not None:
                await self._disconnected_cb()

    async def _send_ping(self, future: asyncio.Future[Any] | None = None) -> None:
        """Ping behind all that was said: nats-py's own ping overtakes what waits to be sent, and so does its pong."""
        if not self.is_connected:
            await super()._send_ping(future)  # pyright: ignore[reportUnknownMemberType] - untyped in nats-py
            return
        self._pongs.append(asyncio.Future() if future is None else future)  # pyright: ignore[reportUnknownMemberType] - untyped in nats-py
        await self._send_command(PING_PROTO)
        await self._flush_pending()

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        hear = self.chosen.get(b"%d" % sid)
        try:
            if hear is not None:  # behind something that nats-py's own parser had to read
                hear(subject, reply, headers or b"", data)
            else:
                await super()._process_msg(sid, subject, reply, data, headers)
        except UNREADABLE:
            self.count_garbled(len(data))

    def count_garbled(self, size: int) -> None:
        """Note a message that nobody could read."""
        self.garbled += 1
        record("bus", "message_garbled", bytes=size)


def _adapt(client: Steady, hear: Hear) -> Callable[[Msg], Coroutine[Any, Any, None]]:
    async def receive(message: Msg) -> None:
        lines = [f"{name}: {value}\r\n" for name, value in (message.headers or {}).items()]
        headers = PLAIN + "".join(lines).encode() + LINE_END if lines else b""
        try:
            hear(message.subject.encode(), message.reply.encode(), headers, message.data)
        except UNREADABLE:
            client.count_garbled(len(message.data))

    return receive


def _is_known() -> bool:
    if __version__ != MADE_FOR:
        record("bus", "fast_lane_off", found=__version__, expected=MADE_FOR)
    return __version__ == MADE_FOR


class FastLane(Parser):
    """nats-py's parser, but the messages of chosen subscriptions are handed over at once."""

    def __init__(self, client: Steady) -> None:
        self.client = client
        self.turn = 0  #: how often the link began anew
        super().__init__(client)  # pyright: ignore[reportUnknownMemberType] - untyped in nats-py

    def reset(self) -> None:
        """Forget what arrived: the link is another one."""
        super().reset()
        self.turn += 1
        self.held = bytearray()  #: the beginning of a message whose rest is under way
        self.whole = 0  #: how long `held` must be before it is worth a look

    async def parse(self, data: bytes = b"") -> None:
        """Take what the server sent, however it was cut."""
        if self.held:
            self.held += data
            if len(self.held) < self.whole:
                return
            data, self.held = bytes(self.held), bytearray()
        turn, at = self.turn, 0
        while not self.buf and self.state == AWAITING_CONTROL_LINE:
            left = self._take(data, at)
            at = await self._leave(data, left)
            if turn != self.turn:
                return  # while that was waited for, the link began anew
            if at == left:
                self.held = bytearray(data[at:])
                return
        await super().parse(data[at:])  # nats-py's own parser is in the middle of something

    def _take(self, data: bytes, at: int) -> int:
        """Hand over chosen messages, one after the other, and return where the first thing stands that is none."""
        client, chosen, find = self.client, self.client.chosen, data.find
        messages, received = 0, 0
        while (line_end := find(LINE_END, at)) >= 0:
            line = data[at:line_end]
            words = line.split()
            count = len(words)
            hear = chosen.get(words[SID]) if count > SID else None
            if hear is None or (headed := HEADED.get(words[0])) is None or b" ".join(words) != line:
                break
            size = words[-1]
            if not size.isdigit() or len(size) > MAX_DIGITS:
                break
            begin = middle = line_end + 2
            end = begin + int(size)
            if len(data) < end + 2:
                break
            if headed:
                head, count = words[-2], count - 1
                if not head.isdigit() or len(head) > MAX_DIGITS or not begin < (middle := begin + int(head)) <= end:
                    break
            if not PLAIN_WORDS <= count <= PLAIN_WORDS + 1:
                break
            try:
                hear(words[1], words[3] if count > PLAIN_WORDS else b"", data[begin:middle], data[middle:end])
            except UNREADABLE:
                client.count_garbled(end - middle)
            messages, received, at = messages + 1, received + end - middle, end + 2
        client.stats["in_msgs"] += messages
        client.stats["in_bytes"] += received
        return at

    async def _leave(self, data: bytes, at: int) -> int:
        """Leave to nats-py what stands here, once it is whole, and return where that ends; `at` where it is not whole.

        A message is left as it is, another line of a server alone, and with what no server writes all that follows.
        """
        self.whole = 0
        line_end = data.find(LINE_END, at)
        if line_end < 0:
            return at
        found = PLAIN_LINE.match(data, at, line_end + 2) or HEADED_LINE.match(data, at, line_end + 2)
        if found is None:
            end = line_end + 2 if OTHER_LINE.match(data, at, line_end + 2) else len(data)
            await super().parse(data[at:end])
            return end
        subject, sid, reply, head, size = found.groups()
        begin, end = found.end(), found.end() + int(size)
        if len(data) < end + 2:
            self.whole = end + 2 - at
            return at
        middle = begin + int(head or b"0")
        if head and not begin < middle <= end:
            await super().parse(data[at:])
            return len(data)
        headers = data[begin:middle] or NO_HEADER
        await self.client._process_msg(int(sid), subject, reply or b"", data[middle:end], headers)  # noqa: SLF001 - as above
        return end + 2
