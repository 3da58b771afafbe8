"""Bytes in, messages out: MessagePack that is valid exactly if it re-encodes to itself.

Re-encoding refuses duplicate keys, reordered keys, wide integers and trailing bytes in one comparison. Requests and
signals whose bytes begin with `{` are read as JSON, so `nats pub` works by hand; decisions are never JSON.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, TypeVar, cast

import msgspec

from shared.constant import constant
from shared.errors import Refusal, Refused
from shared.message import MAX_MESSAGE_BYTES, Decision, Message

MAX_REASON_CHARS = constant(300, "characters", "X-12")  # a reader's error may quote the bytes that it met

M = TypeVar("M", bound=msgspec.Struct)

_pack = msgspec.msgpack.Encoder().encode
_json = msgspec.json.Encoder().encode


@cache
def _decoder(cls: type[Any]) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(cls)


@cache
def _json_decoder(cls: type[Any]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(cls)


#: What foreign bytes can make msgspec raise; an AssertionError is a struct's own check, which they failed.
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, AssertionError)
_UNWRITABLE = (OverflowError, UnicodeEncodeError, RecursionError)


def encode(message: msgspec.Struct) -> bytes:
    """Return the canonical MessagePack of a struct.

    Raises Refused B002 for a non-finite float, an integer beyond 64 bits or a text that is not Unicode; B003 for
    oversize.
    """
    name = type(message).__name__
    try:
        raw = _pack(message)
        finite = not _has_float(type(message)) or _finite(message)
    except _UNWRITABLE as error:
        raise Refused(Refusal("B002", f"{name}: {str(error)[:MAX_REASON_CHARS]}")) from None
    if not finite:
        raise Refused(Refusal("B002", f"{name}: floats must be finite"))
    _check_size(type(message), raw, f"{name} has")
    return raw


def encode_json(message: msgspec.Struct) -> bytes:
    """Return a message as JSON, for people and for answers to JSON requests."""
    return _json(message)


def decode(cls: type[M], raw: bytes) -> M:
    """Return the message in canonical MessagePack bytes, or raise Refused (B002, B003)."""
    _check_size(cls, raw, "found")
    try:
        message = _decoder(cls).decode(raw)
        canonical = _pack(message) == raw
        finite = not _has_float(cls) or _finite(message)
    except _UNREADABLE as error:
        raise Refused(Refusal("B002", f"{cls.__name__}: {str(error)[:MAX_REASON_CHARS]}")) from None
    if not canonical:
        raise Refused(Refusal("B002", f"{cls.__name__}: the bytes are readable but not canonical"))
    if not finite:
        raise Refused(Refusal("B002", f"{cls.__name__}: floats must be finite"))
    return cast("M", message)


def decode_any(cls: type[M], raw: bytes) -> tuple[M, bool]:
    """Return (message, was JSON) for a signal or a request that a person may have written by hand.

    A decision is never JSON; and what JSON can say but MessagePack cannot, such as 2 to the 64th, is Refused B002.
    """
    if raw[:1] != b"{" or issubclass(cls, Decision):
        return decode(cls, raw), False
    _check_size(cls, raw, "found")
    try:
        message = cast("M", _json_decoder(cls).decode(raw))
    except _UNREADABLE as error:
        raise Refused(Refusal("B002", f"{cls.__name__}: {str(error)[:MAX_REASON_CHARS]}")) from None
    encode(message)
    return message, True


def decode_loosely(cls: type[M], raw: bytes) -> M:
    """Return the fields that `cls` has of a signal whose own class nobody here needs to know; others are passed over.

    The bytes must be canonical as everywhere: Refused B002, B003. JSON is read as `decode_any` does.
    """
    _check_size(cls, raw, "found")
    try:
        if raw[:1] == b"{":
            return cast("M", _json_decoder(cls).decode(raw))
        canonical = _pack(_decoder(dict[str, Any]).decode(raw)) == raw
        found = _decoder(cls).decode(raw)
    except (*_UNREADABLE, *_UNWRITABLE) as error:
        raise Refused(Refusal("B002", f"{cls.__name__}: {str(error)[:MAX_REASON_CHARS]}")) from None
    if not canonical:
        raise Refused(Refusal("B002", f"{cls.__name__}: the bytes are readable but not canonical"))
    return cast("M", found)


def _check_size(cls: type[Any], raw: bytes, what: str) -> None:
    most = cls.max_bytes if issubclass(cls, Message) else MAX_MESSAGE_BYTES
    if len(raw) > most:
        raise Refused(Refusal("B003", f"{what} {len(raw)} bytes, at most {most} are allowed"))


def _has_float(cls: type[Any]) -> bool:
    return issubclass(cls, Message) and cls.has_float


def _finite(value: object) -> bool:
    """Say whether no float inside `value` is infinite or not a number."""
    match value:
        case float():
            return math.isfinite(value)
        case msgspec.Struct():
            return all(_finite(getattr(value, name)) for name in value.__struct_fields__)
        case Mapping():
            return all(_finite(key) and _finite(item) for key, item in cast("Mapping[object, object]", value).items())
        case list() | tuple() | set() | frozenset():
            return all(_finite(item) for item in cast("Iterable[object]", value))
        case _:
            return True
