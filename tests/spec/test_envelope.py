"""The envelope's bytes: what is written, what is read, and that a stranger with plain tools reads the same."""

from __future__ import annotations

import json
from base64 import b64decode
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import msgpack
import msgspec
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.audit.stand_alone.verify import Reader
from shared.codec import encode
from shared.envelope import covers, derive_event_id, entry_of, leaf_of, pack_event, read, read_event, rfc3339
from shared.envelope.envelope import (
    ENVELOPE_TYPE,
    MAX_ATTRIBUTE_CHARS,
    MAX_BLOCK_EVENTS,
    MAX_DATA_DEPTH,
    MAX_ENVELOPE_BYTES,
    MAX_EVIDENCE_BYTES,
    MAX_SIGNATURES,
    MAX_SUBJECT_CHARS,
    pae,
    parse_rfc3339,
)
from shared.errors import Refused
from shared.keys import key_id_of
from shared.log import Entry, root_of
from tests.forge import PART, PLAIN, Log, envelope, event, event_id, founded, packed, signer, subject_of
from tests.spec.test_admission import KEYING, SPEECH, perform
from tests.specimens import declared, plain, specimen
from tests.vectors.make_envelope_vectors import PATH, make

pytestmark = pytest.mark.spec("BIZ-01", "X-03")

PUBLISHED = Path(__file__).parents[3] / "shared" / "vectors"
needs_published = pytest.mark.skipif(not PUBLISHED.is_dir(), reason=f"the published vectors are not at {PUBLISHED}")
FIXED = settings(max_examples=60)
SUBJECT, ADAS, BOBS = subject_of(PLAIN), signer("ada's"), signer("bob's")
SEALED = envelope(SUBJECT, [event("a")], [ADAS])


def vectors() -> dict[str, Any]:
    """Our own vectors."""
    return json.loads(PATH.read_text(encoding="utf-8"))


def refused(raw: bytes) -> str:
    """The reason for which bytes are no envelope."""
    with pytest.raises(Refused) as caught:
        read(raw)
    assert "R005" == caught.value.refusal.code
    return caught.value.refusal.detail


def event_refused(raw: bytes) -> str:
    """The reason for which bytes are no event."""
    with pytest.raises(Refused) as caught:
        read_event(raw)
    assert "R005" == caught.value.refusal.code
    return caught.value.refusal.detail


# Written and read


@FIXED
@given(st.integers(1, 20), st.booleans(), st.sampled_from(["USER", "MODEL", "SOVEREIGN"]), st.integers(-1, 2**60))
def test_an_envelope_reads_back(count: int, two: bool, agent: str, prev: int) -> None:  # noqa: FBT001
    """What is sealed is what is read: attributes, events in order, and signatures by key id."""
    events = [event(f"{i}", packed(n=i), cause=event_id("c"), evidence=b"e" * i) for i in range(count)]
    sealed = read(envelope(SUBJECT, events, [ADAS, BOBS] if two else [ADAS], agent=agent, prev=prev))
    assert tuple(events) == sealed.events
    assert (count, root_of(events), agent, prev) == (
        sealed.attributes.count,
        sealed.attributes.root,
        sealed.attributes.agent,
        sealed.attributes.prev,
    )
    assert sorted([ADAS.key_id, BOBS.key_id] if two else [ADAS.key_id]) == [s.k for s in sealed.signatures]


@pytest.mark.spec("X-13")
def test_any_messagepack_reader_opens_an_envelope() -> None:
    """The plain msgpack package reads envelope, attributes and events by name, and would write the same bytes."""
    outer = msgpack.unpackb(SEALED)
    assert (["t", "p", "s", "e"], SEALED) == (list(outer), msgpack.packb(outer))
    attributes = msgpack.unpackb(outer["p"])
    assert outer["p"] == msgpack.packb(attributes)
    assert msgspec.to_builtins(read(SEALED).attributes, builtin_types=(bytes,)) == attributes
    assert {"id": event_id("a"), "cause": b"", "evidence": b"", "data": {"n": 1}} == msgpack.unpackb(outer["e"][0])


