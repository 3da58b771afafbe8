"""The fast lane beside nats-py's own parser: the same bytes, however they are cut, become the same calls."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Coroutine
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from nats.errors import Error as NatsError
from nats.protocol.parser import Parser

from shared.bus import Delivery, fastlane
from shared.bus.answers import read_delivery
from shared.bus.fastlane import FastLane, Hear, Steady
from shared.bus.lines import UNREADABLE, Headers, frame, read_headers

CHOSEN = (b"1", b"2", b"17")
TALE = list[tuple[object, ...]]


class Told(Steady):
    """A client without a link that tells what its parser had it do; the sids of `CHOSEN` are chosen."""

    def __init__(self, parser: Callable[[Any], Parser]) -> None:
        super().__init__()
        self.tale: TALE = []
        self._ps = parser(self)
        self.chosen = {sid: self._hear(int(sid)) for sid in CHOSEN} if isinstance(self._ps, FastLane) else {}

    def _hear(self, sid: int) -> Hear:
        return lambda subject, reply, headers, data: self.tale.append(("msg", sid, subject, reply, data, headers))

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        self.tale.append(("msg", sid, subject, reply, data, headers or b""))

    async def _process_ping(self) -> None:
        self.tale.append(("ping",))

    async def _process_pong(self) -> None:
        self.tale.append(("pong",))

    async def _process_err(self, err_msg: str) -> None:
        self.tale.append(("err", err_msg))

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:  # noqa: FBT001, FBT002 - nats-py's
        self.tale.append(("info", json.dumps(info), initial_connection))


def through(work: Coroutine[Any, Any, None]) -> None:
    """Run what waits for nothing to its end."""
    with suppress(StopIteration):
        work.send(None)
        pytest.fail("a parser waited")


def told(parser: Callable[[Any], Parser], pieces: list[bytes]) -> TALE:
    """What a parser does of pieces of a wire, until one of them ends it as it would end the read loop."""
    client = Told(parser)
    try:
        for piece in pieces:
            through(client._ps.parse(piece))
    except (NatsError, *UNREADABLE) as error:  # the fate of the link
        client.tale.append(("ended", type(error).__name__))
    return client.tale


def cut(wire: bytes, places: list[int]) -> list[bytes]:
    """The wire in pieces, cut at places counted round and round."""
    cuts = sorted({place % (len(wire) + 1) for place in places} | {0, len(wire)})
    return [wire[a:b] for a, b in pairwise(cuts)]


def message(sid: int, subject: bytes, reply: bytes, head: bytes, data: bytes) -> bytes:
    """One message as a server writes it."""
    words = [b"HMSG" if head else b"MSG", subject, b"%d" % sid]
    words += [reply] if reply else []
    words += [b"%d" % len(head)] if head else []
    return b" ".join([*words, b"%d" % (len(head) + len(data))]) + b"\r\n" + head + data + b"\r\n"


WORD = st.sampled_from([b"a.b", b"_INBOX.x.1", b"$JS.ACK.S.d.1.2.3.4.5", "ü.ß".encode(), b"\xff\xfe", b"a\xa0b", b"7"])
BODY = st.one_of(st.binary(max_size=40), st.sampled_from([b"\r\n", b"PING\r\n", b"MSG a 1 3\r\nabc\r\n", b"x" * 5_000]))
HEAD = st.sampled_from([b"", b"NATS/1.0\r\nA: b\r\n\r\n", b"NATS/1.0 503\r\n\r\n", b"NATS/1.0 \xff\xfe\r\n\r\n", b"x"])
SID = st.sampled_from([1, 2, 17, 3, 9_999])
MESSAGE = st.builds(message, SID, WORD, st.one_of(st.just(b""), WORD), HEAD, BODY)
LINE = st.sampled_from(
    [
        b"PING\r\n",
        b"PONG\r\n",
        b"+OK\r\n",
        b"-ERR 'Permissions Violation for Publish to \"x\"'\r\n",
        b'INFO {"server_id": "A", "max_payload": 1048576}\r\n',
    ]
)
STRANGE = st.one_of(
    st.binary(max_size=12),
    st.sampled_from(
        [
            b"-ERR\r\n",
            b"INFO {\r\n",
            b"PING\r\n\r\n",
            b"MSG  a  1 3\r\nabc\r\n",
            b"MSG\ta\t1\t3\r\nabc\r\n",
            b"MSG a 1\n3\r\nabc\r\n",
            b"MSG a 1 r\n3\r\nabc\r\n",
            b"MSG a 1 3 \r\nabc\r\n",
            b"MSG a 01 3\r\nabc\r\n",
            b"MSG a +1 3\r\nabc\r\n",
            b"MSG a one 3\r\nabc\r\n",
            b"MSG a 1\r\n 3\r\nabc\r\n",
            b"MSG a 1 -3\r\n",
            b"MSG a 1 r q 3\r\nabc\r\n",
            b"MSG a 1 3\r\nabcXY",
            b"msg a 1 3\r\nabc\r\n",
            b"HMSG a 1 0 3\r\nabc\r\n",
            b"HMSG a 1 9 3\r\nabc\r\n",
            b"HMSG a 1 r x 3\r\nabc\r\n",
            b"HMSG a 1 3\r\nabc\r\n",
            b"MSG a 1 " + b"9" * 5_000 + b"\r\n",
            b"MSG a " + b"9" * 5_000 + b" 3\r\nabc\r\n",
            b"MSG " + b"a" * 5_000 + b" 1 3\r\nabc\r\n",
        ]
    ),
)
NUMBERED = re.compile(rb"HMSG[^\r\n]*\s\d+\s+\d+\s+\d+\r\n")
EMPTY_LINE = re.compile(rb"(?:PING|PONG|[+]OK|-ERR|INFO)\s*\r\n\s")
CUTS = st.lists(st.integers(0, 10_000), max_size=12)


@pytest.mark.spec("X-07")
@settings(max_examples=300)
@given(st.lists(st.one_of(MESSAGE, MESSAGE, LINE), max_size=12), CUTS)
def test_a_servers_bytes_become_the_same_calls(wire: list[bytes], places: list[int]) -> None:
    """Messages, pings, errors and news, cut anywhere: both parsers do the same, in the same order."""
    pieces = cut(b"".join(wire), places)
    assert told(Parser, pieces) == told(FastLane, pieces)


@pytest.mark.spec("X-07", "X-12")
@settings(max_examples=300)
@given(st.lists(st.one_of(MESSAGE, LINE, STRANGE), max_size=8), CUTS)
def test_what_no_server_writes_meets_the_same_fate(wire: list[bytes], places: list[int]) -> None:
    """Garbage between the lines is left to nats-py's parser: the same calls, and the same end of the link.

    Two differences have a name. Headers that begin with a number alone in its line are headers here, sizes to nats-py.
    And a line that is no message is left to it alone, so that what follows cannot be read as more of it: empty lines
    behind a ping are no part of the ping.
    """
    pieces = cut(b"".join(wire), places)
    assume(not NUMBERED.search(b"".join(wire)) and not EMPTY_LINE.search(b"".join(wire)))
    assert told(Parser, pieces) == told(FastLane, pieces)


@pytest.mark.spec("X-12")
def test_headers_that_begin_with_a_number_are_headers() -> None:
    """Whoever may send headers can make them begin as sizes do; nats-py then loses its place in the wire for good."""
    wire = [message(1, b"a", b"", b"7\r\n", b""), b"PING\r\n", b"PING\r\n"]
    expected: TALE = [("msg", 1, b"a", b"", b"", b"7\r\n"), ("ping",), ("ping",)]
    assert expected == told(FastLane, [b"".join(wire)])
    assert expected != told(Parser, [b"".join(wire)])
    assert [("ping",), *expected] == told(FastLane, [b"".join((b"PING\r\n", *wire))])


@pytest.mark.spec("X-07")
def test_a_new_link_begins_with_an_empty_wire() -> None:
    """What a link left half said is forgotten with it, even if it ends while a message of it is handled."""
    whole, half = message(3, b"a", b"", b"", b"one"), b"MSG a 1 3\r\nab"
    client = Told(FastLane)
    through(client._ps.parse(half))
    client._ps.reset()
    through(client._ps.parse(message(1, b"b", b"", b"", b"two")))
    assert [("msg", 1, b"b", b"", b"two", b"")] == client.tale

    class Lost(Told):
        async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
            await super()._process_msg(sid, subject, reply, data, headers)
            self._ps.reset()

    client = Lost(FastLane)
    through(client._ps.parse(whole + message(1, b"b", b"", b"", b"two") + half))
    through(client._ps.parse(b"PING\r\n"))
    assert [("msg", 3, b"a", b"", b"one", b""), ("ping",)] == client.tale


# Headers


NAME = st.one_of(st.sampled_from([b"Status", b"A", b"a b", b"\xff", b" A ", b""]), st.binary(max_size=6))
VALUE = st.one_of(st.sampled_from([b"b", b" b ", b"a:b", "ü".encode(), b"\xff"]), st.binary(max_size=6))


@pytest.mark.spec("X-07")
@settings(max_examples=200)
@given(st.lists(st.tuples(NAME, st.sampled_from([b":", b": ", b""]), VALUE), max_size=5))
def test_headers_are_read_as_nats_py_reads_them(lines: list[tuple[bytes, bytes, bytes]]) -> None:
    """Names and values, spaces, what is no text and what is no header: the same mapping, read when it is looked at."""
    raw = b"NATS/1.0\r\n" + b"".join(b"".join(line) + b"\r\n" for line in lines) + b"\r\n"
    headers = read_headers(raw)
    assert isinstance(headers, Headers)
    assert (theirs(raw) or {}) == headers
    assert len(headers) == len([*headers])
    assert repr(dict(headers)) == repr(headers)


def theirs(raw: bytes) -> dict[str, str] | None:
    """Headers as nats-py reads them."""
    try:
        Steady()._process_headers(raw).send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("nats-py waited")


@pytest.mark.spec("X-07")
@pytest.mark.parametrize(
    "raw",
    [
        b"NATS/1.0 503\r\n\r\n",
        b"NATS/1.0 404 Message Not Found\r\n\r\n",
        b"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 4\r\nNats-Last-Stream: 9\r\n\r\n",
        b"NATS/1.0 204 EOB\r\nNats-Num-Pending: 0\r\nNats-Last-Sequence: 22\r\n\r\n",
        b"NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: 200\r\nNats-Pending-Bytes: 0\r\n\r\n",
        b"NATS/1.0 abc\r\n\r\n",
    ],
)
def test_a_status_is_read_as_nats_py_reads_it(raw: bytes) -> None:
    """The status lines of a server mean the same, their description and the headers behind them included."""
    assert (theirs(raw) or {}) == read_headers(raw)


@pytest.mark.spec("X-12")
@pytest.mark.parametrize("raw", [b"N", b"NATS/1.0", b"NATS/1.0 \xff\xfe\xfd\r\n\r\n", b"NATS/1.0 200 \xff\r\n\r\n"])
def test_a_message_that_is_no_text_is_counted(raw: bytes) -> None:
    """Headers, a subject or a reply subject that cannot be read: nobody hears the message, and it is counted."""
    client, got = Steady(), list[Delivery]()
    client.chosen[b"1"] = lambda *one: got.append(read_delivery(*one))
    strange = [
        message(1, b"a", b"", raw, b"x"),
        message(1, b"\xff", b"", b"", b"x"),
        message(1, b"a", b"\xff", b"", b"x"),
    ]
    for garbled in (*strange, b"+OK\r\n" + strange[0]):
        through(client._ps.parse(garbled + message(1, b"a", b"r", b"", b"y")))
    assert (4, [Delivery("a", b"y", {}, "r")] * 4) == (client.garbled, got)


# What is sent


TEXT = st.text(st.characters(codec="utf-8"), max_size=8)


@pytest.mark.spec("X-07", "X-12")
@settings(max_examples=200)
@given(TEXT, TEXT, st.one_of(st.none(), st.dictionaries(TEXT, TEXT, max_size=2)), st.binary(max_size=20))
def test_what_is_sent_is_what_nats_py_sends(
    subject: str, reply: str, headers: dict[str, str] | None, data: bytes
) -> None:
    """The same bytes go out, and what nats-py refuses to send (a subject or header that would be read as more) raises
    the same.
    """

    class Sent(Steady):
        async def _send_command(self, cmd: bytes, priority: bool = False) -> None:  # noqa: FBT001, FBT002 - nats-py's
            sent.append(cmd)

    sent: list[bytes] = []
    try:
        client = Sent()
        client._max_payload = client._max_pending_size = 100
        through(client.publish(subject, data, reply, headers or None))
    except NatsError as error:
        with pytest.raises(type(error)):
            frame(subject, data, reply, headers)
        return
    assert sent == [frame(subject, data, reply, headers)]


# Which nats-py


@pytest.mark.spec("X-07")
def test_another_nats_py_is_served_by_its_own_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lane opens for the version that it was made for; any other keeps its own parser, and a line says so."""
    assert isinstance(Steady()._ps, FastLane)
    told_of: list[tuple[str, dict[str, str]]] = []
    monkeypatch.setattr(fastlane, "MADE_FOR", "2.15.0")
    monkeypatch.setattr(fastlane, "record", lambda _, event, **fields: told_of.append((event, fields)))
    other = Steady()
    assert (False, Parser) == (other.fast, type(other._ps))
    assert [("fast_lane_off", {"found": "2.16.0", "expected": "2.15.0"})] == told_of
