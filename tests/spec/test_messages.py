"""A message class is its subject, and bytes are a message exactly if they re-encode to themselves."""

# ruff: noqa: ANN401 - a field may be of any type

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from datetime import datetime
from enum import Enum
from random import Random
from types import new_class
from typing import Any, Literal, NamedTuple

import msgpack
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import message as declarations
from shared.codec import decode, decode_any, encode, encode_json
from shared.declaration import MAX_LARGE_BYTES
from shared.envelope import covers
from shared.errors import Refusal, Refused
from shared.message import (
    MAX_ENTITY_CHARS,
    MAX_MESSAGE_BYTES,
    Decision,
    DeclarationError,
    Message,
    Reply,
    Request,
    Signal,
    check_env,
    decode_token,
    encode_token,
    lane_of,
    lookup,
    registered,
)
from tests.specimens import declared, plain, specimen

FIXED = settings(max_examples=60)
EVERY_CLASS = settings(max_examples=20)  # one example is a message of each class
RANDOM = st.randoms(use_true_random=False)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=MAX_ENTITY_CHARS)


class Inner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A struct inside a message."""

    label: str
    parts: list[int]


class Tree(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A type that holds itself."""

    ppm: int
    kids: list[Tree]


class Colour(Enum):
    """A closed set of words."""

    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Loose:
    """A dataclass: not a struct, so it forbids nothing."""

    ratio: float


class Pair(NamedTuple):
    """A named tuple: an array on the wire."""

    ratio: float


class Sampled(Signal, subject="spec.messages.sampled"):
    """A signal with everything a signal may hold."""

    count: int
    ratio: float
    note: str
    raw: bytes
    inner: Inner
    words: dict[str, int]
    tail: tuple[int, ...]
    colour: Colour
    extra: Any


class Answered(Reply, subject="spec.messages.answer"):
    """A reply."""

    count: int


class Asked(Request, subject="spec.messages.{who}.ask", reply=Answered):
    """A request."""

    who: str
    count: int


class Counted(Decision, subject="spec.messages.event.{who}.counted"):
    """A decision with everything a decision may hold."""

    who: str
    count: int
    tree: Tree | None
    state: Literal["open", "shut"]
    colour: Colour
    words: dict[str, bytes]
    pair: tuple[int, bool]


OURS: tuple[Any, ...] = (Sampled, Answered, Asked, Counted)


def forget() -> None:
    """Take what is declared here out of the registry, which belongs to the product."""
    for cls in OURS:
        declarations._REGISTRY.pop(cls.template)
        declarations._BY_SHAPE.pop(tuple("*" if token[0] == "{" else token for token in cls.tokens))


forget()


@pytest.fixture(scope="module", autouse=True)
def scratch() -> Iterator[None]:
    """The classes declared here are registered while these tests run."""
    for cls in OURS:
        declarations._register(cls)
    yield
    forget()


SAMPLED = Sampled(1, 0.5, "n", b"r", Inner("l", [1, 2]), {"a": 1, "b": 2}, (1,), Colour.RED, None)
ASKED = Asked("ada", 7)
COUNTED = Counted("ada", 7, Tree(1, [Tree(2, [])]), "open", Colour.BLUE, {"k": b"v"}, (1, True))


def refusal(cls: type[msgspec.Struct], raw: bytes) -> str:
    """The code with which bytes are refused."""
    with pytest.raises(Refused) as caught:
        decode(cls, raw)
    return caught.value.refusal.code


def unwritable(message: Message) -> str:
    """The code with which a message cannot be written."""
    with pytest.raises(Refused) as caught:
        encode(message)
    return caught.value.refusal.code


def wrong(name: str, base: type[Message], subject: str, fields: dict[str, Any], **options: Any) -> str:
    """The sentence with which a declaration is refused."""
    before = registered()
    with pytest.raises(DeclarationError) as caught:
        new_class(
            name,
            (base,),
            {"subject": subject, **options},
            lambda body: body.update(__annotations__=fields, __module__=__name__),
        )
    assert before == registered()
    return str(caught.value)


