"""The shape of a structured answer: a JSON schema, of which exactly the words below are understood.

A server that knows grammars holds its model to the schema; whether it did is judged here, whoever served it. A schema
that says anything else is refused, because an answer that was not judged whole was not judged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import msgspec

from shared.constant import constant
from shared.errors import Refusal, Refused
from shared.subjects.cognition import SCHEMA_BYTES

SHAPE_DEPTH = constant(16, "levels", "X-12")

_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
Json = Any

#: Every word that is understood, and what its value may be.
_GOOD: Mapping[str, Callable[[Json], bool]] = {
    "type": lambda value: value != [] and all(isinstance(one, str) and one in _TYPES for one in _listed(value)),
    "enum": lambda value: isinstance(value, list) and value != [],
    "anyOf": lambda value: isinstance(value, list) and value != [],
    "const": lambda _: True,
    "required": lambda value: _are(value, str),
    "properties": lambda value: isinstance(value, dict),
    "additionalProperties": lambda value: isinstance(value, bool | dict),
    "items": lambda value: isinstance(value, dict),
    **dict.fromkeys(
        ("minLength", "maxLength", "minItems", "maxItems"), lambda value: _is(value, "integer") and value >= 0
    ),
    **dict.fromkeys(("minimum", "maximum"), lambda value: _is(value, "number")),
    **dict.fromkeys(("title", "description", "$schema", "examples", "default"), lambda _: True),  # notes for people
}


class Shape:
    """A schema that was read and understood."""

    def __init__(self, text: str, schema: dict[str, object]) -> None:
        self.text, self.schema = text, schema

    @classmethod
    def parse(cls, text: str) -> Shape:
        """Read a schema; Refused L002 says what of it is not understood."""
        if len(text.encode()) > SCHEMA_BYTES:
            raise _bad(f"it has {len(text.encode())} bytes, at most {SCHEMA_BYTES} may be")
        try:
            schema = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            raise _bad(f"it is not JSON ({error})") from None
        _understood(schema, "the schema", SHAPE_DEPTH)
        return cls(text, schema)

    def wrong(self, text: str) -> str:
        """Return what of a text is not of this shape, in words; empty where it is."""
        try:
            return _wrong(msgspec.json.decode(text), self.schema, "the answer")
        except (msgspec.DecodeError, RecursionError) as error:
            return f"it is not JSON ({error})"


def _bad(found: str) -> Refused:
    return Refused(Refusal("L002", found))


def _understood(schema: Json, at: str, left: int) -> None:
    """Raise Refused L002 for whatever here is not judged below."""
    if not isinstance(schema, dict) or not left:
        raise _bad(f"{at} is no object, or lies more than {SHAPE_DEPTH} levels deep")
    for word, value in cast("dict[str, Json]", schema).items():
        good = _is_good(word, value)
        if not good:
            raise _bad(f"{at} has {word!r}: {str(value)[:100]}, which is not understood")
        if word in ("items", "additionalProperties") and not isinstance(value, bool):
            _understood(value, f"{at}.{word}", left - 1)
        for name, inside in _inside(word, value):
            _understood(inside, f"{at}.{name}", left - 1)


def _inside(word: str, value: Json) -> list[tuple[str, Json]]:
    if word == "properties":
        return list(value.items())
    return [(f"anyOf[{place}]", one) for place, one in enumerate(value)] if word == "anyOf" else []


def _is_good(word: str, value: Json) -> bool:
    """Say whether a word of a schema is known, and its value of the kind that it takes."""
    good = _GOOD.get(word)
    return good is not None and good(value)


def _are(value: Json, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(one, kind) for one in cast("list[Json]", value))


def _wrong(value: Json, schema: dict[str, Json], at: str) -> str:
    if found := _wrong_kind(value, schema):
        return f"{at} {found}"
    if isinstance(value, dict):
        return _wrong_object(cast("dict[str, Json]", value), schema, at)
    if isinstance(value, list):
        return _wrong_list(cast("list[Json]", value), schema, at)
    if isinstance(value, str):
        return _wrong_size(len(value), schema, ("minLength", "maxLength"), f"{at} in characters")
    return _wrong_size(value, schema, ("minimum", "maximum"), at) if _is(value, "number") else ""


def _wrong_kind(value: Json, schema: dict[str, Json]) -> str:
    if "type" in schema and not any(_is(value, one) for one in _listed(schema["type"])):
        return f"is not of type {schema['type']}"
    if "enum" in schema and not any(_same(value, one) for one in schema["enum"]):
        return f"is none of {schema['enum']}"
    if "const" in schema and not _same(value, schema["const"]):
        return f"is not {schema['const']!r}"
    if "anyOf" in schema and all(_wrong(value, one, "it") for one in schema["anyOf"]):
        return "is of none of the shapes it may have"
    return ""


def _wrong_object(value: dict[str, Json], schema: dict[str, Json], at: str) -> str:
    known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    missing = [name for name in schema.get("required", ()) if name not in value]
    if missing:
        return f"{at} has no {missing[0]!r}"
    for name, inside in value.items():
        if name not in known and others is False:
            return f"{at} has {name!r}, which it may not have"
        judged = known.get(name, others if isinstance(others, dict) else {})
        if found := _wrong(inside, judged, f"{at}.{name}"):
            return found
    return ""


def _wrong_list(value: list[Json], schema: dict[str, Json], at: str) -> str:
    found = _wrong_size(len(value), schema, ("minItems", "maxItems"), f"{at} in items")
    each = (_wrong(one, schema.get("items", {}), f"{at}[{place}]") for place, one in enumerate(value))
    return found or next((one for one in each if one), "")


def _wrong_size(found: float, schema: dict[str, Json], bounds: tuple[str, str], at: str) -> str:
    least, most = schema.get(bounds[0]), schema.get(bounds[1])
    if least is not None and found < least:
        return f"{at} is {found}, below {least}"
    return f"{at} is {found}, above {most}" if most is not None and found > most else ""


def _is(value: Json, name: str) -> bool:
    """Say whether a JSON value is of a type: a truth value is no number, and 1.0 is an integer."""
    if isinstance(value, bool):
        return name == "boolean"
    return isinstance(value, _TYPES[name]) or (name == "integer" and isinstance(value, float) and value.is_integer())


def _same(a: Json, b: Json) -> bool:
    """Say whether two JSON values are equal; unlike in Python, true is not 1."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, list) and isinstance(b, list):
        one, two = cast("list[Json]", a), cast("list[Json]", b)
        return len(one) == len(two) and all(map(_same, one, two))
    if isinstance(a, dict) and isinstance(b, dict):
        left, right = cast("dict[str, Json]", a), cast("dict[str, Json]", b)
        return left.keys() == right.keys() and all(_same(left[name], right[name]) for name in left)
    return a == b


def _listed(value: Json) -> list[Json]:
    return cast("list[Json]", value) if isinstance(value, list) else [value]
