"""Reading a delivery: whatever cannot be used is a named refusal before the part's own code sees it."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

import msgspec

from shared.bus import Context, Delivery
from shared.bus.wire import INBOX
from shared.codec import decode_any, decode_loosely
from shared.envelope import derive_event_id
from shared.envelope.admission import CLOCK_SKEW_MS
from shared.envelope.envelope import parse_rfc3339
from shared.errors import Refusal, Refused
from shared.message import AnyWave, AnyWaveFields, Message, Request, is_wave, lookup
from shared.world import World, new_id, now_ms

ID_DIGITS = 32
CORRELATION_CHARS = 64


@dataclass(frozen=True, slots=True)
class Received:
    """A message that could be read, and where it stands in its conversation."""

    message: Message
    message_id: bytes
    correlation: str
    delivery: Delivery
    as_json: bool

    @property
    def context(self) -> Context:
        """The context of whatever this message causes."""
        return Context(self.message_id, self.correlation or self.message_id.hex())

    @property
    def identity(self) -> bytes:
        """What makes a repeat a repeat: id, subject and bytes. An id alone is anyone's to publish."""
        return derive_event_id(self.message_id + self.delivery.data, self.delivery.subject, "heard", 0)


def read_delivery(delivery: Delivery, part: str, hears: Container[object], world: World) -> Received:
    """Return the message in a delivery, or raise Refused.

    B004 reply subject, B001 subject, B002 or B003 payload and headers, B010 and R001 age of a request.
    """
    if delivery.reply and not delivery.reply.startswith(INBOX):
        raise Refused(Refusal("B004", f"reply subject {delivery.reply!r} does not begin with {INBOX}"))
    cls = lookup(delivery.subject)
    message_id = _message_id(delivery, world)
    if AnyWave in hears and (cls is None or cls not in hears) and is_wave(delivery.subject):
        message, as_json = _any_wave(delivery, message_id, world), False
    elif cls is None or cls not in hears:
        raise Refused(Refusal("B001", f"{part} knows no message on {delivery.subject}"))
    else:
        message, as_json = decode_any(cls, delivery.data)
        said = _subject(message, world.env)
        if said != delivery.subject:
            raise Refused(Refusal("B002", f"the message says {said}, it came on {delivery.subject}"))
    _check_age(message, delivery, world)
    correlation = delivery.headers.get("ce-correlation", "")[:CORRELATION_CHARS]
    return Received(message, message_id, correlation, delivery, as_json)


def _any_wave(delivery: Delivery, message_id: bytes, world: World) -> AnyWave:
    """Return a wave of a class that this process need not know, by the fields of every wave."""
    felt = decode_loosely(AnyWaveFields, delivery.data)
    written = delivery.headers.get("ce-time")
    try:
        taken_ms = now_ms(world) if written is None else parse_rfc3339(written)
    except (ValueError, OverflowError, OSError):
        raise _bad_time(written or "") from None
    source = delivery.subject.split(".", 1)[1].rpartition(".")[0]
    return AnyWave(source=source, wave_id=message_id, taken_ms=taken_ms, **msgspec.structs.asdict(felt))


def _subject(message: Message, env: str) -> str:
    try:
        return message.subject(env)
    except ValueError as error:
        raise Refused(Refusal("B002", f"{type(message).__name__} belongs on no subject: {error}")) from None


def _check_age(message: Message, delivery: Delivery, world: World) -> None:
    written = delivery.headers.get("ce-time")
    if written is None or not isinstance(message, Request):
        return
    try:
        age_ms = now_ms(world) - parse_rfc3339(written)
    except (ValueError, OverflowError, OSError):
        raise _bad_time(written) from None
    if age_ms > message.ttl_ms:
        raise Refused(Refusal("B010", f"written {age_ms} ms ago, the request lives {message.ttl_ms} ms"))
    if age_ms < -CLOCK_SKEW_MS:
        detail = f"written {-age_ms} ms in the future, at most {CLOCK_SKEW_MS} ms of skew are allowed"
        raise Refused(Refusal("R001", detail))


def _bad_time(written: str) -> Refused:
    return Refused(Refusal("B002", f"ce-time {written[:40]!r} is not RFC 3339 with milliseconds in UTC"))


def _message_id(delivery: Delivery, world: World) -> bytes:
    """Return the id in the headers, or one of our own for a message made by hand."""
    written = delivery.headers.get("ce-id", "")
    if written:
        if len(written) != ID_DIGITS or not set(written) <= set("0123456789abcdef"):
            raise Refused(Refusal("B002", f"ce-id {written[:40]!r} is not {ID_DIGITS} hexadecimal digits"))
        return bytes.fromhex(written)
    if delivery.reply:  # two replicas of a nerve must give a hand-made request one identity
        return derive_event_id(delivery.data, delivery.subject, delivery.reply, 0)
    return new_id(world)