# Declarations


@pytest.mark.spec("X-01")
def test_a_declaration_gives_everything_once() -> None:
    """Subject, pattern, kind, stream, reply and lane come from the declaration alone."""
    assert "dev.spec.messages.ada.ask" == ASKED.subject("dev")
    assert "dev.spec.messages.*.ask" == Asked.pattern("dev")
    assert ("request", None, Answered) == (Asked.kind, Asked.stream, Asked.reply)
    assert ("signal", "reply", "decision") == (Sampled.kind, Answered.kind, Counted.kind)
    assert ("log", "who", "dev.spec.messages.event.ada") == (
        Counted.stream,
        Counted.entity_field(),
        COUNTED.lane("dev"),
    )
    assert Counted is registered()["spec.messages.event.{who}.counted"]


@pytest.mark.spec("NIM-08", "NIM-09")
def test_what_no_stream_could_keep_is_refused() -> None:
    """The third token of a signal or reply is fixed, for the log's own subjects differ there; a stream is known."""
    assert "third token" in wrong("Loose", Signal, "spec.loose.{who}.told", {"who": str})
    assert "stream='traces' is none" in wrong("Kept", Signal, "spec.loose.told", {"who": str}, stream="traces")


@pytest.mark.spec("X-01")
def test_every_subject_belongs_to_one_class() -> None:
    """No concrete subject is covered by two patterns, and each finds the class that declared it."""
    classes = [cls for cls in declared() if cls.template]
    assert len({cls.pattern("dev") for cls in classes}) == len(classes) > 10
    for cls in classes:
        concrete = cls.pattern("dev").replace("*", "x")
        assert [cls] == [other for other in classes if covers(other.pattern("dev"), concrete)]
        assert cls is lookup(concrete)
    assert lookup("dev.spec.nowhere.at.all") is None


@pytest.mark.spec("X-01")
@pytest.mark.parametrize(
    "subject",
    [
        "spec.messages.sampled",
        "spec.messages.{who}",
        "spec.{who}.sampled",
        "spec.messages.ada.ask",
        "spec.messages.{other}.ask",
        "spec.messages.{other}.{who}",
    ],
)
def test_overlapping_subjects_are_refused(subject: str) -> None:
    """A subject that another class could also receive is refused by name, whichever side has the wildcard."""
    assert "already belongs to" in wrong("Second", Signal, subject, {"who": str, "other": str})


@pytest.mark.spec("X-01")
@pytest.mark.parametrize(
    "subject",
    [
        "two.tokens",
        "Upper.case.subject",
        "white space.a.b",
        "a..b",
        "a.b.c.",
        ".a.b.c",
        "a.b.*",
        "a.b.>",
        "a.b.{No}",
        "a.b.{x",
        "{a}.b.c",
        "",
    ],
)
def test_subjects_are_plain_tokens(subject: str) -> None:
    """A subject has three or more lower-case tokens, the first without braces; wildcards are refused."""
    assert "is not domain.service.detail in lower-case tokens" in wrong("Odd", Signal, subject, {"a": str, "x": str})


@pytest.mark.spec("X-01")
def test_a_token_in_braces_is_a_field() -> None:
    """A token that names no field of the message is refused."""
    assert "{who} is not a field" in wrong("Nobody", Signal, "spec.other.{who}", {"whom": str})


@pytest.mark.spec("X-01", "X-02")
@pytest.mark.parametrize(("base", "options"), [(Signal, {}), (Reply, {}), (Request, {"reply": Answered})])
def test_the_token_event_is_reserved(base: type[Message], options: dict[str, Any]) -> None:
    """Nothing but a decision may have `event` as its third token, so the log captures decisions only."""
    assert "reserved for decisions" in wrong("Sneaky", base, "spec.other.event.{who}.x", {"who": str}, **options)
    assert "reserved for decisions" in wrong("Short", base, "spec.other.event", {}, **options)


