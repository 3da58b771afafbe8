"""The fast lane: messages of chosen subscriptions go from the socket to a plain function, their headers read on demand.

nats-py keeps what it is good at: connecting, authentication, TLS, pings, errors, reconnecting, and every message of a
subscription that nobody chose. Only its parser is replaced, by one that takes the lines a nats-server writes and leaves
all others, with whatever stands behind them, to nats-py's own. That leans on names which are nobody's promise, so the
lane opens for one version of nats-py alone; with any other, or `bus_fast_lane` off, the same subscriptions are served
by nats-py's parser and callbacks (docs/decisions/0033).

Lines that are taken, each with its payload and CRLF behind it; SID and sizes in digits, one space between the words:

    MSG SUBJECT SID [REPLY] BYTES
    HMSG SUBJECT SID [REPLY] HEADER-BYTES ALL-BYTES
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any

from nats.aio.client import Client, __version__
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import BadHeaderError, BadSubjectError, MaxPayloadError, OutboundBufferLimitError
from nats.errors import Error as NatsError
from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

from shared.constant import constant
from shared.journal import record

# pyright: reportPrivateUsage=false - this module alone looks inside nats-py, whose version is pinned

MADE_FOR = constant("2.16.0", "nats-py version", "X-07")
MAX_DIGITS = constant(10, "digits", "X-12")  #: a longer size is nothing that a server announces
LINE_END = b"\r\n"
PLAIN = b"NATS/1.0\r\n"  #: how headers begin that cannot be misread; a status stands in their first line instead
STATUS_AT = len("NATS/1.0 ")
STATUS_DIGITS = len("503")
NO_HEADERS: Mapping[str, str] = MappingProxyType({})
NO_SUBJECT = re.compile(r"[ \t\r\n]")
HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
NO_NEW_LINE = {ord("\r"): " ", ord("\n"): " "}
NO_HEADER: Any = None  #: what nats-py's parser says of a message without headers

Hear = Callable[[str, str, Mapping[str, str], bytes], None]
"""Called with subject, reply subject (empty when no answer is wanted), headers and data."""


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
    """Return `Name: value` lines as nats-py reads them: a name that is no token is skipped, the last of a name counts."""
    found: dict[str, str] = {}
    for line in raw.split(LINE_END):
        name, colon, value = line.partition(b":")
        key = name.strip()
        if colon and key.isascii() and not any(map(str.isspace, text := key.decode())):
            found[text] = value.strip().decode("utf-8", "replace")
    return found


def read_headers(raw: bytes) -> Mapping[str, str]:
    """Return a whole header block; UnicodeDecodeError or IndexError where its first line is no text or missing."""
    if raw.startswith(PLAIN):
        return Headers(raw)
    if not raw:
        return NO_HEADERS
    found: dict[str, str] = {}
    end = raw.find(LINE_END, STATUS_AT - 1)
    if raw[STATUS_AT - 1] == ord(" "):
        status = raw[STATUS_AT : STATUS_AT + STATUS_DIGITS].strip().decode()
        if status.isdigit():
            found["Status"] = status
        words = raw[STATUS_AT + STATUS_DIGITS + 1 : end].decode()
        if words:
            found["Description"] = words
    return found | read_lines(raw[end + len(LINE_END) :])


def frame(subject: str, data: bytes, reply: str = "", headers: Mapping[str, str] | None = None) -> bytes:
    """Return one message as the server reads it; what would be read as something else raises as nats-py does."""
    if not subject or NO_SUBJECT.search(subject) or NO_SUBJECT.search(reply):
        raise BadSubjectError
    if not headers:
        return b"PUB %b %b %d\r\n%b\r\n" % (subject.encode(), reply.encode(), len(data), data)
    lines = ["NATS/1.0"]
    for name, value in headers.items():
        key = name.strip()
        if key:
            if not HEADER_NAME.fullmatch(key):
                raise BadHeaderError(key)
            lines.append(f"{key}: {value.strip().translate(NO_NEW_LINE)}")
    head = ("\r\n".join(lines) + "\r\n\r\n").encode()
    sizes = len(head), len(head) + len(data)
    return b"HPUB %b %b %d %d\r\n%b%b\r\n" % (subject.encode(), reply.encode(), *sizes, head, data)


NO_NEW_LINE = {ord("\r"): " ", ord("\n"): " "}


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
            return Ear(self, await self.subscribe(pattern, queue, cb=_adapt(hear)))  # pyright: ignore[reportUnknownMemberType] - untyped in nats-py
        sid = b"%d" % (self._sid + 1)  # known before the server can answer
        self.chosen[sid] = hear
        try:
            return Ear(self, await self.subscribe(pattern, queue))  # pyright: ignore[reportUnknownMemberType] - untyped in nats-py
        except BaseException:
            del self.chosen[sid]
            raise

    def forget(self, subscription: Subscription) -> None:
        """Hand over nothing more of a subscription."""
        self.chosen.pop(b"%d" % subscription._id, None)

    def post(self, subject: str, data: bytes, reply: str = "", headers: Mapping[str, str] | None = None) -> None:
        """Send at the loop's next turn, together with all that is sent until then; what cannot be sent is lost.

        Raises what nats-py's `publish` raises where the message itself cannot be sent.
        """
        if not self.fast:
            task = asyncio.get_running_loop().create_task(self._say(subject, data, reply, headers))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)
            return
        if len(data) > self._max_payload:
            raise MaxPayloadError
        if not self.is_connected and self._pending_data_size + len(data) > self._max_pending_size:
            raise OutboundBufferLimitError
        sent = frame(subject, data, reply, headers)
        self.stats["out_msgs"] += 1
        self.stats["out_bytes"] += len(data)
        self._pending.append(sent)
        self._pending_data_size += len(sent)
        if self._flush_queue.empty() and self.is_connected:
            self._flush_queue.put_nowait(asyncio.get_running_loop().create_future())

    async def send(self, subject: str, data: bytes, reply: str = "", headers: Mapping[str, str] | None = None) -> None:
        """Send as `publish` of nats-py does, which waits where the server is slower than whoever sends."""
        if not self.fast:
            await self.publish(subject, data, reply, dict(headers) if headers else None)
            return
        self.post(subject, data, reply, headers)
        if self._pending_data_size > self._max_pending_size:
            await self._flush_pending(force_flush=True)

    async def _say(self, subject: str, data: bytes, reply: str, headers: Mapping[str, str] | None) -> None:
        with suppress(NatsError):
            await self.publish(subject, data, reply, dict(headers) if headers else None)

    def deliver(self, hear: Hear, subject: bytes, reply: bytes, headers: bytes, data: bytes) -> Exception | None:
        """Hand one message over, or count it as garbled; what `hear` raised is returned."""
        self.stats["in_msgs"] += 1
        self.stats["in_bytes"] += len(data)
        try:
            seen = read_headers(headers) if headers else NO_HEADERS
            words = subject.decode(), reply.decode()
        except (UnicodeDecodeError, IndexError):
            self._count_garbled(data)
            return None
        try:
            hear(*words, seen, data)
        except Exception as error:  # noqa: BLE001 - as nats-py does: told to the error callback, and the next one is heard
            return error
        return None

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        hear = self.chosen.get(b"%d" % sid)
        if hear is not None:  # behind something that nats-py's own parser had to read
            if (error := self.deliver(hear, subject, reply, headers or b"", data)) is not None:
                await self._error_cb(error)
            return
        try:
            await super()._process_msg(sid, subject, reply, data, headers)
        except (ValueError, LookupError, TypeError, AttributeError):
            self._count_garbled(data)

    def _count_garbled(self, data: bytes) -> None:
        self.garbled += 1
        record("bus", "message_garbled", bytes=len(data))


def _adapt(hear: Hear) -> Callable[[Msg], Coroutine[Any, Any, None]]:
    async def receive(message: Msg) -> None:
        hear(message.subject, message.reply, message.headers or NO_HEADERS, message.data)

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
        super().__init__(client)

    def reset(self) -> None:
        """Forget what arrived: the link is another one."""
        super().reset()
        self.turn += 1
        self.held = bytearray()  #: the beginning of a message whose rest is under way
        self.missing_until = 0  #: how long `held` must be before it is worth a look

    async def parse(self, data: bytes = b"") -> None:
        """Take what the server sent, however it was cut."""
        if self.buf or self.state != AWAITING_CONTROL_LINE:  # nats-py's own parser is in the middle of something
            await super().parse(data)
            return
        if self.held:
            self.held += data
            if len(self.held) < self.missing_until:
                return
            data, self.held = bytes(self.held), bytearray()
        turn, at = self.turn, 0
        chosen, deliver, find = self.client.chosen, self.client.deliver, data.find
        while at < len(data):
            line_end = find(LINE_END, at)
            if line_end < 0:
                break
            words = _message_line(data[at:line_end])
            if words is None:
                await super().parse(data[at:])
                return
            sid, subject, reply, header_bytes, size = words
            begin = line_end + len(LINE_END)
            end = begin + size
            if len(data) < end + len(LINE_END):
                self.held, self.missing_until = bytearray(data[at:]), end + len(LINE_END) - at
                return
            middle, at = begin + header_bytes, end + len(LINE_END)
            hear = chosen.get(sid)
            if hear is None:
                await self.client._process_msg(
                    int(sid), subject, reply, data[middle:end], data[begin:middle] or NO_HEADER
                )
            elif (error := deliver(hear, subject, reply, data[begin:middle], data[middle:end])) is not None:
                await self.client._error_cb(error)
            else:
                continue
            if turn != self.turn:
                return  # while that was waited for, the link began anew
        self.held, self.missing_until = bytearray(data[at:]), 0


def _message_line(line: bytes) -> tuple[bytes, bytes, bytes, int, int] | None:
    """Return SID, subject, reply, header and all bytes of a line as a server writes it; None for every other line."""
    words = line.split()
    count = len(words)
    if count < 4 or words[0] not in HEADER_WORDS or b" ".join(words) != line:
        return None
    headed = HEADER_WORDS[words[0]]
    reply = words[3] if count - headed == 5 else b""
    size, sid = words[-1], words[2]
    if count - headed not in (4, 5) or not (size.isdigit() and sid.isdigit()) or max(len(size), len(sid)) > MAX_DIGITS:
        return None
    if not headed:
        return sid, words[1], reply, 0, int(size)
    header = words[-2]
    if not header.isdigit() or len(header) > MAX_DIGITS or not 0 < int(header) <= int(size):
        return None
    return sid, words[1], reply, int(header), int(size)


HEADER_WORDS = {b"MSG": 0, b"HMSG": 1}