@pytest.mark.spec("X-02")
@FIXED
@given(st.randoms(use_true_random=False))
def test_every_decision_fits_an_event(random: Random) -> None:
    """Every decision of the product is readable inside an event, by us and by the plain msgpack package."""
    for cls in (cls for cls in declared() if cls.kind == "decision"):
        message = specimen(cls, random)
        raw = pack_event(event_id("x"), encode(message))
        assert encode(message) == bytes(read_event(raw).data)
        assert plain(message) == msgpack.unpackb(raw)["data"]


def test_signatures_cover_type_and_payload() -> None:
    """The signed bytes are the DSSE encoding of the type and the attribute bytes exactly as they were sent."""
    outer = msgpack.unpackb(SEALED)
    assert pae(ENVELOPE_TYPE, outer["p"]) == read(SEALED).signed
    assert ADAS.sign(read(SEALED).signed) == outer["s"][0]["sig"]


def test_an_envelope_fits_a_leaf() -> None:
    """59,392 bytes are the most an envelope may have, so that with time, headers and subject it fits a leaf."""
    evidence = MAX_EVIDENCE_BYTES
    room = MAX_ENVELOPE_BYTES - len(
        envelope(SUBJECT, [event("a", evidence=bytes(evidence)), event("b", evidence=bytes(10_000))], [ADAS])
    )
    fits = envelope(SUBJECT, [event("a", evidence=bytes(evidence)), event("b", evidence=bytes(10_000 + room))], [ADAS])
    assert MAX_ENVELOPE_BYTES == len(fits)
    assert 2 == read(fits).attributes.count
    entry = Entry(0, SUBJECT, 7, fits)
    assert (7).to_bytes(8, "big") + fits == leaf_of(entry)
    assert entry == entry_of(0, leaf_of(entry))
    with pytest.raises(Refused, match="B003"):
        envelope(SUBJECT, [event("a", evidence=bytes(evidence)), event("b", evidence=bytes(10_001 + room))], [ADAS])
    assert "at most 59392" in refused(fits + b"\0")


# What is not an envelope

OUTER = msgpack.unpackb(SEALED)
HEAD = msgpack.unpackb(OUTER["p"])
SIGNATURE = OUTER["s"][0]


def outer(**fields: object) -> bytes:
    """The envelope with fields replaced."""
    return msgspec.msgpack.encode({**OUTER, **fields})


def head(**fields: object) -> bytes:
    """The envelope with attributes replaced."""
    return outer(p=msgspec.msgpack.encode({**HEAD, **fields}))


def without(table: dict[str, Any], name: str) -> dict[str, Any]:
    """A map that lacks one name."""
    return {key: value for key, value in table.items() if key != name}


OTHERS = [{"k": f"{i:032x}", "sig": bytes(64)} for i in range(MAX_SIGNATURES + 1)]
NOT_ENVELOPES = {
    "empty": b"",
    "an array": msgspec.msgpack.encode(list(OUTER.values())),
    "json": b'{"t":"x"}',
    "trailing": SEALED + b"\0",
    "truncated": SEALED[:-1],
    "reordered": msgspec.msgpack.encode(dict(reversed(OUTER.items()))),
    "more": outer(x=1),
    "wide header": b"\xde\x00\x04" + SEALED[1:],
    "other type": outer(t="application/json"),
    "type not text": outer(t=b"x"),
    "payload not bytes": outer(p="x"),
    "payload not canonical": outer(p=b"\xde\x00\x12" + OUTER["p"][1:]),
    "payload trailing": outer(p=OUTER["p"] + b"\0"),
    "payload reordered": outer(p=msgspec.msgpack.encode(dict(reversed(HEAD.items())))),
    "unsigned": outer(s=[]),
    "signed twice by one": outer(s=[SIGNATURE, SIGNATURE]),
    "signatures out of order": outer(s=sorted(OTHERS[:2], key=lambda s: s["k"], reverse=True)),
    "too many signatures": outer(s=OTHERS),
    "short signature": outer(s=[{**SIGNATURE, "sig": bytes(63)}]),
    "long key id": outer(s=[{**SIGNATURE, "k": "k" * (MAX_ATTRIBUTE_CHARS + 1)}]),
    "signature with more": outer(s=[{**SIGNATURE, "alg": "none"}]),
    "no events": outer(e=[], p=msgspec.msgpack.encode({**HEAD, "count": 0})),
    "count too small": outer(e=[event("a"), event("b")]),
    "too many events": outer(
        e=[b""] * (MAX_BLOCK_EVENTS + 1), p=msgspec.msgpack.encode({**HEAD, "count": MAX_BLOCK_EVENTS + 1})
    ),
    **{f"without {name}": msgspec.msgpack.encode(without(OUTER, name)) for name in OUTER},
    **{f"without attribute {name}": outer(p=msgspec.msgpack.encode(without(HEAD, name))) for name in HEAD},
    **{
        f"{name} too long": head(**{name: "x" * (MAX_ATTRIBUTE_CHARS + 1)})
        for name in ("id", "source", "boot", "version", "correlation", "time")
    },
    **{f"{name} too long": head(**{name: "x" * (MAX_SUBJECT_CHARS + 1)}) for name in ("type", "subject")},
    **{
        f"{name} is {wrong!r}": head(**{name: wrong})
        for name in ("ttlms", "sequence", "prev", "batch", "count")
        for wrong in (-2, 1.5, True, None, "1")
    },
    **{
        f"{name} is {wrong!r}": head(**{name: wrong})
        for name in ("ihsanppm", "snrppm")
        for wrong in (-1, 1_000_001, 0.95, True, "1")
    },
    "ttl of nothing": head(ttlms=0),
    "batch too far": head(batch=100),
    "agent unknown": head(agent="PAT"),
    "another CloudEvents": head(specversion="1.1"),
    "short root": head(root=bytes(31)),
    "one attribute more": head(nonce=1),
}


