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
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from nats.aio.client import PING_PROTO, Client, Srv, __version__
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import BadHeaderError, BadSubjectError, MaxPayloadError, OutboundBufferLimitError
from nats.errors import Error as NatsError
from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

from shared.constant import constant
from shared.journal import record

# This module alone looks inside nats-py, whose version is pinned.
# pyright: reportPrivateUsage=false

MADE_FOR = constant("2.16.0", "nats-py version", "X-07")
MAX_DIGITS = constant(10, "digits", "X-12")  #: a longer number is nothing that a server announces
LINE_END = b"\r\n"
PLAIN = b"NATS/1.0\r\n"  #: how headers begin that cannot be misread; a status stands in their first line instead
STATUS_AT = len("NATS/1.0 ")
STATUS_DIGITS = len("503")
NO_HEADERS: Mapping[str, str] = MappingProxyType({})
NO_SUBJECT = re.compile(r"[ \t\r\n]")
HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
NO_NEW_LINE = {ord("\r"): " ", ord("\n"): " "}
NO_HEADER: Any = None  #: what nats-py's parser says of a message without headers

Hear = Callable[[bytes, bytes, bytes, bytes], None]
"""Called with subject, reply subject (empty when no answer is wanted), header block and data, all as they arrived."""


class Garbled(Exception):
    """What arrived is no text where it should be: whoever hears it drops it so, and it is counted."""


class Headers(Mapping[str, str]):
    """A message's headers, read when somebody looks at them."""

    __slots__ = ("_read", "raw")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self._read: dict[str, str] | None = None

    def _all(self) -> dict[str, str]:
        if self._read is None:
            self._read = read_lines(self.raw[len(PLAIN) :])
        return self._read

    def __getitem__(self, name: str) -> str:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __repr__(self) -> str:
        return repr(self._all())


def read_lines(raw: bytes) -> dict[str, str]:
    """Return `Name: value` lines as nats-py reads them: what is no name is skipped, the last of a name counts."""
    found: dict[str, str] = {}
    for line in raw.split(LINE_END):
        name, colon, value = line.partition(b":")
        key = name.strip()
        if colon and key.isascii() and not any(map(str.isspace, text := key.decode())):
            found[text] = value.strip().decode("utf-8", "replace")
    return found


def read_headers(raw: bytes) -> Mapping[str, str]:
    """Return a whole header block; Garbled where its first line is no text or missing."""
    if raw.startswith(PLAIN):
        return Headers(raw)
    if not raw:
        return NO_HEADERS
    found: dict[str, str] = {}
    end = raw.find(LINE_END, STATUS_AT - 1)
    try:
        if raw[STATUS_AT - 1] == ord(" "):
            status = raw[STATUS_AT : STATUS_AT + STATUS_DIGITS].strip().decode()
            if status.isdigit():
                found["Status"] = status
            words = raw[STATUS_AT + STATUS_DIGITS + 1 : end].decode()
            if words:
                found["Description"] = words
    except (UnicodeDecodeError, IndexError):
        raise Garbled from None
    return found | read_lines(raw[end + len(LINE_END) :])


def read_subject(raw: bytes) -> str:
    """Return a subject as text; Garbled where it is none."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise Garbled from None


def frame(subject: str, data: bytes, reply: str = "", headers: Mapping[str, str] | None = None) -> bytes:
    """Return one message as the server reads it; what would be read as something else raises as nats-py does."""
    if not subject or NO_SUBJECT.search(subject) or NO_SUBJECT.search(reply):
        raise BadSubjectError
    if not headers:
        return b"PUB %b %b %d\r\n%b\r\n" % (subject.encode(), reply.encode(), len(data), data)
    head = "".join([*map(_header, headers.items())])
    block = f"NATS/1.0\r\n{head}\r\n".encode()
    sizes = len(block), len(block) + len(data)
    return b"HPUB %b %b %d %d\r\n%b%b\r\n" % (subject.encode(), reply.encode(), *sizes, block, data)


def _header(named: tuple[str, str]) -> str:
    name, value = named[0].strip(), named[1].strip()
    if not name:
        return ""
    if not _is_name(name):
        raise BadHeaderError(name)
    return f"{name}: {value if value.isprintable() else value.translate(NO_NEW_LINE)}\r\n"


@lru_cache(maxsize=256)
def _is_name(name: str) -> bool:
    return HEADER_NAME.fullmatch(name) is not None


HEADED = {b"MSG": False, b"HMSG": True}
SID, PLAIN_WORDS = 2, 4  #: which word of a line is the subscription's number; how many words there are without a reply
PLAIN_LINE = re.compile(rb"MSG (\S+) (\d{1,10}) (?:(\S+) )?()(\d{1,10})\r\n")
HEADED_LINE = re.compile(rb"HMSG (\S+) (\d{1,10}) (?:(\S+) )?(\d{1,10}) (\d{1,10})\r\n")
OTHER_LINE = re.compile(rb"(?:PING|PONG|\+OK|-ERR '.+'|INFO [^\r\n]+)\r\n")


class Ear:
    """One subscription of a client, until it is closed."""

    def __init__(self, client: Steady, subscription: Subscription) -> None:
        self._client, self._subscription = client, subscription

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
        self.chosen[sid] = hear
        try:
            return Ear(self, await self.subscribe(pattern, queue))  # pyright: ignore[reportUnknownMemberType] - untyped in nats-py
        except BaseException:
            del self.chosen[sid]
            raise

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
        """Connect, after closing a connection that failed once it was open, as those to a relay without a server do."""
        if self._transport is not None:
            self._transport.close()
        await super()._connect_to_server(s)

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
        if hear is not None:  # behind something that nats-py's own parser had to read
            try:
                hear(subject, reply, headers or b"", data)
            except Garbled:
                self.count_garbled(len(data))
            except Exception as error:  # noqa: BLE001 - as in the lane
                await self._error_cb(error)
            return
        try:
            await super()._process_msg(sid, subject, reply, data, headers)
        except (ValueError, LookupError, TypeError, AttributeError):
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
        except Garbled:
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
        turn, at, failed = self.turn, 0, list[Exception]()
        while not self.buf and self.state == AWAITING_CONTROL_LINE:
            at = self._take(data, at, failed)
            for error in failed:
                await self.client._error_cb(error)  # noqa: SLF001 - as everywhere here
            failed.clear()
            left = at
            if turn == self.turn:
                at = await self._leave(data, at)
            if turn != self.turn:
                return  # while that was waited for, the link began anew
            if at == left:
                self.held = bytearray(data[at:])
                return
        await super().parse(data[at:])  # nats-py's own parser is in the middle of something

    def _take(self, data: bytes, at: int, failed: list[Exception]) -> int:
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
            except Garbled:
                client.count_garbled(end - middle)
            except Exception as error:  # noqa: BLE001 - as nats-py: the error callback is told, and the next is heard
                failed.append(error)
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
