"""What a message class may declare: its place among the subjects, its size, and the types of its fields.

It is checked once, when the class is made; `shared/message.py` keeps the registry of what held.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Literal, Protocol

from msgspec import inspect as schema

from shared.constant import constant

MAX_MESSAGE_BYTES = constant(60_000, "bytes", "X-12")
MAX_LARGE_BYTES = constant(700_000, "bytes", "X-12")  # in base64 too within the 1 MiB that a NATS server takes
EVENT_TOKEN = constant("event", "token", "X-01")
EVENT_TOKENS = constant(5, "tokens", "X-01")

Kind = Literal["signal", "request", "reply", "decision"]
Stream = Literal["log", "transitions"]


class DeclarationError(TypeError):
    """A message class or a part is declared wrongly; the sentence says what was found and what is expected."""


class Declared(Protocol):
    """What a message class says of itself beside its fields; the classes of `shared/message.py` do."""

    template: str
    tokens: tuple[str, ...]
    kind: Kind
    stream: Stream | None
    max_bytes: int
    confidential: bool
    urgent: bool
    by_parts: bool


def check_place(cls: Declared, name: str) -> None:
    """Refuse a subject that a decision must not have, or that only a decision may have."""
    if cls.kind == "decision":
        if not (is_event(cls.tokens) and cls.tokens[3][0] == "{" and cls.tokens[4][0] != "{"):
            raise DeclarationError(
                f"{name}: a decision's subject is domain.service.event.{{entity}}.type, found {cls.template!r}"
            )
    elif cls.tokens[2:3] == (EVENT_TOKEN,):
        raise DeclarationError(f"{name}: the third token 'event' is reserved for decisions")
    if cls.confidential and (cls.kind not in ("request", "reply") or "{" in cls.template):
        raise DeclarationError(
            f"{name}: only a request or reply on a fixed subject may carry personal data in the open; seal it"
        )
    if cls.max_bytes > MAX_MESSAGE_BYTES and (cls.kind not in ("request", "reply") or cls.max_bytes > MAX_LARGE_BYTES):
        raise DeclarationError(
            f"{name}: only a request or reply may be larger than {MAX_MESSAGE_BYTES} bytes, and up to {MAX_LARGE_BYTES}"
        )
    if cls.by_parts and cls.kind != "request":
        raise DeclarationError(f"{name}: only a request is made by parts alone")
    if cls.urgent and cls.kind != "signal":
        raise DeclarationError(f"{name}: only a signal goes out before the log has what it rests on")


def check_kept(cls: Declared, name: str) -> None:
    """Refuse what no stream beside the log could keep."""
    if cls.kind in ("signal", "reply") and cls.tokens[2][0] == "{":
        raise DeclarationError(
            f"{name}: the third token of what may be traced is fixed, or its stream would overlap the log's; "
            f"found {cls.template!r}"
        )
    if cls.stream not in (None, "log", "transitions"):
        raise DeclarationError(
            f"{name}: stream={cls.stream!r} is none; a turn is one of the `transitions`, and whether anything else is "
            "kept is its part's garden to say"
        )


def is_event(tokens: tuple[str, ...]) -> bool:
    """Say whether a subject without its environment is domain.service.event.entity.type."""
    return len(tokens) == EVENT_TOKENS and tokens[2] == EVENT_TOKEN


@cache
def described(cls: type) -> schema.StructType:
    """Return a struct as msgspec describes it, which reads every annotation anew: the answer is kept."""
    found = schema.type_info(cls)
    assert isinstance(found, schema.StructType)
    return found


#: Types with one canonical MessagePack form that any reader knows; a decision holds nothing else.
_EXACT = (
    *(
        schema.NoneType,
        schema.BoolType,
        schema.IntType,
        schema.StrType,
        schema.BytesType,
        schema.LiteralType,
        schema.EnumType,
    ),
    *(schema.ListType, schema.VarTupleType, schema.TupleType, schema.DictType, schema.UnionType, schema.StructType),
)
_MAY_BE_FLOAT = (schema.FloatType, schema.AnyType)


def check_types(cls: Declared, fields: Iterable[schema.Field], name: str) -> bool:
    """Refuse fields that are not plain MessagePack, and floats in decisions; return whether a value may be a float."""
    found = [node for field in fields for node in _nodes(field.type, set())]
    has_float = any(isinstance(node, _MAY_BE_FLOAT) for node in found)
    if cls.kind == "decision" and has_float:
        raise DeclarationError(
            f"{name}: decisions carry integers only (ppm, ms, micro-credits); a float differs between processors"
        )
    for node in found:
        if not isinstance(node, (*_EXACT, *_MAY_BE_FLOAT)):
            raise DeclarationError(
                f"{name}: {type(node).__name__} is not plain MessagePack; a set has no order, a time is ms"
            )
        if isinstance(node, schema.DictType) and not isinstance(
            node.key_type, (schema.StrType, schema.LiteralType, schema.EnumType)
        ):
            raise DeclarationError(
                f"{name}: the keys of a dict are text in plain MessagePack, found {type(node.key_type).__name__}"
            )
    return has_float


def _nodes(node: schema.Type, met: set[int]) -> Iterator[schema.Type]:
    """Yield a type and every type inside it once, also where a struct holds itself."""
    if id(node) in met:
        return
    met.add(id(node))
    yield node
    for inside in _inside(node):
        yield from _nodes(inside, met)


def _inside(node: schema.Type) -> tuple[schema.Type, ...]:
    match node:
        case schema.ListType() | schema.VarTupleType():
            return (node.item_type,)
        case schema.TupleType():
            return node.item_types
        case schema.DictType():
            return (node.key_type, node.value_type)
        case schema.UnionType():
            return node.types
        case schema.StructType():
            return tuple(field.type for field in node.fields)
        case _:
            return ()


def overlap(a: tuple[str, ...], b: tuple[str, ...]) -> bool:
    """Say whether two subjects may be one, where `*` stands for any token."""
    return len(a) == len(b) and all(x == y or "*" in (x, y) for x, y in zip(a, b, strict=True))
