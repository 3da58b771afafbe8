"""Admission: one pure function of the log before an entry and the entry itself, used by every reader alike.

Refusals in order: R005 unreadable, R001 expired or future by the broker's time, R002 signature, R003 ihsan, R004 snr,
R005 root or event, R006 repeated or wrong `prev`, R007 key or entitlement, R008 subject, R009 owners. R006 by
repetition judges each event, everything else the entry. Whatever the rules depend on stands in the log (grants), never
in the reader's code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

import msgspec
from blake3 import blake3

from shared.constant import constant
from shared.envelope.envelope import Event, Sealed, read, read_event
from shared.envelope.keybook import KEY_EVENTS, ROOT_PART, Key, KeyBook, KeyEvent, scope_of
from shared.errors import Refusal, Refused
from shared.keys import verify
from shared.log.entry import Entry
from shared.log.tree import root_of
from shared.message import lane_of, lookup
from shared.subjects.keys import KEYS_ENTITY, KEYS_LANE, Genesis, Grant, KeyRotated

CLOCK_SKEW_MS = constant(30_000, "ms", "BIZ-01")
IHSAN_FLOOR_PPM = constant(950_000, "ppm", "BIZ-01")
MAX_VOID_KEPT = constant(10_000, "entries", "X-12")
_KEY_STEM = "." + ".".join(Genesis.tokens[:3]) + "."
Proves = Callable[[bytes, bytes, bytes], bool]  #: (public key, message, signature) → whether it is one
SNR_FLOOR_PPM = constant(850_000, "ppm", "BIZ-01")


class Verdict(msgspec.Struct, frozen=True):
    """What admission says of one entry: its refusal, or its events with a refusal each (None: admitted)."""

    entry: Entry
    refusal: Refusal | None
    sealed: Sealed | None = None
    events: tuple[Event, ...] = ()
    repeats: tuple[Refusal | None, ...] = ()

    def admitted(self) -> list[tuple[int, Event]]:
        """Return (offset, event) of every admitted event."""
        return (
            []
            if self.refusal
            else [(i, e) for i, (e, no) in enumerate(zip(self.events, self.repeats, strict=True)) if no is None]
        )

    def void(self) -> list[tuple[int, Refusal]]:
        """Return (offset, refusal) of every void event; an inadmissible entry is void at offset 0."""
        if self.refusal:
            return [(0, self.refusal)]
        if not any(self.repeats):
            return []
        return [(i, no) for i, no in enumerate(self.repeats) if no is not None]


@dataclass
class Lane:
    """A lane's chain: its last index, where each part's events were admitted, and the atomic batch that may go on."""

    last: int = -1
    seen: dict[tuple[str, bytes], tuple[int, int]] = field(default_factory=dict[tuple[str, bytes], tuple[int, int]])
    batch: tuple[str, int, int] | None = None  #: (source, prev, place) of the last entry, unless it was refused
    digests: dict[int, bytes] = field(default_factory=dict[int, bytes])  #: of each entry that was not refused, by index


@dataclass
class Prefix:
    """What of a log must be known to judge its next entry: the keys, and the lanes the reader follows."""

    env: str
    keys: KeyBook = field(default_factory=KeyBook)
    recalls: bool = True  #: whether `recall` will be asked; who reads a log once need not keep what it takes
    lanes: dict[str, Lane] = field(default_factory=dict[str, Lane])
    void: dict[int, Refusal] = field(default_factory=dict[int, Refusal])  #: the newest refused entries by index

    def __post_init__(self) -> None:
        self.keys_lane = KEYS_LANE.format(env=self.env)

    def lane(self, name: str) -> Lane:
        """Return the chain of a lane, empty if nothing was folded."""
        return self.lanes.get(name, _EMPTY)

    def fold(self, verdict: Verdict) -> None:
        """Take one judged entry into the prefix; a void entry moves its lane's chain and nothing else."""
        entry, name = verdict.entry, lane_of(verdict.entry.subject)
        if verdict.refusal is not None:
            self.void[entry.index] = verdict.refusal
            if len(self.void) > MAX_VOID_KEPT:
                del self.void[next(iter(self.void))]
        if name is None:
            return
        lane = self.lanes.setdefault(name, Lane())
        lane.last, lane.batch = entry.index, None
        if verdict.refusal is not None or verdict.sealed is None:
            return
        a, cls = verdict.sealed.attributes, _key_event(self, entry.subject)
        lane.batch = (a.source, a.prev, a.batch)
        if self.recalls:
            lane.digests[entry.index] = _digest(entry)
        for offset, (event, no) in enumerate(zip(verdict.events, verdict.repeats, strict=True)):
            if no is None:
                lane.seen[a.source, event.id] = (entry.index, offset)
                if cls is not None:
                    self.keys.learn(self.env, cls, bytes(event.data), entry.index)


