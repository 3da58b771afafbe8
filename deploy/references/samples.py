"""Sample messages, made from a class's schema: what a person would write by hand to try a subject."""

from __future__ import annotations

from typing import TypeVar, cast

import msgspec
from msgspec import inspect as schema

from shared.declaration import described

M = TypeVar("M", bound=msgspec.Struct)

#: What a text field of this name holds in an example; any other holds its own name.
_TEXTS = {
    "text": "2 + 3 * 4",
    "site": "my-machine",
    "part": "my_cell",
    "version": "1.0.0",
    "scope": "root",
    "code": "B002",
}
_SIMPLE: dict[type[schema.Type], object] = {
    schema.FloatType: 1.5,
    schema.BoolType: True,
    schema.NoneType: None,
    schema.AnyType: None,
}


def sample(cls: type[M]) -> M:
    """Return a message of a class, every field given."""
    return cast("M", _struct(described(cls)))


def _struct(node: schema.StructType) -> msgspec.Struct:
    return node.cls(**{field.name: _value(field.type, field.name) for field in node.fields})


def _value(node: schema.Type, name: str) -> object:
    match node:
        case schema.StructType():
            made: object = _struct(node)
        case schema.ListType():
            made = [_value(node.item_type, name)]
        case schema.VarTupleType():
            made = (_value(node.item_type, name),)
        case schema.TupleType():
            made = tuple(_value(item, name) for item in node.item_types)
        case schema.DictType():
            made = {_value(node.key_type, "name"): _value(node.value_type, "value")}
        case schema.UnionType():
            made = _value(next(o for o in node.types if not isinstance(o, schema.NoneType)), name)
        case schema.LiteralType():
            made = node.values[0]
        case schema.EnumType():
            made = next(iter(node.cls))
        case _:
            made = _plain(node, name)
    return made


def _plain(node: schema.Type, name: str) -> object:
    match node:
        case schema.IntType():
            return max(1, node.ge or 1)
        case schema.StrType():
            text = _TEXTS.get(name, name)
            return text.ljust(node.min_length or 0, ".")[: node.max_length]
        case schema.BytesType():
            return b"bytes".ljust(node.min_length or 0)
        case _:
            return _SIMPLE[type(node)]
