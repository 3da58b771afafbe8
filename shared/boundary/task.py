"""The boundary's task, as data: what a state is, which functions may be called, and what a call looks like in bytes.

A state is a few integers with bounds; a call is one function with typed arguments. Prompt, JSON Schema and vocabulary
are derived from here, and the digest of all this names the task that a model was trained for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from itertools import product
from typing import Any

import msgspec
from blake3 import blake3

from shared.codec import MAX_REASON_CHARS
from shared.constant import constant
from shared.errors import Refusal, Refused

PERCENT = constant(100, "percent", "NIM-14")
FAR_CM = constant(300, "cm", "NIM-14")  # what a distance sensor still tells apart
FASTEST = constant(9, "dm/s", "NIM-14")


class Field(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One number of a state: an integer from `low` to `high`, both included."""

    name: str
    unit: str
    low: int
    high: int

    @property
    def digits(self) -> int:
        """How many digits it is written with: numbers stand in their places, so a model can compare them."""
        return len(str(self.high))


class Choice(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="choice"):
    """An argument that is one of a few words or numbers."""

    options: tuple[str | int, ...]

    def schema(self) -> dict[str, Any]:
        """Return its JSON Schema."""
        return {"enum": list(self.options)}

    def takes(self, value: object) -> bool:
        """Say whether a value is one of them."""
        return any(value == option and type(value) is type(option) for option in self.options)


class Whole(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="whole"):
    """An argument that is an integer from `low` to `high`, both included."""

    low: int
    high: int

    def schema(self) -> dict[str, Any]:
        """Return its JSON Schema."""
        return {"type": "integer", "minimum": self.low, "maximum": self.high}

    def takes(self, value: object) -> bool:
        """Say whether a value is one of them."""
        return type(value) is int and self.low <= value <= self.high


class Argument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One argument of a function."""

    name: str
    type: Choice | Whole


class Function(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One function that may be called, its arguments in the order in which they are written."""

    name: str
    arguments: tuple[Argument, ...] = ()

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of a call of it, and of nothing else."""
        arguments = {argument.name: argument.type.schema() for argument in self.arguments}
        return _object({"function": {"const": self.name}, "args": _object(arguments)})


class Call(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One function call."""

    function: str
    args: dict[str, str | int]


class Task(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """States in, calls out."""

    name: str
    fields: tuple[Field, ...]
    functions: tuple[Function, ...]

    @cached_property
    def digest(self) -> str:
        """BLAKE3 of the task's canonical JSON, 64 hexadecimal digits."""
        return blake3(msgspec.json.encode(self, order="deterministic")).hexdigest()

    @cached_property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema of every allowed call."""
        return {"anyOf": [function.schema() for function in self.functions]}

    @cached_property
    def longest_call(self) -> int:
        """How many bytes the longest allowed call has: a model that was stopped by length has said no call."""
        return max(len(write_call(call)) for function in self.functions for call in [_longest(function)])

    def checked(self, state: Mapping[str, int]) -> dict[str, int]:
        """Return a state in the task's own order. Refused F001 for a field too many, too few, or out of range."""
        wrong = sorted({field.name for field in self.fields} ^ set(state))
        if wrong:
            names = ", ".join(field.name for field in self.fields)
            raise Refused(Refusal("F001", f"{', '.join(wrong)[:MAX_REASON_CHARS]}: the fields are exactly {names}"))
        for field in self.fields:
            value = state[field.name]
            if type(value) is not int or not field.low <= value <= field.high:
                raise Refused(Refusal("F001", f"{field.name} is {value}, expected {field.low} to {field.high}"))
        return {field.name: state[field.name] for field in self.fields}

    def drawn(self, chance: Callable[[], float]) -> dict[str, int]:
        """Return a state drawn evenly."""
        return {field.name: field.low + int(chance() * (field.high - field.low + 1)) for field in self.fields}

    def corners(self) -> Iterator[dict[str, int]]:
        """Yield every state whose numbers are all the lowest or the highest."""
        for values in product(*((field.low, field.high) for field in self.fields)):
            yield {field.name: value for field, value in zip(self.fields, values, strict=True)}

    def prompt(self, state: Mapping[str, int]) -> str:
        """Return how a checked state is written for a model, each number with all its digits."""
        return " ".join(f"{field.name}={state[field.name]:0{field.digits}d}" for field in self.fields) + "\n"

    def allows(self, call: Call) -> bool:
        """Say whether a call is one of the allowed ones: the same judgement as the JSON Schema's."""
        for function in self.functions:
            if function.name == call.function:
                arguments = {argument.name: argument.type for argument in function.arguments}
                return list(arguments) == list(call.args) and all(
                    arguments[name].takes(value) for name, value in call.args.items()
                )
        return False

    def in_order(self, call: Call) -> Call:
        """Return a call with its arguments in the order in which they are written; what is unknown stays last."""
        order = [a.name for function in self.functions if function.name == call.function for a in function.arguments]
        known = {name: call.args[name] for name in order if name in call.args}
        return Call(call.function, known | call.args)

    def read_call(self, text: str) -> Call:
        """Return the call that a text is, byte for byte; ValueError says what else it is."""
        try:
            call = msgspec.json.decode(text.encode(), type=Call)
        except (msgspec.MsgspecError, UnicodeEncodeError) as error:
            raise ValueError(f"no call: {error}") from None
        if write_call(call) != text:
            raise ValueError("a call is written in one way only, without white space")
        if not self.allows(call):
            raise ValueError("the task allows no such call")
        return call


def write_call(call: Call) -> str:
    """Return a call as the one JSON text that is it."""
    return msgspec.json.encode(call).decode()


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    exactly = {"required": list(properties), "additionalProperties": False}
    return {"type": "object", "properties": properties} | exactly


def _longest(function: Function) -> Call:
    widest: dict[str, str | int] = {}
    for argument in function.arguments:
        options = (
            argument.type.options if isinstance(argument.type, Choice) else (argument.type.low, argument.type.high)
        )
        widest[argument.name] = max(options, key=lambda option: len(msgspec.json.encode(option)))
    return Call(function.name, widest)


#: What a small body on wheels knows of itself, and what it may do about it.
TASK = Task(
    name="reflexes",
    fields=(
        Field("battery", "percent", 0, PERCENT),
        Field("front", "cm", 0, FAR_CM),
        Field("left", "cm", 0, FAR_CM),
        Field("right", "cm", 0, FAR_CM),
        Field("math", "percent", 0, PERCENT),
        Field("speech", "percent", 0, PERCENT),
        Field("speed", "dm/s", 0, FASTEST),
    ),
    functions=(
        Function("idle"),
        Function("stop", (Argument("reason", Choice(("obstacle", "fault"))),)),
        Function(
            "dock",
            (Argument("cell", Choice(("battery", "motor"))), Argument("urgency", Choice(("high", "low")))),
        ),
        Function(
            "turn",
            (Argument("direction", Choice(("left", "right"))), Argument("degrees", Choice((45, 90)))),
        ),
        Function(
            "escalate",
            (Argument("topic", Choice(("math", "speech"))), Argument("confidence", Whole(0, PERCENT))),
        ),
    ),
)
