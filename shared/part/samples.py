"""Example messages of any class, drawn from its schema: ordinary values, and the edges where code breaks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import inspect as schema

from shared.constant import constant
from shared.message import Message
from shared.world import SIM_EPOCH_NS, World

M = TypeVar("M", bound=Message)

TEXTS = ("", "a", "2 + 3", "wörld ☃", "line\nbreak", '{"a": 1}', "x" * 400, "\x00", "dev.a.b", "-1", "((((")
NUMBERS = (0, 1, -1, 2, 7, 100, 999_999, 1_000_000, 2**31, 2**53, 2**63 - 1, -(2**63))
FLOATS = (0.0, 1.0, -1.0, 0.5, 1e-300, 1e300)
ORDINARY = constant(0.8, "share", "NIM-01")
MAX_DEPTH = constant(3, "levels", "NIM-01")
BYTES = (b"", b"\x00", b"\xff" * 33, b"\x80")


def samples(cls: type[M], world: World, count: int) -> Iterator[M]:
    """Yield up to `count` messages of a class; what the class itself refuses (a bound, a pattern) is left out.

    Four values in five are ordinary for their unit (a time near the simulation, a share, one short text), so that what
    a part does with a series is reached too; the fifth is an edge.
    """
    for place in range(count):
        described = schema.type_info(cls)
        assert isinstance(described, schema.StructType)
        value = {field.encode_name: _field(field, world, place) for field in described.fields}
        try:
            yield msgspec.convert(value, cls)
        except msgspec.ValidationError:
            continue


def _field(field: schema.Field, world: World, place: int) -> Any:  # noqa: ANN401 - a value of any type
    if world.chance() < ORDINARY:
        if field.name.endswith("_ms"):
            return SIM_EPOCH_NS // 1_000_000 + place * 100
        if field.name.endswith("_ppm"):
            return int(world.chance() * 1_000_000)
        if isinstance(field.type, schema.StrType):
            return "a"
    return _draw(field.type, world)


def _draw(node: schema.Type, world: World, depth: int = 0) -> Any:  # noqa: ANN401, C901, PLR0911 - a value of any type
    match node:
        case schema.LiteralType():
            return _pick(node.values, world)
        case schema.BoolType():
            return _pick((True, False), world)
        case schema.IntType():
            low, high = node.ge if node.ge is not None else -(2**63), node.le if node.le is not None else 2**63 - 1
            return min(max(_pick(NUMBERS, world), low), high)
        case schema.FloatType():
            return _pick(FLOATS, world)
        case schema.StrType():
            return _pick(TEXTS, world)
        case schema.BytesType():
            return _pick(BYTES, world)
        case schema.UnionType():
            return _draw(_pick(node.types, world), world, depth)
        case schema.ListType() | schema.VarTupleType():
            return [_draw(node.item_type, world, depth + 1) for _ in range(_length(world, depth))]
        case schema.TupleType():
            return [_draw(item, world, depth + 1) for item in node.item_types]
        case schema.DictType():
            keys = [_draw(node.key_type, world, depth + 1) for _ in range(_length(world, depth))]
            return {key: _draw(node.value_type, world, depth + 1) for key in keys}
        case schema.StructType():
            return {field.encode_name: _draw(field.type, world, depth + 1) for field in node.fields}
        case _:
            return None


def _length(world: World, depth: int) -> int:
    return _pick((0, 1, 2, 3), world) if depth < MAX_DEPTH else 0


def _pick(options: Sequence[Any], world: World) -> Any:  # noqa: ANN401 - one of any options
    return options[int(world.chance() * len(options))]
