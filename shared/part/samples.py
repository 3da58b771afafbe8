"""Messages made up from their own schema, plausible and on the edge, drawn from a World: the generic checks' food.

A field's unit is the end of its name: `_ms` is near the present, `_ppm` a share; a message's id is
hardly ever the same. Texts stay the same most of the time, so that several messages concern one entity.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from msgspec import inspect as schema

from shared.codec import decode, encode
from shared.constant import constant
from shared.declaration import described
from shared.errors import Refused
from shared.message import MESSAGE_ID_BYTES, Message
from shared.world import SimWorld, now_ms

S = TypeVar("S", bound=msgspec.Struct)
T = TypeVar("T")

HALF = 0.5
MOSTLY = 0.95
MISSING = 0.2  #: of what may be missing
DEPTH = constant(4, "levels", "X-12")
ATTEMPTS = constant(50, "attempts", "X-12")

TEXTS = ("", "a", "one two", "ü≥🙂", "\0", "{", "a.b.*.>", "=3D", "'; --", "\u202e", "x" * 128, "x" * 129, "y" * 20_000)
INTEGERS = (0, 1, -1, 127, 128, 255, 256, 65_535, 2**31 - 1, -(2**31), 2**32, 2**53, 2**63 - 1, -(2**63), 2**64 - 1)
FLOATS = (0.0, -0.0, 1.0, 0.1, -1e300, 5e-324, 1.7976931348623157e308)


class Sampler:
    """Makes instances of any declared struct. Everything it draws comes from its World."""

    def __init__(self, world: SimWorld) -> None:
        self.world = world

    def message(self, cls: type[S], *, edge: bool) -> S | None:
        """Return an instance that can be sent, or None if none was found in a bounded number of attempts."""
        for _ in range(ATTEMPTS):
            made = self._struct(described(cls), edge, DEPTH)
            try:
                found = decode(cls, encode(made))
                if isinstance(found, Message):
                    found.subject(self.world.env)
            except (Refused, ValueError):
                continue
            return found
        return None

    def _value(self, node: schema.Type, edge: bool, name: str, left: int) -> Any:  # noqa: ANN401, FBT001, PLR0911
        match node:
            case schema.NoneType():
                return None
            case schema.BoolType():
                return self.world.chance() < HALF
            case schema.IntType():
                return self._integer(node, edge, name)
            case schema.FloatType():
                return self.one_of(FLOATS) if edge else self.world.chance()
            case schema.StrType():
                return self._sized(self._text(edge), node.min_length, node.max_length, "a")
            case schema.BytesType() if node.min_length == node.max_length == MESSAGE_ID_BYTES and not edge:
                return self.world.entropy(MESSAGE_ID_BYTES)
            case schema.BytesType():
                return self._sized(self._text(edge).encode(), node.min_length, node.max_length, b"\0")
            case schema.LiteralType():
                return self.one_of(node.values)
            case schema.EnumType():
                return self.one_of(list(node.cls))
            case _:
                return self._composed(node, edge, name, left - 1)

    def _composed(self, node: schema.Type, edge: bool, name: str, left: int) -> Any:  # noqa: ANN401, FBT001, PLR0911
        many = range(self.one_of((0, 1, 17) if edge else (1, 2)) if left > 0 else 0)
        match node:
            case schema.UnionType():
                plain = [option for option in node.types if isinstance(option, schema.NoneType)]
                rest = [option for option in node.types if option not in plain]
                without = plain and (left <= 0 or self.world.chance() < MISSING)
                return self._value(self.one_of(plain if without else rest), edge, name, left)
            case schema.ListType():
                return [self._value(node.item_type, edge, name, left) for _ in many]
            case schema.VarTupleType():
                return tuple(self._value(node.item_type, edge, name, left) for _ in many)
            case schema.TupleType():
                return tuple(self._value(item, edge, name, left) for item in node.item_types)
            case schema.DictType():
                key, item = node.key_type, node.value_type
                return {self._value(key, edge, name, left): self._value(item, edge, name, left) for _ in many}
            case schema.StructType():
                return self._struct(node, edge, left)
            case _:
                return None

    def _struct(self, node: schema.Type, edge: bool, left: int) -> msgspec.Struct:  # noqa: FBT001 - passed on
        assert isinstance(node, schema.StructType)
        return node.cls(**{field.name: self._value(field.type, edge, field.name, left) for field in node.fields})

    def _integer(self, node: schema.IntType, edge: bool, name: str) -> int:  # noqa: FBT001 - passed on
        low = max(x for x in (-(2**63), node.ge, None if node.gt is None else node.gt + 1) if x is not None)
        high = min(x for x in (2**64 - 1, node.le, None if node.lt is None else node.lt - 1) if x is not None)
        if edge:
            drawn = self.one_of(INTEGERS)
        elif name.endswith("_ms"):
            drawn = now_ms(self.world) - int(5_000 * self.world.chance() ** 8)  # mostly just now
        elif name.endswith("mm"):  # within a room
            drawn = int(3_000 * self.world.chance())
        elif name.endswith("_ppm"):
            drawn = int(1_200_000 * self.world.chance())
        else:
            drawn = int(100 * self.world.chance())
        return max(low, min(high, drawn))

    def _text(self, edge: bool) -> str:  # noqa: FBT001 - passed on
        if edge and self.world.chance() < HALF:
            return self.one_of(TEXTS)
        return "here" if self.world.chance() < MOSTLY else "there"

    def _sized(self, text: Any, least: int | None, most: int | None, filler: Any) -> Any:  # noqa: ANN401 - text or bytes
        return (text + filler * (least or 0))[: max(least or 0, len(text)) if most is None else most]

    def one_of(self, choices: Any) -> Any:  # noqa: ANN401 - one of them
        """Return one of several."""
        return choices[int(len(choices) * self.world.chance())]
