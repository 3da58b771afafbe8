"""Admission is one pure function of the log before an entry and the entry itself, so every reader agrees."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from shared.codec import encode
from shared.envelope import KeyBook, Prefix, Verdict, admit, fingerprint_of, read, recall, rfc3339
from shared.envelope.admission import CLOCK_SKEW_MS, IHSAN_FLOOR_PPM, MAX_VOID_KEPT, SNR_FLOOR_PPM
from shared.envelope.envelope import MAX_BATCH_ENTRIES
from shared.errors import CODES, Refusal
from shared.keys import LocalSigner, key_id_of
from shared.keys.signer import LOW_ORDER
from shared.log import Entry
from shared.message import Decision, lane_of
from shared.subjects.keys import Genesis, Grant, KeyIntroduced, KeyRotated, RootKey
from tests.forge import (
    ADA,
    BOB,
    CYD,
    ENV,
    JOINT,
    KEYS_LANE,
    PART,
    PLAIN,
    SCORED,
    START_MS,
    STRICT,
    TTL_MS,
    Log,
    envelope,
    epoch,
    event,
    event_id,
    founded,
    genesis,
    introduced,
    packed,
    revoked,
    roots,
    rotated,
    signer,
    subject_of,
)

pytestmark = pytest.mark.spec("X-03", "BIZ-01")

GOOD: dict[str, Any] = {"ihsanppm": IHSAN_FLOOR_PPM, "snrppm": SNR_FLOOR_PPM}
ADAS, BOBS = signer("ada's"), signer("bob's")


def code(verdict: Verdict) -> str | None:
    """The entry's refusal code, or None; everything refused admits nothing and is void once."""
    if verdict.refusal is None:
        return None
    assert [] == verdict.admitted()
    assert [(0, verdict.refusal)] == verdict.void()
    return verdict.refusal.code


def tampered(entry: Entry, **fields: object) -> Entry:
    """An entry whose envelope's outer fields were replaced after it was signed."""
    wire = {**msgspec.msgpack.decode(entry.raw), **fields}
    return replace(entry, raw=msgspec.msgpack.encode(wire))


def flipped(entry: Entry) -> Entry:
    """An entry whose first signature has one bit changed."""
    first, *others = msgspec.msgpack.decode(entry.raw)["s"]
    sig = bytes([first["sig"][0] ^ 1]) + first["sig"][1:]
    return tampered(entry, s=[{"k": first["k"], "sig": sig}, *others])


# The order of refusals

#: One way to earn each refusal, in the order in which admission judges; each leaves the others alone.
MISUSES = ("unreadable", "expired", "signature", "ihsan", "snr", "root", "prev", "key", "subject", "owners")
EARNS = ("R005", "R001", "R002", "R003", "R004", "R005", "R006", "R007", "R008", "R009")


def misused(log: Log, wrongs: frozenset[str]) -> Entry:
    """A decision that needs scores and two owners, with every misuse of `wrongs` at once."""
    delivered, signed = subject_of(STRICT), subject_of(STRICT, "two" if "subject" in wrongs else "one")
    signers = [signer("gone") if "key" in wrongs else ADAS] + ([] if "owners" in wrongs else [BOBS])
    ihsan, snr = (0 if "ihsan" in wrongs else IHSAN_FLOOR_PPM), (0 if "snr" in wrongs else SNR_FLOOR_PPM)
    prev = 0 if "prev" in wrongs else log.prefix.lane(subject_of(STRICT).rpartition(".")[0]).last
    sealed = log.sealed(signed, [event("strict")], *signers, ihsanppm=ihsan, snrppm=snr, prev=prev)
    entry = replace(sealed, subject=delivered)
    if "expired" in wrongs:
        entry = replace(entry, time_ns=entry.time_ns + (TTL_MS + 1) * 1_000_000)
    if "root" in wrongs:
        entry = tampered(entry, e=[event("strict", packed(n=2))])
    if "signature" in wrongs:
        entry = flipped(entry)
    return replace(entry, raw=entry.raw + b"\0") if "unreadable" in wrongs else entry


def strict_log() -> Log:
    """A log in which `gone` was a key of ada's and is revoked."""
    log = founded()
    log.key_event(introduced("gone", ADA), *roots(ADA, BOB))
    log.key_event(revoked("gone"), *roots(ADA, BOB))
    assert log.say(STRICT, "before", ADAS, BOBS, **GOOD).refusal is None
    return log


STRICT_LOG = strict_log()


@pytest.mark.parametrize(("misuse", "refusal"), list(zip(MISUSES, EARNS, strict=True)))
def test_each_misuse_has_its_refusal(misuse: str, refusal: str) -> None:
    """One thing wrong gives exactly its own refusal, with a reason beside the code."""
    verdict = admit(STRICT_LOG.prefix, misused(STRICT_LOG, frozenset({misuse})))
    assert refusal == code(verdict)
    assert verdict.refusal
    assert verdict.refusal.detail


def test_nothing_wrong_is_admitted() -> None:
    """The same entry with nothing wrong is admitted, so each refusal is earned by its misuse alone."""
    verdict = admit(STRICT_LOG.prefix, misused(STRICT_LOG, frozenset()))
    assert (None, [0], []) == (code(verdict), [offset for offset, _ in verdict.admitted()], verdict.void())


@pytest.mark.parametrize("size", range(2, len(MISUSES) + 1))
def test_the_first_refusal_in_order_is_the_one_reported(size: int) -> None:
    """Whatever else is wrong, in every combination, the refusal that comes first in the order is reported."""
    for wrongs in combinations(range(len(MISUSES)), size):
        entry = misused(STRICT_LOG, frozenset(MISUSES[i] for i in wrongs))
        assert EARNS[wrongs[0]] == code(admit(STRICT_LOG.prefix, entry)), [MISUSES[i] for i in wrongs]


