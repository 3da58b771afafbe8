"""Seal and read the signed envelope; the grammar is in SPEC.md beside this file.

envelope  = msgpack {t: type, p: attribute bytes, s: [{k: key id, sig}], e: [event bytes, …]}
signed    = DSSE PAE(t, p)          root in p = RFC 6962 tree with BLAKE3 over e
event     = msgpack {id: 16 bytes, cause: 0 or 16 bytes, evidence: bytes, data: map}
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Annotated, Any, Literal, cast

import msgspec
from blake3 import blake3
from msgspec import Meta

from shared.codec import MAX_REASON_CHARS
from shared.constant import constant
from shared.errors import Refusal, Refused
from shared.keys import Signer
from shared.keys.signer import SIGNATURE_BYTES
from shared.log.entry import MAX_STORED_BYTES
from shared.log.tree import root_of

ENVELOPE_TYPE = constant("application/vnd.nimmerverse.event.v1+msgpack", "media type", "BIZ-01")
MAX_ENVELOPE_BYTES = MAX_STORED_BYTES - 2_048  # what remains is for the headers of its append
MAX_BLOCK_EVENTS = constant(1_000, "events", "BIZ-01")
MAX_BATCH_ENTRIES = constant(100, "entries", "X-02")
MAX_EVIDENCE_BYTES = constant(32_768, "bytes", "X-02")
MAX_ATTRIBUTE_CHARS = constant(128, "characters", "X-12")
MAX_SUBJECT_CHARS = constant(2_048, "characters", "X-12")
MAX_DATA_DEPTH = constant(32, "levels", "X-12")
EVENT_ID_BYTES = constant(16, "bytes", "X-03")
ROOT_BYTES = constant(32, "bytes", "BIZ-01")
MAX_SIGNATURES = constant(64, "signatures", "X-12")

_RFC3339 = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{3}Z")
_EPOCH_DAY = date(1970, 1, 1).toordinal()

Agent = Literal["USER", "MODEL", "SOVEREIGN"]


Ppm = Annotated[int, Meta(ge=0, le=1_000_000)]
Short = Annotated[str, Meta(max_length=MAX_ATTRIBUTE_CHARS)]
Subject = Annotated[str, Meta(max_length=MAX_SUBJECT_CHARS)]


class Attributes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the signature covers: CloudEvents context attributes, the lane's chain and the commitment to the events.

    An envelope with a field out of its bound is R005.
    """

    id: Short  #: hex id of the first event
    source: Short  #: the part, without its version
    specversion: Literal["1.0"]
    type: Subject  #: `nimmerverse.{domain}.{service}.{type}`
    subject: Subject  #: the full subject, environment included
    time: Short  #: RFC 3339, UTC, milliseconds
    ttlms: Annotated[int, Meta(gt=0)]
    agent: Agent
    boot: Short  #: the emitter's start, 16 hex digits
    sequence: Annotated[int, Meta(ge=0)]  #: counts the emitter's envelopes within its boot
    version: Short  #: the part's version
    correlation: Short  #: hex id that runs through one conversation, or empty
    prev: Annotated[
        int, Meta(ge=-1)
    ]  #: the lane's last index before this entry (before its whole batch), -1 when the lane was empty
    batch: Annotated[int, Meta(ge=0, lt=MAX_BATCH_ENTRIES)]  #: this entry's place in its atomic batch, 0 first or alone
    count: Annotated[int, Meta(ge=0, le=MAX_BLOCK_EVENTS)]  #: number of events
    root: bytes  #: 32 bytes, the tree over the events
    ihsanppm: Ppm | None = None
    snrppm: Ppm | None = None


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One Ed25519 signature over the pre-authentication encoding, and the id of the key that made it."""

    k: Short
    sig: Annotated[bytes, Meta(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)]


class Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One decision inside an envelope: identity, what caused it, the evidence it rests on, the message itself."""

    id: bytes
    cause: bytes
    evidence: bytes
    data: msgspec.Raw