@pytest.mark.spec("X-12")
@pytest.mark.parametrize("name", NOT_ENVELOPES)
def test_what_is_not_exactly_an_envelope_is_refused(name: str) -> None:
    """Every deviation from the grammar, however small, is R005 with a short reason."""
    assert 0 < len(refused(NOT_ENVELOPES[name])) < 500


def test_bounds_are_inclusive() -> None:
    """The longest texts, the largest numbers and the most signatures are read."""
    long, longest = "x" * MAX_ATTRIBUTE_CHARS, "x" * MAX_SUBJECT_CHARS
    attributes = {
        "source": long,
        "boot": long,
        "version": long,
        "correlation": long,
        "type": longest,
        "subject": longest,
        "batch": 99,
    }
    numbers = {"ttlms": 2**64 - 1, "sequence": 2**64 - 1, "prev": 2**63, "ihsanppm": 1_000_000, "snrppm": 0}
    assert read(head(**attributes, **numbers))
    assert MAX_SIGNATURES == len(read(outer(s=OTHERS[:-1])).signatures)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-01",
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00.00Z",
        "2026-01-01T00:00:00.0000Z",
        "2026-01-01T00:00:00.000",
        "2026-01-01T00:00:00.000+00:00",
        "2026-01-01T01:00:00.000+01:00",
        "2026-01-01t00:00:00.000z",
        "2026-01-01 00:00:00.000Z",
        "2026-02-30T00:00:00.000Z",
        "2026-1-01T00:00:00.0000Z",
        "2026-01-01T24:00:00.000Z",
        "2026-01-01T00:00:60.000Z",
        "1969-12-31T23:59:59.999Z",
        "0001-01-01T00:00:00.000Z",
        "10000-01-01T00:00:00.000Z",
        "9999-12-31T23:59:59.9999Z",
        "２０２６-01-01T00:00:00.000Z",
    ],
)
def test_a_time_has_one_spelling(text: str) -> None:
    """Only YYYY-MM-DDThh:mm:ss.sssZ of a real moment since 1970 is a time."""
    assert refused(head(time=text))


@FIXED
@given(st.integers(0, 253_402_300_799_999))
def test_every_millisecond_reads_back(ms: int) -> None:
    """Every millisecond from 1970 to the end of 9999 is written and read exactly."""
    assert ms == parse_rfc3339(rfc3339(ms))


# What is not an event


def raw_event(**fields: object) -> bytes:
    """An event with fields replaced."""
    return msgspec.msgpack.encode({"id": bytes(16), "cause": b"", "evidence": b"", "data": {"n": 1}, **fields})


def nested(depth: int) -> object:
    """A map with arrays inside it, this many levels altogether."""
    inner: object = 1
    for _ in range(depth - 1):
        inner = [inner]
    return {"n": inner}