def test_the_order_is_the_documented_one() -> None:
    """The table of codes lists the refusals of admission, all of them, in numerical order."""
    assert sorted(set(EARNS)) == [name for name in CODES if name[0] == "R"]


def test_a_key_event_keeps_the_order() -> None:
    """A key event whose content cannot be read is still refused for its signature first, and for its content after."""
    log = founded()
    broken = log.sealed(f"{KEYS_LANE}.introduced", [event("x", packed(scope=1))], *roots(ADA, BOB), source="root")
    unreadable = tampered(broken, e=[b"\xc1"])
    assert "R002" == code(admit(log.prefix, flipped(unreadable)))
    assert "R005" == code(admit(log.prefix, unreadable))
    assert "R005" == code(admit(log.prefix, broken))


# R001


@pytest.mark.parametrize(
    ("late_ms", "expected"),
    [
        (-CLOCK_SKEW_MS - 1, "R001"),
        (-CLOCK_SKEW_MS, None),
        (0, None),
        (TTL_MS, None),
        (TTL_MS + 1, "R001"),
        (10**9, "R001"),
    ],
)
def test_time_is_the_brokers(late_ms: int, expected: str | None) -> None:
    """The broker's time judges an entry: up to its ttl after, and up to 30 s before, the time of writing."""
    log = founded()
    entry = log.sealed(subject_of(PLAIN), [event("a")], ADAS)
    assert expected == code(admit(log.prefix, replace(entry, time_ns=entry.time_ns + late_ms * 1_000_000)))


def test_a_late_reader_refuses_nothing() -> None:
    """The same entry has the same verdict however much of the log came after it."""
    log = founded()
    entry = log.sealed(subject_of(PLAIN), [event("a")], ADAS)
    before = copy.deepcopy(log.prefix)
    log.put(entry)
    for i in range(5):
        log.say(PLAIN, f"later {i}", ADAS, entity="elsewhere", time=rfc3339(log.now_ms))
    assert None is code(admit(before, entry))
    assert None is code(recall(log.prefix, entry))


# R002


def test_the_signer_is_a_registered_key() -> None:
    """A signature that verifies under a key nobody registered proves nothing."""
    log = founded()
    assert "R002" == code(log.say(PLAIN, "a", signer("stranger")))
    assert "R002" == code(log.say(PLAIN, "b", ADAS, signer("stranger")))


def test_every_signature_must_verify() -> None:
    """One good signature does not carry a bad one."""
    log = founded()
    entry = log.sealed(subject_of(PLAIN), [event("a")], ADAS, BOBS)
    good = msgspec.msgpack.decode(entry.raw)["s"]
    for spoiled in (0, 1):
        signatures = [{**s, "sig": bytes(64)} if i == spoiled else s for i, s in enumerate(good)]
        assert "R002" == code(admit(log.prefix, tampered(entry, s=signatures)))


def test_a_key_signs_under_its_own_name_only() -> None:
    """A signature moved under another registered key's id is refused."""
    log = founded()
    entry = log.sealed(subject_of(PLAIN), [event("a")], ADAS)
    sig = msgspec.msgpack.decode(entry.raw)["s"][0]["sig"]
    assert "R002" == code(admit(log.prefix, tampered(entry, s=[{"k": BOBS.key_id, "sig": sig}])))


@pytest.mark.parametrize(
    "field",
    ["source", "subject", "time", "ttlms", "agent", "boot", "sequence", "version", "correlation", "prev", "batch"],
)
def test_every_attribute_is_signed(field: str) -> None:
    """No attribute can be changed after signing."""
    log = founded()
    entry = log.sealed(subject_of(PLAIN), [event("a")], ADAS)
    wire = msgspec.msgpack.decode(entry.raw)
    attributes = msgspec.msgpack.decode(wire["p"])
    changed = {"time": rfc3339(log.now_ms + 1), "agent": "USER"}.get(
        field, attributes[field] * 2 + type(attributes[field])(1)
    )
    payload = msgspec.msgpack.encode({**attributes, field: abs(changed) if isinstance(changed, int) else changed})
    assert payload != wire["p"]
    assert "R002" == code(admit(log.prefix, tampered(entry, p=payload)))


# R003, R004


@pytest.mark.parametrize(
    ("ihsan", "snr", "expected"),
    [
        (IHSAN_FLOOR_PPM, SNR_FLOOR_PPM, None),
        (1_000_000, 1_000_000, None),
        (IHSAN_FLOOR_PPM - 1, SNR_FLOOR_PPM, "R003"),
        (None, SNR_FLOOR_PPM, "R003"),
        (IHSAN_FLOOR_PPM, SNR_FLOOR_PPM - 1, "R004"),
        (IHSAN_FLOOR_PPM, None, "R004"),
        (0, 0, "R003"),
        (1_000_001, SNR_FLOOR_PPM, "R005"),
        (IHSAN_FLOOR_PPM, 10**18, "R005"),
        (-1, SNR_FLOOR_PPM, "R005"),
    ],
)
def test_scores_have_floors_where_they_are_required(ihsan: int | None, snr: int | None, expected: str | None) -> None:
    """Where the grant requires scores, ihsan is at least 0.95 and snr at least 0.85, and neither is above 1."""
    assert expected == code(founded().say(SCORED, "a", ADAS, ihsanppm=ihsan, snrppm=snr))