class _Wire(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    t: str
    p: bytes
    s: list[Signature]
    e: list[bytes]


#: What foreign bytes can make the readers raise; ValueError holds msgspec's own errors, OSError a time out of range.
_UNREADABLE = (ValueError, TypeError, RecursionError, OverflowError, OSError)

_pack = msgspec.msgpack.Encoder().encode
_wire = msgspec.msgpack.Decoder(_Wire)
_attributes = msgspec.msgpack.Decoder(Attributes)
_event = msgspec.msgpack.Decoder(Event)


class Sealed(msgspec.Struct, frozen=True):
    """An envelope that could be read: nothing is proven yet."""

    attributes: Attributes
    signatures: tuple[Signature, ...]
    events: tuple[bytes, ...]
    signed: bytes  #: the bytes the signatures cover
    written_ms: int  #: the attributes' time


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return the DSSE v1 pre-authentication encoding (secure-systems-lab/dsse protocol)."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def rfc3339(ms: int) -> str:
    """Return milliseconds since the Unix epoch as `2026-01-01T00:00:00.000Z`."""
    whole, rest = divmod(ms, 1000)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03d}Z"


def parse_rfc3339(text: str) -> int:
    """Return the milliseconds of a time written exactly as rfc3339 writes it; anything else is a ValueError."""
    if not _RFC3339.fullmatch(text):
        raise ValueError(f"{text!r} is not a UTC time with milliseconds")
    clock_ms = (int(text[11:13]) * 3600 + int(text[14:16]) * 60 + int(text[17:19])) * 1000 + int(text[20:23])
    return _midnight_ms(text[:10]) + clock_ms


@lru_cache(maxsize=1024)
def _midnight_ms(day: str) -> int:
    return (date.fromisoformat(day).toordinal() - _EPOCH_DAY) * 86_400_000


def pack_event(event_id: bytes, data: bytes, *, cause: bytes = b"", evidence: bytes = b"") -> bytes:
    """Return the bytes of one event around an already encoded message."""
    if len(evidence) > MAX_EVIDENCE_BYTES:
        raise Refused(
            Refusal("B003", f"evidence has {len(evidence)} bytes, at most {MAX_EVIDENCE_BYTES}; refer to it by digest")
        )
    return _pack(Event(event_id, cause, evidence, msgspec.Raw(data)))


def read_event(raw: bytes) -> Event:
    """Return the event in canonical bytes, its data a plain map of at most MAX_DATA_DEPTH levels; else Refused R005."""
    try:
        event = _event.decode(raw)
        data = msgspec.msgpack.decode(event.data)
        canonical = _pack(event) == raw and _pack(data) == bytes(event.data)
    except _UNREADABLE as error:
        raise Refused(Refusal("R005", f"event: {str(error)[:MAX_REASON_CHARS]}")) from None
    if not canonical:
        raise Refused(Refusal("R005", "event: readable but not canonical"))
    if (
        len(event.id) != EVENT_ID_BYTES
        or len(event.cause) not in (0, EVENT_ID_BYTES)
        or len(event.evidence) > MAX_EVIDENCE_BYTES
    ):
        raise Refused(Refusal("R005", f"event: id has 16 bytes, cause 0 or 16, evidence at most {MAX_EVIDENCE_BYTES}"))
    if type(data) is not dict or not _is_plain(data, MAX_DATA_DEPTH):
        raise Refused(
            Refusal(
                "R005",
                f"event: data is a map of nil, bool, int, text, bytes, arrays and maps by text, {MAX_DATA_DEPTH} deep",
            )
        )
    return event


_SCALARS = frozenset({type(None), bool, int, str, bytes})
_TEXT = frozenset({str})


def _is_plain(value: Any, left: int) -> bool:  # noqa: ANN401 - whatever foreign bytes decode to
    """Say whether every processor and every reader's stack judge a decoded value alike: no float, no extension.

    Scalars are judged together, without a step of ours for each.
    """
    kind = cast("type[object]", type(value))
    if kind is dict and _TEXT.issuperset(map(type, value)):
        items = value.values()
    elif kind is list:
        items = value
    else:
        return kind in _SCALARS
    if left == 0:
        return False
    for item in () if _SCALARS.issuperset(map(type, items)) else items:
        if type(item) not in _SCALARS and not _is_plain(item, left - 1):
            return False
    return True


class Unsigned(msgspec.Struct, frozen=True):
    """An envelope that waits for its signatures: the signed part's bytes, and the events it commits to."""

    payload: bytes
    events: tuple[bytes, ...]

    @property
    def message(self) -> bytes:
        """The bytes that every signer signs."""
        return pae(ENVELOPE_TYPE, self.payload)