DATA_AT = len(raw_event()) - len(packed(n=1))
NOT_EVENTS = {
    "empty": b"",
    "trailing": raw_event() + b"\0",
    "more": raw_event(x=1),
    "reordered": msgspec.msgpack.encode({"cause": b"", "id": bytes(16), "evidence": b"", "data": {}}),
    "short id": raw_event(id=bytes(15)),
    "long id": raw_event(id=bytes(17)),
    "short cause": raw_event(cause=bytes(15)),
    "id as text": raw_event(id="x" * 16),
    "too much evidence": raw_event(evidence=bytes(MAX_EVIDENCE_BYTES + 1)),
    **{f"data is {data!r}": raw_event(data=data) for data in (None, 1, "x", b"x", [], [1], True)},
    "data missing": msgspec.msgpack.encode({"id": bytes(16), "cause": b"", "evidence": b""}),
    "a float": raw_event(data={"n": 1.0}),
    "a float, deeper": raw_event(data={"n": [{"m": [0.5]}]}),
    "a narrow float": raw_event()[:DATA_AT] + b"\x81\xa1n\xca\0\0\0\0",
    "a wide integer": raw_event()[:DATA_AT] + b"\x81\xa1n\xcc\x01",
    "a duplicate key": raw_event()[:DATA_AT] + b"\x82\xa1n\x01\xa1n\x01",
    "an integer as key": raw_event(data={1: 1}),
    "bytes as key": raw_event(data={b"n": 1}),
    "nil as key": raw_event(data={None: 1}),
    "an array as key": raw_event()[:DATA_AT] + b"\x81\x91\x01\x01",
    "a map as key": raw_event()[:DATA_AT] + b"\x81\x80\x01",
    "an extension": raw_event(data={"n": msgspec.msgpack.Ext(5, b"x")}),
    "a timestamp": raw_event()[:DATA_AT] + b"\x81\xa1n\xd6\xff\0\0\0\1",
    "a timestamp out of range": raw_event()[:DATA_AT]
    + b"\x81\xa1n\xc7\x0c\xff\0\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
    "not UTF-8": raw_event()[:DATA_AT] + b"\x81\xa1n\xa1\xff",
    "a byte that means nothing": raw_event()[:DATA_AT] + b"\x81\xa1n\xc1",
    **{
        f"{depth} levels": raw_event()[:DATA_AT] + b"\x81\xa1n" + b"\x91" * (depth - 1) + b"\x01"
        for depth in (33, 500, 990, 58_000)
    },
}


@pytest.mark.spec("X-12")
@pytest.mark.parametrize("name", NOT_EVENTS)
def test_what_is_not_exactly_an_event_is_refused(name: str) -> None:
    """An event is one spelling of exactly four fields, its data a plain map without floats: anything else is R005."""
    assert 0 < len(event_refused(NOT_EVENTS[name])) < 500


def test_an_event_holds_what_every_reader_judges_alike() -> None:
    """Nil, bools, integers, text, bytes, arrays and maps by text, 32 deep, are read whatever the reader's stack."""
    data = {
        "a": None,
        "b": True,
        "c": -(2**63),
        "d": 2**64 - 1,
        "e": "ü",
        "f": b"\0",
        "g": [1, [2]],
        "h": {"i": {}},
        "deep": nested(MAX_DATA_DEPTH - 1),
    }
    raw = raw_event(data=data, cause=bytes(16), evidence=bytes(MAX_EVIDENCE_BYTES))

    def deep_in_the_stack(left: int) -> bytes:
        return deep_in_the_stack(left - 1) if left else bytes(read_event(raw).data)

    assert msgpack.packb(data) == bytes(read_event(raw).data) == deep_in_the_stack(600)
    assert read_event(raw_event(data=nested(MAX_DATA_DEPTH)))
    assert event_refused(raw_event(data=nested(MAX_DATA_DEPTH + 1)))


def test_evidence_is_bounded_where_it_is_written() -> None:
    """More than 32 KiB of evidence is refused at once, and goes by digest."""
    with pytest.raises(Refused, match="B003"):
        event("a", evidence=bytes(MAX_EVIDENCE_BYTES + 1))


# Derivations