def test_scores_have_no_floors_elsewhere() -> None:
    """A record of a refusal is not itself refused for its low score."""
    assert None is code(founded().say(PLAIN, "a", ADAS, ihsanppm=0, snrppm=0))


# R005


def test_events_match_the_signed_root() -> None:
    """Events cannot be changed, dropped, added or reordered under a signature."""
    log = founded()
    events = [event("a"), event("b"), event("c")]
    entry = log.sealed(subject_of(PLAIN), events, ADAS)
    assert None is code(admit(log.prefix, entry))
    for other in ([*events[:2], event("x")], events[::-1], [events[0], *events[:2]]):
        assert "R005" == code(admit(log.prefix, tampered(entry, e=other)))
    for other in (events[:2], [*events, event("d")], []):
        assert "R005" == code(admit(log.prefix, tampered(entry, e=other)))


def test_the_envelopes_id_is_its_first_events() -> None:
    """An envelope cannot be known under another event's id."""
    assert "R005" == code(founded().say(PLAIN, "a", ADAS, id=event_id("b").hex()))


@pytest.mark.parametrize("bad", [b"\x80", b"\xc1", b"", event("b")[:-1], event("b") + b"\0"])
def test_one_unreadable_event_voids_the_entry(bad: bytes) -> None:
    """A block whose root is right but one of whose events cannot be read is refused as a whole."""
    log = founded()
    assert "R005" == code(log.put(log.sealed(subject_of(PLAIN), [event("a"), bad], ADAS)))


# R006: repetition, the lane's chain, atomic batches


def test_an_event_is_admitted_once_in_its_lane() -> None:
    """The same source and event id again, sealed afresh, is void, and the entry says where."""
    log = founded()
    assert None is code(log.say(PLAIN, "a", ADAS))
    again = log.say(PLAIN, "a", ADAS)
    assert [] == again.admitted()
    assert [(0, "R006")] == [(offset, no.code) for offset, no in again.void()]


def test_repetition_judges_each_event() -> None:
    """In a block with old and new events, and one twice, the old and the second are void, the others admitted."""
    log = founded()
    log.say(PLAIN, "old", ADAS)
    block = log.put(log.sealed(subject_of(PLAIN), [event(name) for name in ("new", "old", "new", "newer")], ADAS))
    assert None is block.refusal
    assert [(0, event_id("new")), (3, event_id("newer"))] == [(offset, e.id) for offset, e in block.admitted()]
    assert [1, 2] == [offset for offset, _ in block.void()]


def test_the_same_event_id_lives_in_other_lanes_and_sources() -> None:
    """Repetition is a matter of one source in one lane: nobody can spend another's id."""
    log = founded()
    other = Grant(f"{ENV}.nervous.math.event.*.{PLAIN}")
    log.key_event(introduced("other's", CYD, "nerves.other", [other]), *roots(ADA, BOB))
    assert None is code(log.say(PLAIN, "a", signer("other's"), source="nerves.other"))
    assert None is code(log.say(PLAIN, "a", ADAS, entity="two"))
    assert [0] == [offset for offset, _ in log.say(PLAIN, "a", ADAS).admitted()]


def test_a_void_entry_spends_no_event_id() -> None:
    """What was refused may be decided again under the same id."""
    log = founded()
    assert "R003" == code(log.say(SCORED, "a", ADAS))
    assert "R002" == code(log.say(SCORED, "a", signer("stranger"), **GOOD))
    assert None is code(log.say(SCORED, "a", ADAS, **GOOD))


def test_replayed_bytes_are_refused() -> None:
    """An entry stored a second time is void, at once and later."""
    log = founded()
    entry = log.sealed(subject_of(PLAIN), [event("a")], ADAS)
    assert None is code(log.put(entry))
    assert "R006" == code(log.put(replace(entry, index=log.index)))
    log.say(PLAIN, "b", ADAS)
    assert "R006" == code(log.put(replace(entry, index=log.index)))


@pytest.mark.parametrize("wrong_by", [-2, -1, 1, 100])
def test_prev_is_the_lanes_last_index(wrong_by: int) -> None:
    """An entry sealed on any other end of its lane is void, although the server stored it."""
    log = founded()
    log.say(PLAIN, "elsewhere", ADAS, entity="two")
    log.say(PLAIN, "a", ADAS)
    last = log.prefix.lane(subject_of(PLAIN).rpartition(".")[0]).last
    assert "R006" == code(log.say(PLAIN, "b", ADAS, prev=last + wrong_by))


def test_a_void_entry_moves_its_lane() -> None:
    """The chain counts what is stored: after a void entry, `prev` names it."""
    log = founded()
    log.say(PLAIN, "a", ADAS)
    last = log.index
    log.put(log.entry(subject_of(PLAIN), b"noise"))
    assert "R006" == code(log.say(PLAIN, "b", ADAS, prev=last - 1))
    assert None is code(log.say(PLAIN, "c", ADAS, prev=last + 1))


def test_lanes_are_independent() -> None:
    """Traffic on one entity never disturbs another's chain."""
    log = founded()
    for i in range(3):
        for entity in ("one", "two", "three"):
            assert None is code(log.say(PLAIN, f"{i}", ADAS, entity=entity))


def batch(log: Log, places: Sequence[int], **changes: object) -> list[str | None]:
    """Put entries that claim these places of one atomic batch, all with the same `prev`."""
    prev = log.prefix.lane(subject_of(PLAIN).rpartition(".")[0]).last
    return [code(log.say(PLAIN, f"{log.index}", ADAS, **{"prev": prev, "batch": place, **changes})) for place in places]