_EMPTY = Lane()


def admit(
    prefix: Prefix, entry: Entry, *, sealed: Sealed | None = None, proves: Proves = verify, chained: bool = True
) -> Verdict:
    """Judge `entry` after `prefix`; pure: the prefix is changed by `prefix.fold(verdict)` alone.

    `sealed` is the entry's envelope where it was read before. An auditor may say who `proves` that a public key signed
    a message, where that was checked before; and may leave out what needs the lane (R006), to look at entries alone.
    """
    try:
        sealed = sealed or read(entry.raw)
        _in_time(sealed, entry)
        keys = _proven(prefix, sealed, entry, proves)
        grants = [key.grant_for(entry.subject) for key in keys]
        _scores(sealed, grants)
        events = _events(sealed)
        repeats = _unrepeated(prefix, sealed, events, entry) if chained else (None,) * len(events)
        _entitled(prefix, sealed, keys, events, entry)
        _placed(prefix, sealed, events, entry)
        _owned(prefix, keys, grants, events, entry)
    except Refused as no:
        ours = no.refusal if no.refusal.code[0] == "R" else Refusal("R005", str(no.refusal))
        return Verdict(entry, ours)
    return Verdict(entry, None, sealed, events, repeats)


def recall(prefix: Prefix, entry: Entry) -> Verdict:
    """Return the verdict of an entry that `prefix` has folded already: what it admitted stands in its lane.

    Only the very bytes that were judged are recalled; what is delivered in their place is R005, whoever signed it.
    """
    lane = prefix.lane(lane_of(entry.subject) or "")
    digest = lane.digests.get(entry.index)
    if digest is None:
        forgotten = Refusal("R006", "void when it was judged; `audit verify` names the reason")
        return Verdict(entry, prefix.void.get(entry.index, forgotten))
    if digest != _digest(entry):
        return Verdict(entry, Refusal("R005", f"these are not the bytes that were judged as entry {entry.index}"))
    sealed = read(entry.raw)
    events = tuple(read_event(raw) for raw in sealed.events)
    places = [lane.seen.get((sealed.attributes.source, event.id)) for event in events]
    admitted = [place == (entry.index, offset) for offset, place in enumerate(places)]
    return Verdict(
        entry,
        None,
        sealed,
        events,
        tuple(None if here else _repeated(e) for here, e in zip(admitted, events, strict=True)),
    )


def _in_time(sealed: Sealed, entry: Entry) -> None:
    written, judged = sealed.written_ms, entry.time_ns // 1_000_000
    if judged > written + sealed.attributes.ttlms:
        raise Refused(
            Refusal(
                "R001",
                f"written {sealed.attributes.time}, expired {judged - written - sealed.attributes.ttlms} ms before",
            )
        )
    if written > judged + CLOCK_SKEW_MS:
        raise Refused(
            Refusal(
                "R001", f"written {written - judged} ms in the future, at most {CLOCK_SKEW_MS} ms of skew are allowed"
            )
        )


def _proven(prefix: Prefix, sealed: Sealed, entry: Entry, proves: Proves) -> list[Key]:
    cls = _key_event(prefix, entry.subject)
    data = _first_data(sealed) if cls is Genesis and prefix.keys.fingerprint is None else b""
    known = prefix.keys.candidates(prefix.env, cls, data)
    keys: list[Key] = []
    for signature in sealed.signatures:
        key = known.get(signature.k)
        if key is None or entry.index < key.first:  # a reader that knows later keys must judge as one that does not
            raise Refused(Refusal("R002", f"key {signature.k} is not registered at index {entry.index}"))
        if not proves(key.public, sealed.signed, signature.sig):
            raise Refused(Refusal("R002", f"signature of key {signature.k} does not verify"))
        keys.append(key)
    return keys


def _scores(sealed: Sealed, grants: list[Grant | None]) -> None:
    for grant in grants:
        if grant is not None and grant.scored:
            break
    else:
        return
    ihsan, snr = sealed.attributes.ihsanppm, sealed.attributes.snrppm
    if ihsan is None or ihsan < IHSAN_FLOOR_PPM:
        raise Refused(Refusal("R003", f"ihsan {ihsan} ppm, at least {IHSAN_FLOOR_PPM} required"))
    if snr is None or snr < SNR_FLOOR_PPM:
        raise Refused(Refusal("R004", f"snr {snr} ppm, at least {SNR_FLOOR_PPM} required"))