def test_the_same_output_has_the_same_id() -> None:
    """An event's id depends on cause, part, handler and ordinal, each of them, and on nothing else."""
    base: tuple[bytes, str, str, int] = (b"c" * 16, PART, "on_wave", 0)
    assert derive_event_id(*base) == derive_event_id(*base)
    others = [
        (b"d" * 16, PART, "on_wave", 0),
        (b"c" * 16, "nerves.mat", "hon_wave", 0),
        (b"c" * 16, PART, "on_wav", 0),
        (b"c" * 16, PART, "on_wave", 1),
        (b"c" * 16, PART, "on_wave", 10),
    ]
    assert len({derive_event_id(*other) for other in (base, *others)}) == 6
    assert {16} == {len(derive_event_id(*other)) for other in others}


@pytest.mark.parametrize(
    ("pattern", "subject", "expected"),
    [
        ("a.b", "a.b", True),
        ("a.*", "a.b", True),
        ("a.>", "a.b", True),
        ("a.>", "a.b.c", True),
        (">", "a", True),
        ("*.b", "a.b", True),
        ("a.>", "a", False),
        ("a.*", "a", False),
        ("a.*", "a.b.c", False),
        ("a", "a.b", False),
        ("a.b", "a.c", False),
        ("", "a", False),
        ("a.b", "a", False),
    ],
)
def test_patterns_cover_as_the_server_does(pattern: str, subject: str, expected: bool) -> None:  # noqa: FBT001
    """`*` is one token, `>` one or more at the end."""
    assert expected == covers(pattern, subject)


@needs_published
def test_published_pae() -> None:
    """The DSSE project's own example is encoded as it says."""
    example = json.loads((PUBLISHED / "dsse" / "protocol-example.json").read_text())
    assert example["pae_utf8"].encode() == pae(example["payloadType"], example["payload_utf8"].encode())


#: The leaves of the published trees (certificate-transparency's reference test).
LEAVES = [
    b"",
    b"\0",
    b"\x10",
    b"\x20\x21",
    b"\x30\x31",
    b"\x40\x41\x42\x43",
    bytes(range(0x50, 0x58)),
    bytes(range(0x60, 0x70)),
]


def sha(data: bytes) -> bytes:
    """SHA-256."""
    return sha256(data).digest()


@needs_published
def test_published_trees() -> None:
    """The tree has RFC 6962's shape: every root of the published proofs is the root of its leaves."""
    folder, judged = PUBLISHED / "rfc6962-merkle" / "testdata", 0
    for path in sorted(folder.rglob("happy-path.json")):
        case = json.loads(path.read_text())
        sizes = [("treeSize", "root")] if "root" in case else [("size1", "root1"), ("size2", "root2")]
        for size, root in sizes:
            assert b64decode(case[root]) == root_of(LEAVES[: case[size]], sha), path
            judged += 1
        if "leafHash" in case:
            assert b64decode(case["leafHash"]) == root_of([LEAVES[case["leafIdx"]]], sha)
    assert judged >= 15


@FIXED
@given(st.lists(st.binary(max_size=4), max_size=40))
def test_the_tree_equals_its_recursive_definition(leaves: list[bytes]) -> None:
    """Pairing neighbours gives RFC 6962's recursive split at the largest power of two."""

    def split(some: list[bytes]) -> bytes:
        if len(some) < 2:
            return blake3(b"\0" + some[0]).digest() if some else blake3(b"").digest()
        k = 1 << ((len(some) - 1).bit_length() - 1)
        return blake3(b"\1" + split(some[:k]) + split(some[k:])).digest()

    assert split(leaves) == root_of(leaves)


# Our vectors, and a stranger


def test_vectors_are_made_again() -> None:
    """The vectors beside the grammar are exactly what today's code makes from the fixed seeds."""
    assert PATH.read_text(encoding="utf-8") == make()


def test_vectors_hold_every_refusal() -> None:
    """Every refusal of admission has an entry in the vectors, and so has every kind of admitted entry."""
    log = vectors()["log"]
    assert {f"R00{i}" for i in range(1, 10)} == {entry["refusal"] for entry in log} - {None}
    assert {1, 3} <= {len(entry["admitted"]) for entry in log}


def test_vectors_of_the_derivations() -> None:
    """Keys, ids, tokens, times, roots and leaf in the vectors are what the product derives."""
    found = vectors()
    for key in found["keys"].values():
        assert key["key_id"] == key_id_of(bytes.fromhex(key["public"]))
    for case in found["derivations"]["event_ids"]:
        assert (
            case["id"]
            == derive_event_id(bytes.fromhex(case["cause"]), case["part"], case["handler"], case["ordinal"]).hex()
        )


