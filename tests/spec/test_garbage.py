"""Whatever arrives, the answer is a message, an admitted event, or a refusal with a name: never a crash."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.codec import decode, decode_any, encode
from shared.envelope import admit, read, read_event, recall
from shared.errors import CODES, Refusal, Refused
from shared.log import Entry
from shared.message import MAX_MESSAGE_BYTES
from tests.forge import KEYS_LANE, PLAIN, START_MS, Log, envelope, founded, signer, subject_of
from tests.fuzz import fuzz_log
from tests.fuzz.fuzz_envelope import Finding, check_message, check_reading, fuzz, one_step, target
from tests.specimens import declared

pytestmark = pytest.mark.spec("X-12", "X-03")

MANY = settings(max_examples=150)
STEPS = 2_000

#: What MessagePack can say, canonical or not, nested a little.
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8) | st.integers(0, 9), inner, max_size=5)
    ),
    max_leaves=12,
)
SOME_BYTES = (
    st.binary(max_size=300)
    | ANYTHING.map(msgspec.msgpack.encode)
    | st.binary(max_size=60).map(lambda tail: b"{" + tail)
)
SUBJECTS = [subject_of(PLAIN), *(f"{KEYS_LANE}.{kind}" for kind in ("genesis", "introduced", "rotated", "revoked"))]
SUBJECTS += [
    "",
    ".",
    "dev",
    "dev.nervous.math.wave",
    "dev.system.keys.event..genesis",
    "prod.system.keys.event.root.genesis",
    "a.b.c.event.e.f.g",
]


@MANY
@given(SOME_BYTES)
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    """Reading bytes as an envelope, as an event or as any message gives what they say or a Refused."""
    check_reading(raw)
    for cls in declared():
        check_message(cls, raw)


@MANY
@given(SOME_BYTES, st.sampled_from(SUBJECTS), st.integers(0, 2**64 - 1), st.integers(0, 2**63))
def test_any_entry_has_a_named_verdict(raw: bytes, subject: str, time_ns: int, index: int) -> None:
    """Any bytes on any subject at any time are void with a declared code, before a genesis and after."""
    for log in (Log(), FOUNDED):
        before = copy.deepcopy(log.prefix)
        verdict = admit(log.prefix, Entry(index, subject, time_ns, raw))
        assert verdict.refusal
        assert "R005" == verdict.refusal.code
        assert [(0, verdict.refusal)] == verdict.void()
        assert [] == recall(log.prefix, verdict.entry).admitted()
        assert before == log.prefix


FOUNDED = founded()


@MANY
@given(st.lists(SOME_BYTES, min_size=1, max_size=4), st.sampled_from(SUBJECTS))
def test_a_registered_key_cannot_sign_garbage_in(events: list[bytes], subject: str) -> None:
    """Properly signed envelopes around any bytes, on any subject, are void with a declared code."""
    raw = envelope(subject, events, [signer("ada's")], time=HALF_PAST)
    verdict = admit(FOUNDED.prefix, msgspec.structs.replace(FOUNDED.entry(subject, raw), time_ns=START_MS * 1_000_000))
    assert verdict.refusal
    assert verdict.refusal.code in {"R002", "R005", "R006", "R007", "R008"}


HALF_PAST = "2026-01-01T00:00:00.000Z"


@MANY
@given(ANYTHING, st.sampled_from(SUBJECTS))
def test_any_data_is_judged(data: object, subject: str) -> None:
    """Whatever a well-formed event holds, also a key event or a first genesis, the verdict is data, not an error."""
    event = msgspec.msgpack.encode(
        {"id": bytes(16), "cause": b"", "evidence": b"", "data": {"scope": data, "roots": data, "n": data}}
    )
    raw = envelope(subject, [event], [signer("ada's")], time=HALF_PAST)
    for log in (Log(), FOUNDED):
        verdict = admit(log.prefix, msgspec.structs.replace(log.entry(subject, raw), time_ns=START_MS * 1_000_000))
        assert verdict.refusal is None or verdict.refusal.code in CODES


@pytest.mark.parametrize(
    "reader", [read, read_event, lambda raw: decode(Refusal, raw), lambda raw: decode_any(declared()[0], raw)]
)
@pytest.mark.parametrize("raw", [b"\x91", b"\xdd\0\1\0\0", b"\x81\xa1a", b"[", b'{"a":'], ids=repr)
def test_depth_and_size_exhaust_nothing(reader: Callable[[bytes], object], raw: bytes) -> None:
    """Nesting without end and announced sizes without content are refused at once."""
    for bomb in (raw * (MAX_MESSAGE_BYTES // len(raw)), raw * 200_000):
        with pytest.raises(Refused) as caught:
            reader(bomb)
        assert caught.value.refusal.code in {"R005", "B002", "B003"}
        assert len(encode(caught.value.refusal)) < 1_000


def test_mutants_are_refused() -> None:
    """In thousands of mutated envelopes, events and messages nothing crashes and nothing unsigned is admitted."""
    seen = fuzz(20_260_101, steps=STEPS)
    assert {"R002", "R005", "admitted"} <= set(seen)
    assert set(seen) <= {*CODES, "admitted"}


def test_a_finding_can_be_repeated() -> None:
    """What the fuzzer finds it names, and the same name draws the same bytes again."""
    found = target()
    others = [entry.raw for entry in found.entries]
    broken = replace(found, after=found.before[0], strangers=[])
    sentences: list[str] = []
    for _ in range(2):
        with pytest.raises(Finding) as caught:
            one_step(broken, declared(), others, seen=Counter(), name="7:1")
        sentences.append(str(caught.value))
    assert "--repeat 7:1" in sentences[0]
    assert sentences[0] == sentences[1]


def test_mutants_of_the_log_are_named() -> None:
    """In thousands of mutated notes, keys, proofs and tiles nothing crashes or opens but what was signed."""
    seen = fuzz_log.fuzz(20_260_101, steps=STEPS)
    names = {reader.name for reader in fuzz_log.readers()}
    assert {f"{name}: {outcome}" for name in names for outcome in ("read", "refused")} <= set(seen)
    assert seen["checkpoint: the log's"]
    assert seen["proof: proven"]


def test_a_finding_of_the_log_can_be_repeated() -> None:
    """What the log's fuzzer finds it names, and the same name draws the same bytes again."""
    broken = [replace(reader, write=lambda _: b"") for reader in fuzz_log.readers()]
    sentences: list[str] = []
    for _ in range(2):
        with pytest.raises(Finding) as caught:
            fuzz_log.one_step(broken, Counter(), "7:1")
        sentences.append(str(caught.value))
    assert "fuzz_log --repeat 7:1" in sentences[0]
    assert sentences[0] == sentences[1]