@pytest.mark.spec("X-02")
@pytest.mark.parametrize(
    "subject",
    [
        "spec.other.done",
        "spec.other.event.{who}",
        "spec.other.event.one.x",
        "spec.other.event.{who}.{a}",
        "a.event.b.{who}.x",
    ],
)
def test_a_decision_has_a_decisions_subject(subject: str) -> None:
    """A decision's subject is domain.service.event.{entity}.type and nothing else."""
    assert "a decision's subject is" in wrong("Astray", Decision, subject, {"who": str, "a": str})


@pytest.mark.spec("X-01", "X-09")
@pytest.mark.parametrize("base", [Signal, Reply, Decision])
def test_only_a_request_is_made_by_parts_alone(base: type[Message]) -> None:
    """What is not asked cannot be reserved for parts."""
    subject, fields = ("spec.other.event.{who}.x", {"who": str}) if base is Decision else ("spec.other.kept", {})
    assert "only a request" in wrong("Kept", base, subject, fields, by_parts=True)


@pytest.mark.spec("X-01")
def test_a_request_declares_its_reply() -> None:
    """A request without a reply class is refused."""
    assert "declares its reply" in wrong("Mute", Request, "spec.other.mute", {})


@pytest.mark.spec("X-02")
@pytest.mark.parametrize(
    "kind",
    [
        float,
        float | None,
        list[float],
        dict[str, float],
        tuple[int, float],
        tuple[float, ...],
        Any,
        list[Any],
        object,
        msgspec.Raw,
        Loose,
        Pair,
        datetime,
        msgspec.msgpack.Ext,
        msgspec.defstruct("Deep", [("x", list[float])]),
    ],
    ids=str,
)
def test_decisions_carry_integers_only(kind: Any) -> None:
    """Whatever is, holds or may be a float, at any depth, cannot be declared in a decision."""
    assert wrong("Floating", Decision, "spec.other.event.{who}.floating", {"who": str, "x": kind})


@pytest.mark.spec("X-01")
@pytest.mark.parametrize(
    "kind",
    [set[str], frozenset[int], dict[int, str], dict[float, str], datetime, msgspec.Raw, Loose, Pair, list[set[int]]],
    ids=str,
)
def test_messages_hold_plain_messagepack(kind: Any) -> None:
    """Types without one canonical MessagePack form, such as sets, times and maps with other keys, are refused."""
    assert "plain MessagePack" in wrong("Fancy", Signal, "spec.other.fancy", {"x": kind})


@pytest.mark.spec("X-01")
@pytest.mark.parametrize("field", ["subject", "stream", "kind", "reply", "owners", "lane", "pattern", "ttl_ms"])
def test_a_field_hides_nothing(field: str) -> None:
    """A field named like something of the declaration is refused, because reading it would give the declaration's."""
    assert f"field {field!r} would hide" in wrong("Hiding", Signal, "spec.other.hiding", {field: str})


@pytest.mark.spec("X-01")
@EVERY_CLASS
@given(RANDOM)
def test_every_field_reads_back(random: Random) -> None:
    """What a message was made of is what its attributes say, for every class."""
    for cls in (*declared(), Sampled, Asked, Counted):
        message = specimen(cls, random)
        said = {name: plain(getattr(message, name)) for name in message.__struct_fields__}
        assert said == said | plain(message)  # a wave does not write what is as usual


@pytest.mark.spec("X-01")
@pytest.mark.parametrize("env", ["", "Dev", "a.b", "a b", "*", ">", "1a", "dev\n"])
def test_an_environment_is_one_token(env: str) -> None:
    """An environment that is not one lower-case token is refused."""
    with pytest.raises(DeclarationError):
        check_env(env)


@pytest.mark.spec("X-01")
def test_environments_may_be_configured() -> None:
    """Any one token is an environment; the usual three are nothing special."""
    assert ["dev", "staging", "prod", "test-7_a"] == [check_env(env) for env in ("dev", "staging", "prod", "test-7_a")]


# Entities