def test_a_stranger_judges_the_vectors_alike() -> None:
    """The published stand-alone verifier, with nothing of the product in it, gives every verdict."""
    found = vectors()
    reader = Reader(found["env"], found["genesis_fingerprint"])
    for entry in found["log"]:
        verdict = reader.read(entry["index"], entry["subject"], int(entry["time_ns"]), bytes.fromhex(entry["envelope"]))
        assert (entry["refusal"], entry["admitted"]) == verdict, entry["name"]


def test_a_stranger_trusts_a_fingerprint() -> None:
    """With another fingerprint the stranger admits nothing of the same log."""
    found = vectors()
    reader = Reader(found["env"], "00" * 32)
    verdicts = [
        reader.read(e["index"], e["subject"], int(e["time_ns"]), bytes.fromhex(e["envelope"])) for e in found["log"]
    ]
    assert {()} == {tuple(admitted) for _, admitted in verdicts}


@FIXED
@given(st.lists(SPEECH | SPEECH | KEYING, max_size=25))
def test_a_stranger_judges_any_log_alike(steps: list[tuple[str, ...]]) -> None:
    """On random logs, with random misuse, the stranger's verdicts are ours."""
    log = founded()
    for step in steps:
        perform(log, step)
    agree(log)


@pytest.mark.parametrize("raw", [NOT_EVENTS[name] for name in NOT_EVENTS], ids=NOT_EVENTS)
def test_a_stranger_refuses_the_same_events(raw: bytes) -> None:
    """What is not an event for us is not one for the stranger, and the entry is void for both."""
    log = founded()
    log.put(log.sealed(SUBJECT, [event("a"), raw], ADAS))
    assert log.verdicts[-1].refusal
    agree(log)


@pytest.mark.parametrize("raw", [NOT_ENVELOPES[name] for name in NOT_ENVELOPES], ids=NOT_ENVELOPES)
def test_a_stranger_refuses_the_same_envelopes(raw: bytes) -> None:
    """What is not an envelope for us is not one for the stranger."""
    log = founded()
    log.put(log.entry(SUBJECT, raw))
    assert log.verdicts[-1].refusal
    assert agree(log) == "R005"


def agree(log: Log) -> str | None:
    """Read a log as the stranger, compare every verdict, and return the last refusal."""
    fingerprint = log.prefix.keys.fingerprint
    assert fingerprint
    reader, last = Reader("dev", fingerprint), None
    for verdict in log.verdicts:
        entry = verdict.entry
        ours = (verdict.refusal.code if verdict.refusal else None, [offset for offset, _ in verdict.admitted()])
        assert ours == reader.read(entry.index, entry.subject, entry.time_ns, entry.raw)
        last = ours[0]
    return last


# What the log's tree commits to


@pytest.mark.spec("X-04", "X-03")
def test_an_entry_has_one_leaf_and_a_leaf_one_entry() -> None:
    """An envelope on its own subject is its leaf behind the time; garbage and strays carry their subject with them."""
    time = (7).to_bytes(8, "big")
    own, stray, garbage = Entry(3, SUBJECT, 7, SEALED), Entry(3, SUBJECT + "x", 7, SEALED), Entry(3, SUBJECT, 7, b"no")
    assert time + SEALED == leaf_of(own)
    assert time + b"\xc1" + len(SUBJECT + "x").to_bytes(2, "big") + SUBJECT.encode() + b"x" + SEALED == leaf_of(stray)
    for entry in (own, stray, garbage):
        assert entry == entry_of(3, leaf_of(entry))


@pytest.mark.spec("X-04")
@pytest.mark.parametrize(
    "leaf",
    [
        b"",
        bytes(8),
        bytes(8) + b"no",
        bytes(8) + b"\xc1",
        bytes(8) + b"\xc1\x00\x09short",
        bytes(8) + b"\xc1\x00\x01\xff..",
        bytes(8) + b"\xc1" + len(SUBJECT).to_bytes(2, "big") + SUBJECT.encode() + SEALED,
    ],
)
def test_a_leaf_that_no_entry_has_is_refused(leaf: bytes) -> None:
    """Too short, no envelope, a subject cut short or not UTF-8, or the long form where the short one belongs."""
    with pytest.raises(ValueError, match=r".+"):
        entry_of(0, leaf)