def test_an_atomic_batch_is_a_chain() -> None:
    """The entries of a batch share `prev` and count their places; the lane goes on after the last."""
    log = founded()
    log.say(PLAIN, "before", ADAS)
    assert [None, None, None] == batch(log, [0, 1, 2])
    assert [None, None] == batch(log, [0, 1])
    assert None is code(log.say(PLAIN, "after", ADAS))


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([1], ["R006"]),
        ([0, 2], [None, "R006"]),
        ([0, 0], [None, "R006"]),
        ([0, 1, 1], [None, None, "R006"]),
        ([0, 2, 1], [None, "R006", "R006"]),
        ([0, MAX_BATCH_ENTRIES], [None, "R005"]),
        ([-1], ["R005"]),
    ],
)
def test_a_batch_out_of_order_is_refused(places: list[int], expected: list[str | None]) -> None:
    """A place skipped, repeated or never begun breaks the batch, and nothing continues it after that."""
    assert expected == batch(founded(), places)


def test_a_batch_is_one_writers() -> None:
    """Another source cannot continue a batch, nor can the same source with another `prev`."""
    log = founded()
    log.key_event(
        introduced("other's", CYD, "nerves.other", [Grant(f"{ENV}.nervous.math.event.*.{PLAIN}")]), *roots(ADA, BOB)
    )
    batch(log, [0])
    assert "R006" == code(log.say(PLAIN, "x", signer("other's"), source="nerves.other", prev=-1, batch=1))
    log = founded()
    batch(log, [0])
    assert "R006" == code(log.say(PLAIN, "x", ADAS, batch=1))


def test_a_batch_is_contiguous() -> None:
    """Once another entry stands between, on whatever lane, the batch is over."""
    log = founded()
    batch(log, [0])
    log.say(PLAIN, "between", ADAS, entity="two")
    assert "R006" == code(log.say(PLAIN, "x", ADAS, prev=-1, batch=1))


# R007: validity by index, entitlement, key events


def test_a_key_is_valid_from_the_index_after_its_introduction() -> None:
    """Before its introduction a key is unknown (R002); at every index after it, it may sign."""
    log = founded()
    late = log.sealed(subject_of(PLAIN), [event("a")], signer("new"))
    assert "R002" == code(admit(log.prefix, late))
    at = log.index
    log.key_event(introduced("new", CYD), *roots(ADA, BOB))
    assert "R002" == code(admit(log.prefix, late))
    assert (at + 1, None) == (
        log.prefix.keys.keys[signer("new").key_id].first,
        log.prefix.keys.keys[signer("new").key_id].last,
    )
    assert None is code(log.say(PLAIN, "a", signer("new")))


def test_a_revoked_key_ends_at_the_revocation() -> None:
    """After its revocation a key is known and no longer valid (R007); before, it stays valid for every later reader."""
    log = founded()
    early = log.sealed(subject_of(PLAIN), [event("early")], ADAS)
    before = Prefix(ENV, copy.deepcopy(log.prefix.keys))
    log.put(early)
    log.key_event(revoked("ada's"), *roots(ADA, BOB))
    assert "R007" == code(log.say(PLAIN, "late", ADAS))
    later = Prefix(ENV, log.prefix.keys)
    assert code(admit(before, early)) is code(admit(later, early)) is None


def test_a_rotation_hands_over_at_one_index() -> None:
    """The predecessor ends where the successor begins; part, owner and grants stay."""
    log = founded()
    old, at = log.prefix.keys.keys[ADAS.key_id], log.index
    assert None is code(log.key_event(rotated("ada's", "ada's second"), ADAS, source=PART))
    new = log.prefix.keys.keys[signer("ada's second").key_id]
    assert (at, at + 1, None) == (log.prefix.keys.keys[ADAS.key_id].last, new.first, new.last)
    assert (old.part, old.owner, old.grants) == (new.part, new.owner, new.grants)
    assert new == log.prefix.keys.current(PART)
    assert "R007" == code(log.say(PLAIN, "a", ADAS))
    assert None is code(log.say(PLAIN, "b", signer("ada's second")))
    assert None is code(log.key_event(rotated("ada's second", "ada's third"), signer("ada's second"), source=PART))


def test_a_root_key_rotates_itself_and_is_revoked_like_any_other() -> None:
    """Root keys obey the same rules; the successor counts towards the threshold under the same owner."""
    log = founded()
    assert None is code(log.key_event(rotated("root ada", "root ada 2"), *roots(ADA)))
    assert "R007" == code(log.key_event(introduced("x", ADA), *roots(ADA, BOB)))
    assert None is code(log.key_event(introduced("x", ADA), signer("root ada 2"), *roots(BOB)))
    assert None is code(log.key_event(revoked("root cyd"), signer("root ada 2"), *roots(BOB)))
    assert "R007" == code(log.key_event(introduced("y", ADA), *roots(BOB, CYD)))


def test_a_key_speaks_for_its_own_part() -> None:
    """A registered key cannot sign under another part's name, whatever it is entitled to."""
    assert "R007" == code(founded().say(PLAIN, "a", ADAS, source="nerves.other"))


@pytest.mark.parametrize(
    "subject", [subject_of("unheard"), f"{ENV}.nervous.other.event.one.{PLAIN}", f"prod.nervous.math.event.one.{PLAIN}"]
)
def test_a_key_signs_only_what_it_was_granted(subject: str) -> None:
    """A subject that no grant covers is refused, also the same subject of another environment."""
    log = founded()
    assert "R007" == code(log.put(log.sealed(subject, [event("a")], ADAS)))


