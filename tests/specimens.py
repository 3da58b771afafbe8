"""A random instance of any declared message, made from the types of its fields."""

# ruff: noqa: ANN401 - a field may be of any type

from __future__ import annotations

import importlib
import pkgutil
import re
from random import Random
from typing import Any

import msgspec
from msgspec import inspect as schema

import shared.subjects
from shared.declaration import described
from shared.message import Message, registered

TEXTS = ("", "a", "one two", "math", "ü≥🙂", "\0", "{", "a.b.*.>", "=3D", "x" * 200)
PATTERNED = ("", "a", "en-us+f2", "../x", "7")  #: of them the generator takes what a pattern takes
INTEGERS = (
    0,
    1,
    -1,
    31,
    -32,
    -33,
    127,
    128,
    255,
    256,
    65_535,
    65_536,
    2**31,
    -(2**31),
    2**32,
    2**63 - 1,
    -(2**63),
    2**64 - 1,
)
FLOATS = (0.0, -0.0, 1.0, 0.1, -1e300, 5e-324)


def declared() -> list[type[Message]]:
    """Every message class of the product."""
    for module in pkgutil.walk_packages(shared.subjects.__path__, "shared.subjects."):
        importlib.import_module(module.name)
    return [cls for cls in registered().values() if cls.__module__.startswith("shared.subjects.")]


def specimen(cls: type[Message], random: Random) -> Message:
    """An instance of a message class."""
    return value(described(cls), random)


def _patterned(pattern: str, random: Random) -> str:
    fitting = [text for text in PATTERNED if re.search(pattern, text)]
    assert fitting, f"teach this generator what {pattern} means"
    return random.choice(fitting)


def value(node: schema.Type, random: Random, left: int = 4) -> Any:  # noqa: PLR0911 - one return for each type
    """A value of a type, nested about `left` levels deep at most."""
    match node:
        case schema.NoneType():
            return None
        case schema.BoolType():
            return random.random() < 0.5
        case schema.IntType():
            return _integer(node, random)
        case schema.FloatType():
            return random.choice(FLOATS)
        case schema.StrType():
            return (
                _patterned(node.pattern, random)
                if node.pattern
                else _sized(random.choice(TEXTS), node.min_length, node.max_length, "a")
            )
        case schema.BytesType():
            return _sized(random.choice(TEXTS).encode(), node.min_length, node.max_length, b"\0")
        case schema.LiteralType():
            return random.choice(node.values)
        case schema.EnumType():
            return random.choice(list(node.cls))
        case schema.AnyType():
            return random.choice((None, 1, "text", [1, 2], {"a": b"b"}))
        case _:
            return _composed(node, random, left - 1)


def _composed(node: schema.Type, random: Random, left: int) -> Any:
    count = random.choice((0, 1, 2, 17)) if left > 0 else 0
    if isinstance(node, (schema.ListType, schema.VarTupleType, schema.DictType)):
        count = max(count, node.min_length or 0)
        count = count if node.max_length is None else min(count, node.max_length)
    match node:
        case schema.UnionType():
            shallow = [option for option in node.types if isinstance(option, schema.NoneType)]
            return value(random.choice(shallow if shallow and left <= 0 else node.types), random, left)
        case schema.StructType():
            return node.cls(**{field.name: value(field.type, random, left) for field in node.fields})
        case schema.ListType():
            return [value(node.item_type, random, left) for _ in range(count)]
        case schema.VarTupleType():
            return tuple(value(node.item_type, random, left) for _ in range(count))
        case schema.TupleType():
            return tuple(value(item, random, left) for item in node.item_types)
        case schema.DictType():
            return {value(node.key_type, random, left): value(node.value_type, random, left) for _ in range(count)}
        case _:
            raise AssertionError(f"no message may hold {node}")


def _integer(node: schema.IntType, random: Random) -> int:
    low = max(x for x in (-(2**63), node.ge, None if node.gt is None else node.gt + 1) if x is not None)
    high = min(x for x in (2**64 - 1, node.le, None if node.lt is None else node.lt - 1) if x is not None)
    return max(low, min(high, random.choice(INTEGERS)))


def _sized(text: Any, least: int | None, most: int | None, filler: Any) -> Any:
    return (text + filler * (least or 0))[: max(least or 0, len(text)) if most is None else most]


def plain(message: object) -> Any:
    """What any MessagePack reader should see of a message."""
    return _listed(msgspec.to_builtins(message, builtin_types=(bytes,)))


def _listed(seen: Any) -> Any:
    if isinstance(seen, dict):
        return {key: _listed(item) for key, item in seen.items()}
    return [_listed(item) for item in seen] if isinstance(seen, (list, tuple)) else seen
