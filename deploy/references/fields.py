"""A struct's fields in words: their types, their defaults, and the `#:` comments beside them in the source."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import get_origin

import msgspec
from msgspec import inspect as schema

from shared.declaration import described
from shared.message import Message
from shared.personal import is_personal

_SIMPLE: dict[type[schema.Type], str] = {
    schema.AnyType: "anything",
    schema.BoolType: "true or false",
    schema.BytesType: "bytes",
    schema.FloatType: "number",
    schema.IntType: "integer",
    schema.NoneType: "nothing",
    schema.StrType: "text",
}


@dataclass(frozen=True)
class Field:
    """One field of a struct in words; `default` is JSON, or None where a value is required."""

    name: str
    type: str
    default: str | None
    comment: str


def fields(cls: type[msgspec.Struct]) -> list[Field]:
    """Return a struct's fields in wire order."""
    said = {name: text for base in reversed(cls.__mro__) for name, text in _own_comments(base)}
    return [Field(f.name, words(f.type), _default(f), said.get(f.name, "")) for f in described(cls).fields]


def structs(classes: Iterable[type[msgspec.Struct]]) -> list[type[msgspec.Struct]]:
    """Return the plain structs that stand inside messages, by name; a message inside another has its own place."""
    found: set[type[msgspec.Struct]] = set()
    waiting = [field.type for cls in classes for field in described(cls).fields]
    while waiting:
        node = waiting.pop()
        if isinstance(node, schema.StructType) and _plain(node) not in found:
            found.add(_plain(node))
            waiting += [field.type for field in node.fields]
        waiting += _inside(node)
    return sorted((cls for cls in found if not issubclass(cls, Message)), key=lambda cls: cls.__name__)


def words(node: schema.Type) -> str:
    """Return a type in words; a struct is a link to its own table."""
    match node:
        case schema.LiteralType():
            text = "one of " + ", ".join(f"`{value}`" for value in node.values)
        case schema.EnumType():
            text = "one of " + ", ".join(f"`{member.value}`" for member in node.cls)
        case schema.StructType():
            name = _plain(node).__name__
            text = f"{'personal data: ' * is_personal(node.cls)}[{name}](#{name.lower()})"
        case schema.ListType() | schema.VarTupleType():
            text = f"list of {words(node.item_type)}"
        case schema.TupleType():
            text = "list of exactly " + ", ".join(words(item) for item in node.item_types)
        case schema.DictType():
            text = f"map of {words(node.key_type)} to {words(node.value_type)}"
        case schema.UnionType():
            text = " or ".join(words(option) for option in node.types)
        case _:
            text = _SIMPLE[type(node)] + _bounds(node)
    return text


def line_comments(source: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield (field or member, comment) of a module's class for each that has `#: …` on its line."""
    lines = source.splitlines()
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            for item in node.body:
                _, found, comment = lines[(item.end_lineno or 1) - 1].partition("#:")
                if found and isinstance(item, ast.Assign | ast.AnnAssign):
                    target = item.target if isinstance(item, ast.AnnAssign) else item.targets[0]
                    yield ast.unparse(target), comment.strip()


@cache
def _own_comments(cls: type[object]) -> list[tuple[str, str]]:
    if not cls.__module__.startswith("shared."):
        return []
    return list(line_comments(inspect.getsource(sys.modules[cls.__module__]), cls.__name__))


def _plain(node: schema.StructType) -> type[msgspec.Struct]:
    """Return a struct's class without the types that it was given."""
    return get_origin(node.cls) or node.cls


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
        case _:
            return ()


def _bounds(node: schema.Type) -> str:
    """Return a type's bounds in brackets; a text's and a list of bytes' are of their length."""
    limits = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "min_length": "length ≥", "max_length": "length ≤"}
    said = [f"{sign} {limit}" for name, sign in limits.items() if (limit := getattr(node, name, None)) is not None]
    return f" ({', '.join(said)})" if said else ""


def _default(field: schema.Field) -> str | None:
    if field.required:
        return None
    value: object = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    return msgspec.json.encode(value).decode()