def test_root_keys_sign_key_events_only() -> None:
    """The root cannot decide in a part's place."""
    log = founded()
    assert "R007" == code(log.say(PLAIN, "a", *roots(ADA, BOB)))


KEY_MISUSES: dict[str, tuple[str, Decision, list[LocalSigner], dict[str, Any]]] = {
    "a part introduces": ("R007", introduced("x", ADA), [ADAS], {"source": PART}),
    "a part and the root introduce": ("R007", introduced("x", ADA), [ADAS, *roots(BOB)], {"source": PART}),
    "a part revokes": ("R007", revoked("bob's"), [ADAS], {"source": PART}),
    "a part revokes itself": ("R007", revoked("ada's"), [ADAS], {"source": PART}),
    "introduced twice": ("R007", introduced("ada's", CYD), roots(ADA, BOB), {}),
    "a root key introduced again": ("R007", introduced("root ada", CYD), roots(ADA, BOB), {}),
    "revoked but unknown": ("R007", revoked("nobody's"), roots(ADA, BOB), {}),
    "rotated by another key": ("R007", rotated("bob's", "x"), [ADAS], {"source": PART}),
    "rotated by the root": ("R007", rotated("ada's", "x"), roots(ADA), {}),
    "rotated by two": ("R007", rotated("ada's", "x"), [ADAS, BOBS], {"source": PART}),
    "rotated to a known key": ("R007", rotated("ada's", "bob's"), [ADAS], {"source": PART}),
    "rotated to itself": ("R007", rotated("ada's", "ada's"), [ADAS], {"source": PART}),
    "one root owner": ("R009", introduced("x", ADA), roots(ADA), {}),
    "one root owner revokes": ("R009", revoked("ada's"), roots(ADA), {}),
    "a second genesis": ("R007", genesis(), roots(ADA, BOB), {}),
    "a second genesis of others": ("R002", genesis(1, ["eve"]), roots("eve"), {}),
}


@pytest.mark.parametrize("misuse", KEY_MISUSES)
@pytest.mark.spec("BIZ-14")
def test_key_events_are_judged(misuse: str) -> None:
    """Only enough root owners introduce and revoke, only the predecessor rotates, and no key is registered twice."""
    expected, message, signers, changes = KEY_MISUSES[misuse]
    log = founded()
    known = copy.deepcopy(log.prefix.keys)
    assert expected == code(log.key_event(message, *signers, **changes))
    assert known == log.prefix.keys


@pytest.mark.parametrize(
    "message", [introduced("x", ADA), revoked("ada's"), genesis()], ids=lambda message: type(message).__name__
)
def test_no_grant_makes_a_root(message: Decision) -> None:
    """Parts whose keys may sign every subject, of enough owners, still register and revoke nothing."""
    log = founded()
    for name, owner in (("all", ADA), ("everything", BOB)):
        log.key_event(introduced(name, owner, PART, [Grant(">")]), *roots(ADA, BOB))
    assert "R007" == code(log.key_event(message, signer("all"), signer("everything"), source=PART))


def unfit(name: str) -> tuple[str, bytes]:
    """A key id and a public key that must never be registered."""
    good = signer(name).public
    low = next(iter(sorted(LOW_ORDER)))
    return {
        "low order": (key_id_of(low), low),
        "short": (key_id_of(good[:31]), good[:31]),
        "empty": (key_id_of(b""), b""),
        "not canonical": (key_id_of(b"\xff" * 31 + b"\x7f"), b"\xff" * 31 + b"\x7f"),
        "another's id": (signer("else").key_id, good),
        "no id": ("", good),
    }[name]


UNFIT = ["low order", "short", "empty", "not canonical", "another's id", "no id"]


@pytest.mark.parametrize("name", UNFIT)
def test_an_unfit_key_is_never_registered(name: str) -> None:
    """A weak, malformed or misnamed public key is refused at introduction, at rotation and in a genesis."""
    key_id, public = unfit(name)
    log = founded()
    assert "R007" == code(log.key_event(KeyIntroduced("root", key_id, public, PART, ADA, [], []), *roots(ADA, BOB)))
    assert "R007" == code(log.key_event(KeyRotated("root", ADAS.key_id, key_id, public), ADAS, source=PART))
    first = genesis()
    founder = msgspec.structs.replace(first, roots=[*first.roots, RootKey(key_id, public, "eve")])
    assert "R007" == code(Log().key_event(founder, *roots(ADA, BOB)))


def test_key_events_live_on_one_lane() -> None:
    """A key event on another lane, or with another scope, is refused, so that every reader folds the same ones."""
    log = founded()
    known = copy.deepcopy(log.prefix.keys)
    aside = msgspec.structs.replace(introduced("x", ADA), scope="aside")
    assert "R008" == code(log.key_event(aside, *roots(ADA, BOB)))
    assert "R008" == code(
        log.put(log.sealed(f"{KEYS_LANE}.introduced", [event("y", encode(aside))], *roots(ADA, BOB), source="root"))
    )
    assert known == log.prefix.keys
    founder = msgspec.structs.replace(genesis(), scope="aside")
    assert "R002" == code(Log().key_event(founder, *roots(ADA, BOB)))
    for threshold in (2, 9):
        data = encode(msgspec.structs.replace(genesis(threshold), scope="aside"))
        log = Log()
        entry = log.sealed(f"{KEYS_LANE}.genesis", [event("g", data)], *roots(ADA, BOB), source="root")
        assert "R008" == code(log.put(entry))