@pytest.mark.spec("X-01")
@FIXED
@given(TEXT)
def test_any_text_makes_one_subject_token(text: str) -> None:
    """Every text of 1 to 128 characters becomes one token without NATS's special characters, and comes back."""
    token = encode_token(text)
    assert text == decode_token(token)
    assert token
    assert not set(token) & set(".*> \t\r\n\0")
    assert token.isascii()
    subject = Counted(text, 0, None, "open", Colour.RED, {}, (0, False)).subject("dev")
    assert 6 == len(subject.split("."))
    assert Counted is lookup(subject)
    assert subject.rpartition(".")[0] == lane_of(subject)


@pytest.mark.spec("X-01")
@FIXED
@given(TEXT, TEXT)
def test_two_texts_never_share_a_token(one: str, two: str) -> None:
    """Distinct entities have distinct lanes."""
    assert (one == two) == (encode_token(one) == encode_token(two))


@pytest.mark.spec("X-01")
@FIXED
@given(st.text(alphabet="=0123456789ABCDEFabcdef-_ü.", max_size=12))
def test_a_token_is_read_only_as_it_is_written(token: str) -> None:
    """A token is refused unless encoding its text gives exactly that token again."""
    try:
        text = decode_token(token)
    except ValueError:
        return
    assert token == encode_token(text)


@pytest.mark.spec("X-01", "X-12")
@pytest.mark.parametrize("text", ["", "x" * (MAX_ENTITY_CHARS + 1), "\ud800"])
def test_an_entity_out_of_bounds_is_refused(text: str) -> None:
    """An empty, a too long or an unencodable entity makes no subject."""
    with pytest.raises(ValueError, match=r"entity has|surrogates"):
        encode_token(text)


@pytest.mark.spec("X-01")
@pytest.mark.parametrize("subject", ["", "dev", "dev.a.b.event.c", "dev.a.b.event.c.d.e", "dev.a.b.other.c.d"])
def test_only_a_decisions_subject_has_a_lane(subject: str) -> None:
    """What is not env.domain.service.event.entity.type belongs to no lane."""
    assert lane_of(subject) is None


# Bytes


@pytest.mark.spec("X-01")
@EVERY_CLASS
@given(RANDOM)
def test_any_messagepack_reader_sees_what_we_wrote(random: Random) -> None:
    """The plain msgpack package reads every message of every class identically, and would write the same bytes."""
    for cls in (*declared(), Sampled, Asked, Counted):
        written = specimen(cls, random)
        raw = encode(written)
        read = msgpack.unpackb(raw)
        assert plain(written) == read
        assert raw == msgpack.packb(read)
        assert written == decode(cls, raw)
        assert raw == encode(decode(cls, raw))


@pytest.mark.spec("X-01")
@EVERY_CLASS
@given(RANDOM)
def test_signals_and_requests_may_be_written_by_hand(random: Random) -> None:
    """A signal or request is also read from JSON, to the same message."""
    for cls in (*(cls for cls in declared() if cls.kind in {"signal", "request"}), Asked):
        written = specimen(cls, random)
        assert (written, True) == decode_any(cls, encode_json(written))
        assert (written, False) == decode_any(cls, encode(written))


@pytest.mark.spec("X-02", "X-12")
def test_a_decision_is_never_json() -> None:
    """A decision written as JSON is refused, also by the reader that accepts JSON elsewhere."""
    assert "B002" == refusal(Counted, encode_json(COUNTED))
    with pytest.raises(Refused) as caught:
        decode_any(Counted, encode_json(COUNTED))
    assert "B002" == caught.value.refusal.code


@pytest.mark.spec("X-12")
@pytest.mark.parametrize(
    "text",
    [
        "{",
        "{}",
        '{"who":"ada"}',
        '{"who":"ada","count":1.5}',
        '{"who":"ada","count":"1"}',
        '{"who":"ada","count":1,"more":1}',
        '{"who":"ada","count":18446744073709551616}',
        '{"who":"ada","count":-9223372036854775809}',
        '{"who":"\\ud800","count":1}',
        '{"who":"ada","count":1}{}',
        '{"who":"ada","count":' + "[" * 50_000,
    ],
    ids=lambda text: text[:50],
)
def test_bad_json_is_refused(text: str) -> None:
    """JSON that is not exactly the class, or says what MessagePack cannot, is refused by name."""
    with pytest.raises(Refused) as caught:
        decode_any(Asked, text.encode())
    assert "B002" == caught.value.refusal.code