def _events(sealed: Sealed) -> tuple[Event, ...]:
    if root_of(sealed.events) != sealed.attributes.root:
        raise Refused(Refusal("R005", "the events do not match the signed root"))
    events = tuple(read_event(raw) for raw in sealed.events)
    if events[0].id.hex() != sealed.attributes.id:
        raise Refused(Refusal("R005", "the envelope's id is not its first event's"))
    return events


def _unrepeated(prefix: Prefix, sealed: Sealed, events: tuple[Event, ...], entry: Entry) -> tuple[Refusal | None, ...]:
    lane = prefix.lane(lane_of(entry.subject) or "")
    a = sealed.attributes
    goes_on = lane.batch == (a.source, a.prev, a.batch - 1) and entry.index == lane.last + 1
    if not (goes_on if a.batch else a.prev == lane.last):
        raise Refused(Refusal("R006", f"prev is {a.prev} (batch place {a.batch}), the lane ends at {lane.last}"))
    here, out = set[bytes](), list[Refusal | None]()
    for event in events:
        repeated = (a.source, event.id) in lane.seen or event.id in here
        out.append(_repeated(event) if repeated else None)
        here.add(event.id)
    return tuple(out)


def _entitled(prefix: Prefix, sealed: Sealed, keys: list[Key], events: tuple[Event, ...], entry: Entry) -> None:
    source, subject, cls = sealed.attributes.source, sealed.attributes.subject, _key_event(prefix, entry.subject)
    for key in keys:
        if not key.valid_at(entry.index):
            raise Refused(
                Refusal("R007", f"key {key.key_id} is valid from {key.first} to {key.last}, not {entry.index}")
            )
        if key.part not in (source, ROOT_PART):
            raise Refused(Refusal("R007", f"key {key.key_id} speaks for {key.part}, the envelope for {source}"))
        if key.grant_for(subject) is None and cls is not KeyRotated:
            raise Refused(Refusal("R007", f"key {key.key_id} of {key.part} is not entitled to {subject}"))
    if cls is not None:
        if len(events) != 1:
            raise Refused(Refusal("R007", "a key event stands alone in its envelope"))
        no = prefix.keys.check(cls, bytes(events[0].data), entry.index, keys)
        if no is not None:
            raise Refused(no)


def _placed(prefix: Prefix, sealed: Sealed, events: tuple[Event, ...], entry: Entry) -> None:
    subject, cls = sealed.attributes.subject, _key_event(prefix, entry.subject)
    if subject != entry.subject or lane_of(subject) is None or not subject.startswith(prefix.env + "."):
        raise Refused(Refusal("R008", f"signed for {subject}, delivered on {entry.subject}"))
    if (
        _KEY_STEM in subject
        and lookup(subject) in KEY_EVENTS
        and (cls is None or scope_of(cls, bytes(events[0].data)) != KEYS_ENTITY)
    ):
        raise Refused(Refusal("R008", f"key events stand on the lane of {KEYS_ENTITY!r}, found on {subject}"))
    if sealed.attributes.type != type_of(subject):
        raise Refused(Refusal("R008", f"type {sealed.attributes.type} does not belong to {subject}"))


def _owned(
    prefix: Prefix, keys: list[Key], grants: list[Grant | None], events: tuple[Event, ...], entry: Entry
) -> None:
    needed = 1
    for grant in grants:
        if grant is not None and grant.owners > needed:
            needed = grant.owners
    cls = _key_event(prefix, entry.subject)
    if cls is not None:
        needed = max(needed, prefix.keys.owners_needed(cls, bytes(events[0].data)))
    if needed > 1 and len(owners := {key.owner for key in keys}) < needed:
        raise Refused(Refusal("R009", f"{len(owners)} distinct owners signed, {needed} are needed"))


def _repeated(event: Event) -> Refusal:
    return Refusal("R006", f"event {event.id.hex()} was admitted earlier in this lane")


def _digest(entry: Entry) -> bytes:
    return blake3(entry.subject.encode() + b"\n" + entry.raw).digest()


@lru_cache(maxsize=65_536)
def type_of(subject: str) -> str:
    """Return the CloudEvents type of a decision's full subject."""
    _, domain, service, _, _, name = subject.split(".")
    return f"nimmerverse.{domain}.{service}.{name}"


def _key_event(prefix: Prefix, subject: str) -> type[KeyEvent] | None:
    """Return the class of a key event on the lane that every reader folds; elsewhere none may be judged by the keys."""
    if not subject.startswith(prefix.keys_lane):
        return None
    cls = lookup(subject) if lane_of(subject) == prefix.keys_lane else None
    return next((event for event in KEY_EVENTS if event is cls), None)


def _first_data(sealed: Sealed) -> bytes:
    return bytes(read_event(sealed.events[0]).data)