@pytest.mark.parametrize(("env", "scope"), [(ENV, "aside"), ("prod", "root"), ("prod", "aside")])
def test_a_stray_key_event_is_judged_without_the_keys(env: str, scope: str) -> None:
    """A key event off its lane has the same refusal for a reader who knows that its key will be registered later."""
    log = founded()
    log.key_event(introduced("boss", CYD, "root", [Grant(">")]), *roots(ADA, BOB))
    subject = f"{env}.system.keys.event.{scope}.introduced"
    stray = log.sealed(subject, [event("x", encode(introduced("x", ADA)))], signer("boss"))
    now = code(admit(log.prefix, stray))
    log.put(stray)
    log.key_event(introduced("x", ADA), *roots(ADA, BOB))
    later = code(admit(Prefix(ENV, log.prefix.keys), stray))
    assert ("R008", "R008") == (now, later)


def test_a_key_event_stands_alone() -> None:
    """Two key events in one envelope are refused: a key's validity is an index, not a position inside one."""
    log = founded()
    both = [event(name, encode(introduced(name, ADA))) for name in ("x", "y")]
    assert "R007" == code(log.put(log.sealed(f"{KEYS_LANE}.introduced", both, *roots(ADA, BOB), source="root")))


@pytest.mark.parametrize("changes", [{"scope": None}, {"threshold": 1.5}, {"roots": [{}]}, {"more": 1}])
def test_a_key_event_is_exactly_its_class(changes: dict[str, object]) -> None:
    """Admission reads key events, so one that is not its class is malformed."""
    data = msgspec.msgpack.encode({**msgspec.to_builtins(genesis(), builtin_types=(bytes,)), **changes})
    log = Log()
    assert "R005" == code(
        log.put(log.sealed(f"{KEYS_LANE}.genesis", [event("g", data)], *roots(ADA, BOB), source="root"))
    )


# The genesis


def test_nothing_is_admitted_before_the_genesis() -> None:
    """A log without a genesis knows no key."""
    log = Log()
    assert "R002" == code(log.say(PLAIN, "a", ADAS))
    assert "R002" == code(log.key_event(introduced("x", ADA), *roots(ADA, BOB)))


def test_the_genesis_is_entry_zero() -> None:
    """A genesis at any other index is refused, also when nothing else was admitted before it."""
    log = Log()
    log.put(log.entry(subject_of(PLAIN), b"noise"))
    assert "R007" == code(log.key_event(genesis(), *roots(ADA, BOB)))


def test_a_genesis_is_trusted_by_fingerprint() -> None:
    """A reader who trusts a fingerprint accepts that genesis and no other."""
    trusted = fingerprint_of(encode(genesis()))
    log = Log(trusted)
    assert None is code(log.key_event(genesis(), *roots(ADA, BOB)))
    assert trusted == log.prefix.keys.fingerprint
    assert "R007" == code(Log(trusted).key_event(genesis(1), *roots(ADA, BOB)))


@pytest.mark.parametrize("owners", [[ADA], [BOB], [CYD]])
def test_a_genesis_needs_its_own_threshold(owners: list[str]) -> None:
    """Fewer owners than the genesis itself demands cannot found a log."""
    assert "R009" == code(Log().key_event(genesis(), *roots(*owners)))


@pytest.mark.parametrize("owners", list(combinations([ADA, BOB, CYD], 2)))
def test_any_two_of_three_owners_suffice(owners: tuple[str, str]) -> None:
    """With threshold two, every pair of the three root owners founds, introduces and revokes."""
    log = Log()
    for message in (genesis(), introduced("ada's", ADA), revoked("ada's")):
        assert None is code(log.key_event(message, *roots(*owners)))


@pytest.mark.parametrize("threshold", [-1, 0, 4, 2**40])
def test_a_threshold_can_be_met(threshold: int) -> None:
    """A threshold below one, or above the number of distinct root owners, is refused."""
    assert "R009" == code(Log().key_event(genesis(threshold), *roots(ADA, BOB, CYD)))


def test_owners_are_counted_not_keys() -> None:
    """Two keys of one owner are one owner."""
    two = signer("root ada again")
    first = genesis(2, [ADA, BOB])
    log = Log()
    founder = msgspec.structs.replace(first, roots=[*first.roots, RootKey(two.key_id, two.public, ADA)])
    assert "R009" == code(Log().key_event(founder, *roots(ADA), two))
    assert None is code(log.key_event(founder, *roots(ADA, BOB)))
    assert "R009" == code(log.key_event(introduced("x", ADA), *roots(ADA), two))


def test_a_root_key_has_one_owner() -> None:
    """A genesis that lists one key under two owners is refused: the second owner would be nobody."""
    first = genesis(1, [ADA])
    founder = msgspec.structs.replace(first, roots=[*first.roots, msgspec.structs.replace(first.roots[0], owner=BOB)])
    assert "R007" == code(Log().key_event(founder, *roots(ADA)))


def test_strangers_cannot_sign_a_genesis() -> None:
    """The keys that prove a genesis are those that it lists."""
    assert "R002" == code(Log().key_event(genesis(1), signer("stranger")))
    assert "R002" == code(Log().key_event(genesis(1), *roots(ADA), signer("stranger")))


# R008, R009


def test_the_signed_subject_is_the_delivered_one() -> None:
    """An envelope moved to another subject is refused, within its lane and without."""
    log = founded()
    entry = log.sealed(subject_of(PLAIN), [event("a")], ADAS)
    assert "R008" == code(admit(log.prefix, replace(entry, subject=subject_of(PLAIN, "two"))))
    assert "R008" == code(admit(log.prefix, replace(entry, subject=subject_of(JOINT))))
    assert "R008" == code(admit(log.prefix, replace(entry, subject=subject_of(PLAIN).replace(ENV, "prod"))))