@pytest.mark.spec("X-12")
def test_oversize_is_refused() -> None:
    """Sixty thousand bytes are the most a message may have: written, read, and as JSON."""
    head = len(encode(Asked("", 0))) + 2
    longest = Asked("x" * (MAX_MESSAGE_BYTES - head), 0)
    assert longest == decode(Asked, encode(longest))
    assert "B003" == unwritable(Asked("x" * (MAX_MESSAGE_BYTES - head + 1), 0))
    assert "B003" == refusal(Asked, encode(longest) + b"\0")
    with pytest.raises(Refused) as caught:
        decode_any(Asked, b"{" + b" " * MAX_MESSAGE_BYTES + b"}")
    assert "B003" == caught.value.refusal.code


class Heavy(Reply, subject="spec.messages.heavy", max_bytes=MAX_LARGE_BYTES):
    """An answer that may be as large as any."""

    data: bytes


@pytest.mark.spec("X-12")
def test_a_class_may_say_that_it_is_larger() -> None:
    """Up to what it declares, written and read; what asks nobody and answers nobody may not declare it."""
    head = len(encode(Heavy(bytes(100_000)))) - 100_000
    largest = Heavy(bytes(MAX_LARGE_BYTES - head))
    assert largest == decode(Heavy, encode(largest))
    assert "B003" == unwritable(Heavy(bytes(MAX_LARGE_BYTES - head + 1)))
    assert "B003" == refusal(Heavy, encode(largest) + b"\0")
    assert len(encode_json(largest)) < 2**20
    for base, subject, most in (
        (Signal, "spec.messages.odd", MAX_MESSAGE_BYTES + 1),
        (Decision, "spec.messages.event.{who}.odd", MAX_MESSAGE_BYTES + 1),
        (Reply, "spec.messages.odd", MAX_LARGE_BYTES + 1),
    ):
        sentence = wrong("Odd", base, subject, {"who": str}, max_bytes=most)
        assert "only a request or reply may be larger" in sentence


FIELDS: dict[str, object] = {"who": "ada", "count": 7}
WHO, COUNT = b"\xa3who\xa3ada", b"\xa5count"


@pytest.mark.spec("X-12")
@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"\x83" + WHO + COUNT + b"\x07" + COUNT + b"\x07", id="duplicate key"),
        pytest.param(b"\x83" + WHO + COUNT + b"\x07\xa4more\x01", id="unknown field"),
        pytest.param(b"\x81" + WHO, id="missing field"),
        pytest.param(b"\x82" + COUNT + b"\x07" + WHO, id="reordered keys"),
        pytest.param(b"\x82" + WHO + COUNT + b"\xcc\x07", id="wide integer, 8 bits"),
        pytest.param(b"\x82" + WHO + COUNT + b"\xd3" + b"\0" * 7 + b"\x07", id="wide integer, 64 bits"),
        pytest.param(b"\x82" + WHO + COUNT + b"\xcb" + b"\0" * 8, id="float for integer"),
        pytest.param(b"\x82" + WHO + COUNT + b"\xc3", id="bool for integer"),
        pytest.param(b"\x82" + WHO + COUNT + b"\xc0", id="nil for integer"),
        pytest.param(b"\x82\xd9\x03who\xa3ada" + COUNT + b"\x07", id="wide string header"),
        pytest.param(b"\x82\xa3who\xc4\x03ada" + COUNT + b"\x07", id="bytes for text"),
        pytest.param(b"\x82\xa3who\xa2\xff\xfe" + COUNT + b"\x07", id="not UTF-8"),
        pytest.param(b"\xde\x00\x02" + WHO + COUNT + b"\x07", id="wide map header"),
        pytest.param(b"\x92\xa3ada\x07", id="array for map"),
        pytest.param(b"\x82" + WHO + COUNT + b"\x07\xc0", id="trailing bytes"),
        pytest.param(b"\x82" + WHO + COUNT, id="truncated"),
        pytest.param(b"\x82" + WHO + COUNT + b"\xc1", id="a byte that means nothing"),
        pytest.param(b"\x82" + WHO + COUNT + b"\x91" * 50_000, id="nested without end"),
        pytest.param(b"", id="empty"),
    ],
)
def test_bytes_that_do_not_re_encode_to_themselves_are_refused(raw: bytes) -> None:
    """A second spelling of a message, or anything but a message, is refused by name."""
    assert ASKED == decode(Asked, b"\x82" + WHO + COUNT + b"\x07")
    assert "B002" == refusal(Asked, raw)