def prepare(attributes: Attributes, events: Sequence[bytes]) -> Unsigned:
    """Return the envelope around `events`, with count and root filled in, for somebody to sign."""
    full = msgspec.structs.replace(attributes, count=len(events), root=root_of(events))
    return Unsigned(_pack(full), tuple(events))


def assemble(unsigned: Unsigned, signatures: Iterable[Signature]) -> bytes:
    """Return the whole envelope's bytes; Refused B003 when it would not fit into a leaf."""
    ordered = sorted(signatures, key=lambda s: s.k)
    raw = _pack(_Wire(ENVELOPE_TYPE, unsigned.payload, ordered, list(unsigned.events)))
    if len(raw) > MAX_ENVELOPE_BYTES:
        raise Refused(
            Refusal("B003", f"envelope has {len(raw)} bytes, at most {MAX_ENVELOPE_BYTES}; refer to content by digest")
        )
    return raw


def seal(attributes: Attributes, events: Sequence[bytes], signers: Sequence[Signer]) -> bytes:
    """Return the envelope around `events`, signed by every signer at hand; Refused B003 when it is too large."""
    unsigned = prepare(attributes, events)
    return assemble(unsigned, [Signature(s.key_id, s.sign(unsigned.message)) for s in signers])


def read_signed(message: bytes) -> Attributes:
    """Return the attributes in the bytes that a signature of an envelope covers; anything else is Refused R005."""
    head = pae(ENVELOPE_TYPE, b"")[:-2]  # up to the payload's length
    length, space, payload = message.removeprefix(head).partition(b" ")
    try:
        whole = message.startswith(head) and space and int(length) == len(payload) <= MAX_ENVELOPE_BYTES
        attributes = _attributes.decode(payload)
        canonical = whole and pae(ENVELOPE_TYPE, payload) == message and _pack(attributes) == payload
        canonical = canonical and parse_rfc3339(attributes.time) >= 0
    except _UNREADABLE as error:
        raise Refused(
            Refusal("R005", f"no envelope is signed by these bytes: {str(error)[:MAX_REASON_CHARS]}")
        ) from None
    if not canonical:
        raise Refused(Refusal("R005", "these are not the bytes that sign an envelope, or not canonical"))
    return attributes


def read(raw: bytes) -> Sealed:
    """Return what an envelope's bytes say, or raise Refused R005; proves nothing about who signed it."""
    if len(raw) > MAX_ENVELOPE_BYTES:
        raise Refused(Refusal("R005", f"envelope has {len(raw)} bytes, at most {MAX_ENVELOPE_BYTES} are allowed"))
    try:
        wire = _wire.decode(raw)
        attributes = _attributes.decode(wire.p)
        written_ms = parse_rfc3339(attributes.time)
    except _UNREADABLE as error:
        raise Refused(Refusal("R005", f"envelope: {str(error)[:MAX_REASON_CHARS]}")) from None
    keys = [s.k for s in wire.s]
    shape_ok = (
        _pack(wire) == raw
        and _pack(attributes) == wire.p
        and wire.t == ENVELOPE_TYPE
        and written_ms >= 0
        and (len(keys) == 1 or keys == sorted(set(keys)))
        and 0 < len(keys) <= MAX_SIGNATURES
        and 0 < attributes.count == len(wire.e)
        and len(attributes.root) == ROOT_BYTES
    )
    if not shape_ok:
        raise Refused(Refusal("R005", "envelope: readable but not canonical, or a count, key order or length is off"))
    return Sealed(attributes, tuple(wire.s), tuple(wire.e), pae(wire.t, wire.p), written_ms)


def derive_event_id(cause: bytes, part: str, handler: str, ordinal: int) -> bytes:
    """Return the 16-byte id of an output, the same after any crash: cause, part without version, handler, ordinal."""
    material = b"".join(
        len(item).to_bytes(4, "big") + item for item in (cause, part.encode(), handler.encode(), b"%d" % ordinal)
    )
    return blake3(material, derive_key_context="nimmerverse 2026 event id v1").digest(EVENT_ID_BYTES)