@pytest.mark.parametrize(
    "subject",
    [
        f"{ENV}.nervous.math.wave",
        f"{ENV}.nervous.math.event.one",
        f"{ENV}.a.b.event.c.d.e",
        f"prod.nervous.math.event.one.{PLAIN}",
        "",
    ],
)
def test_only_decisions_of_this_environment_are_admitted(subject: str) -> None:
    """Even a key that may sign everything cannot sign what is no decision's subject, or another environment's."""
    log = founded()
    log.key_event(introduced("all", CYD, PART, [Grant(">")]), *roots(ADA, BOB))
    assert "R008" == code(log.put(log.sealed(subject, [event("a")], signer("all"))))


def test_the_type_belongs_to_the_subject() -> None:
    """The CloudEvents type is derived from the subject, so it cannot say something else."""
    assert "R008" == code(founded().say(PLAIN, "a", ADAS, type="nimmerverse.nervous.math.other"))


@pytest.mark.parametrize(("signers", "expected"), [([ADAS], "R009"), ([BOBS], "R009"), ([ADAS, BOBS], None)])
def test_a_joint_decision_needs_two_owners(signers: list[LocalSigner], expected: str | None) -> None:
    """Where the grant demands two owners, one is too few."""
    assert expected == code(founded().say(JOINT, "a", *signers))


def test_a_joint_decision_counts_owners() -> None:
    """Two keys of one owner are still one owner."""
    log = founded()
    log.key_event(introduced("ada's other", ADA), *roots(ADA, BOB))
    assert "R009" == code(log.say(JOINT, "a", ADAS, signer("ada's other")))


# Purity, recall, two readers


def test_admission_changes_nothing() -> None:
    """Judging, also of nonsense, leaves the prefix exactly as it was, and judging again gives the same verdict."""
    log = strict_log()
    kept = copy.deepcopy(log.prefix)
    for wrongs in (frozenset[str](), *(frozenset({misuse}) for misuse in MISUSES)):
        entry = misused(log, wrongs)
        assert admit(log.prefix, entry) == admit(log.prefix, entry)
        recall(log.prefix, entry)
    for message in (introduced("x", ADA), revoked("ada's"), genesis()):
        raw = envelope(
            message.subject(ENV),
            [event("k", encode(message))],
            roots(ADA, BOB),
            source="root",
            time=rfc3339(log.now_ms),
        )
        admit(log.prefix, log.entry(message.subject(ENV), raw))
    assert log.prefix == kept
    assert Prefix(ENV).lane("unheard") == Prefix(ENV).lane("of")


def twisted(log: Log, twist: str, entity: str, name: str, signers: list[LocalSigner]) -> Entry:
    """One decision, honest or with a twist."""
    subject = subject_of(PLAIN, entity)
    if twist == "noise":
        return log.entry(subject, b"noise")
    if twist == "again" and log.entries:
        return replace(log.entries[len(name) % log.index], index=log.index)
    events = [event(name), event(name + "+")] if twist == "block" else [event(name)]
    changes: dict[str, object] = {"prev": 0} if twist == "prev" else {"batch": 1} if twist == "batch" else {}
    entry = log.sealed(subject, events, *signers, **changes)
    return flipped(entry) if twist == "signature" else entry


NAMES = ["ada's", "bob's", "k1", "k2", "k3"]
SPEECH = st.tuples(
    st.just("say"),
    st.sampled_from(["", "", "", "block", "noise", "again", "prev", "batch", "signature"]),
    st.sampled_from(["one", "two"]),
    st.sampled_from(["a", "bb", "ccc", "dddd"]),
    st.sampled_from(NAMES),
)
KEYING = st.tuples(
    st.sampled_from(["introduce", "rotate", "revoke", "aside", "epoch"]),
    st.sampled_from(NAMES),
    st.sampled_from(NAMES),
    st.booleans(),
)


def perform(log: Log, step: tuple[str, ...]) -> None:
    """Put one random entry."""
    match step:
        case ("say", twist, entity, name, who):
            log.put(twisted(log, twist, entity, name, [signer(who)]))
        case ("introduce", one, _, honest):
            log.key_event(introduced(one, CYD), *roots(ADA, *([BOB] if honest else [])))
        case ("aside", one, _, _):
            log.key_event(msgspec.structs.replace(introduced(one, CYD), scope="aside"), *roots(ADA, BOB))
        case ("rotate", one, two, honest):
            log.key_event(rotated(one, two), signer(one if honest else two), source=PART)
        case ("revoke", one, _, honest):
            log.key_event(revoked(one), *(roots(ADA, BOB) if honest else [signer(one)]))
        case ("epoch", one, _, honest):
            number = len(log.prefix.keys.epochs) + (3 if one == NAMES[0] else 2)
            log.key_event(epoch(number, log.index, log.index), *roots(ADA, *([BOB] if honest else [])))
        case _:
            raise AssertionError(step)


def reader_of_lanes(entries: Sequence[Entry]) -> dict[int, Verdict]:
    """Judge a log as a part does: all keys first, however late they are, then each lane on its own."""
    prefix, verdicts = Prefix(ENV), dict[int, Verdict]()
    lanes = sorted(
        {lane for entry in entries if (lane := lane_of(entry.subject))}, key=lambda lane: (lane != KEYS_LANE, lane)
    )
    for lane in lanes:
        for entry in entries:
            if lane == lane_of(entry.subject):
                verdicts[entry.index] = admit(prefix, entry)
                prefix.fold(verdicts[entry.index])
    return verdicts