@pytest.mark.spec("X-12")
@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", ["field", "nested"])
def test_floats_are_finite(number: float, place: str) -> None:
    """Infinity and not-a-number are neither written nor read, wherever they stand."""
    change = {"ratio": number} if place == "field" else {"extra": [{"deep": (number,)}]}
    odd = msgspec.structs.replace(SAMPLED, **change)
    assert "B002" == unwritable(odd)
    assert "B002" == refusal(Sampled, msgspec.msgpack.encode(odd))


@pytest.mark.spec("X-12")
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_floats_as_keys_are_finite(number: float) -> None:
    """Nor do they hide as the key of a map."""
    odd = msgspec.structs.replace(SAMPLED, extra={number: 1})
    assert "B002" == unwritable(odd)
    assert "B002" == refusal(Sampled, msgspec.msgpack.encode(odd))


@pytest.mark.spec("X-12")
@pytest.mark.parametrize("depth", [*range(100, 1_100, 25), 20_000])
def test_depth_is_refused_never_a_crash(depth: int) -> None:
    """However deep a loosely typed field is nested, the bytes are a message or are refused."""
    raw = msgspec.msgpack.encode(SAMPLED)
    assert raw.endswith(b"\xa5extra\xc0")
    deep = raw[:-1] + b"\x91" * depth + b"\x01"
    try:
        written = encode(decode(Sampled, deep))
    except Refused as no:
        found = no.refusal.code
    else:
        found = written
    assert found in ("B002", deep)


@pytest.mark.spec("X-12")
@pytest.mark.parametrize("change", [{"count": 2**64}, {"count": -(2**63) - 1}, {"who": "\ud800"}])
def test_what_messagepack_cannot_say_is_not_written(change: dict[str, Any]) -> None:
    """An integer beyond 64 bits or a text that is not Unicode is refused by name when it is written."""
    assert "B002" == unwritable(msgspec.structs.replace(ASKED, **change))


@pytest.mark.spec("X-12")
def test_an_unknown_refusal_code_is_refused() -> None:
    """A refusal that answers with a code nobody declared is itself a bad payload, not a crash."""
    assert Refusal("B008", "later") == decode(Refusal, encode(Refusal("B008", "later")))
    assert "B002" == refusal(Refusal, msgspec.msgpack.encode({"code": "B999", "detail": ""}))


@pytest.mark.spec("X-12")
@pytest.mark.parametrize("read", [decode, decode_any])
def test_a_refusal_never_quotes_a_strangers_bytes_at_length(read: Callable[[type[Asked], bytes], object]) -> None:
    """The reason stays short whatever was sent, so that it can always be answered and logged."""
    for raw in (msgspec.msgpack.encode({"n" * 59_000: 1}), b'{"%s":1}' % (b"n" * 59_000)):
        with pytest.raises(Refused) as caught:
            read(Asked, raw)
        assert len(encode(caught.value.refusal)) < 500


@pytest.mark.spec("X-01")
def test_messages_cannot_be_changed() -> None:
    """A message is frozen."""
    with pytest.raises(AttributeError):
        ASKED.count = 8  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.spec("X-01")
def test_json_is_what_people_expect() -> None:
    """JSON answers are the fields by name."""
    assert FIELDS == json.loads(encode_json(ASKED))