@settings(max_examples=150)
@given(st.lists(SPEECH | SPEECH | KEYING, max_size=25))
def test_two_readers_agree_on_every_entry(steps: list[tuple[str, ...]]) -> None:
    """One reader folds all in order, one knows every later key and reads lane by lane: the same verdicts."""
    log = founded()
    for step in steps:
        perform(log, step)
    lanes = reader_of_lanes(log.entries)
    assert {verdict.entry.index: verdict for verdict in log.verdicts} == lanes
    for verdict in log.verdicts:
        assert outcome(verdict) == outcome(recall(log.prefix, verdict.entry))


def outcome(verdict: Verdict) -> tuple[str | None, list[int], list[tuple[int, str]]]:
    """What a verdict says: the entry's refusal, the offsets admitted, the offsets void and why."""
    return (
        code(verdict),
        [offset for offset, _ in verdict.admitted()],
        [(offset, no.code) for offset, no in verdict.void()],
    )


def test_recall_repeats_the_verdict() -> None:
    """At any later time and in any order, recall says what admission said, reasons and offsets included."""
    log = strict_log()
    for misuse in MISUSES:
        log.put(misused(log, frozenset({misuse})))
    log.put(log.sealed(subject_of(PLAIN), [event(name) for name in ("a", "b", "a")], ADAS))
    log.put(log.sealed(subject_of(PLAIN), [event(name) for name in ("a", "b")], ADAS))
    log.put(log.entry("not.a.decision", b"noise"))
    for verdict in reversed(log.verdicts):
        recalled = recall(log.prefix, verdict.entry)
        assert outcome(verdict) == outcome(recalled)
        assert verdict.refusal == recalled.refusal
        assert verdict.admitted() == recalled.admitted()


FORGERIES: dict[str, Callable[[Log, Entry], Entry]] = {
    "other data": lambda _, entry: resealed(entry, [event("a", packed(n=1_000_000))]),
    "other time": lambda log, entry: replace(entry, raw=log.sealed(entry.subject, [event("a")], ADAS, prev=-1).raw),
    "other signature": lambda _, entry: flipped(entry),
    "other subject": lambda _, entry: replace(entry, subject=subject_of(JOINT)),
    "other entity": lambda _, entry: replace(entry, subject=subject_of(PLAIN, "two")),
    "other index": lambda _, entry: replace(entry, index=entry.index - 1),
}


def resealed(entry: Entry, events: list[bytes]) -> Entry:
    """What a server can make of an entry without any key: other events with a matching root."""
    head = msgspec.msgpack.decode(msgspec.msgpack.decode(entry.raw)["p"])
    del head["subject"]
    forged = envelope(entry.subject, events, [signer("server")], **head)
    return tampered(replace(entry, raw=forged), s=msgspec.msgpack.decode(entry.raw)["s"])


@pytest.mark.parametrize("forgery", FORGERIES)
def test_recall_knows_the_bytes_it_judged(forgery: str) -> None:
    """Who later delivers other bytes, or the same on another subject, under an admitted index is not believed."""
    log = founded()
    entry = log.sealed(subject_of(PLAIN), [event("a")], ADAS)
    assert [0] == [offset for offset, _ in log.put(entry).admitted()]
    assert [0] == [offset for offset, _ in recall(log.prefix, entry).admitted()]
    forged = FORGERIES[forgery](log, entry)
    assert forged != entry
    assert [] == recall(log.prefix, forged).admitted()


def test_memory_of_refusals_is_bounded() -> None:
    """Noise cannot fill a reader: the newest thousand reasons are kept, and older void entries stay void."""
    log = Log()
    for _ in range(MAX_VOID_KEPT + 10):
        log.put(log.entry(subject_of(PLAIN), b"noise"))
    assert MAX_VOID_KEPT == len(log.prefix.void)
    for verdict in log.verdicts:
        assert [] == recall(log.prefix, verdict.entry).admitted()


def test_a_reason_is_short() -> None:
    """Whatever an envelope claims, the refusal that answers it can be logged and sent."""
    log = founded()
    for claim in (
        {"source": "s" * 9_000},
        {"subject": f"{ENV}." + "s" * 9_000},
        {"type": "t" * 9_000},
        {"version": "v" * 9_000},
    ):
        no = log.put(log.sealed(subject_of(PLAIN), [event("a")], ADAS, **claim)).refusal
        assert no
        assert len(no.detail) < 500
    entry = log.sealed(subject_of(PLAIN), [event("a")], ADAS)
    no = admit(log.prefix, tampered(entry, s=[{"k": "k" * 9_000, "sig": bytes(64)}])).refusal
    assert isinstance(no, Refusal)
    assert len(no.detail) < 500


def test_a_verdict_needs_no_clock() -> None:
    """A log is judged the same from its bytes alone, by a reader who starts from nothing and trusts a fingerprint."""
    log = strict_log()
    prefix = Prefix(ENV, KeyBook(fingerprint_of(encode(genesis()))))
    for entry, original in zip(log.entries, log.verdicts, strict=True):
        verdict = admit(prefix, entry)
        prefix.fold(verdict)
        assert outcome(original) == outcome(verdict)
    assert START_MS // 1000 == log.entries[0].time_ns // 10**9
    assert isinstance(genesis(), Genesis)
    assert read(log.entries[0].raw).attributes.subject == f"{KEYS_LANE}.genesis"
