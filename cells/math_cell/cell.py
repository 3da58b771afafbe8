"""The math cell: answers arithmetic exactly, and says how sure it is that it saw any."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import ClassVar

from shared.constant import constant
from shared.errors import Refusal
from shared.part import Cell
from shared.subjects.nervous import MathRequest, MathResponse, MathWave

MAX_TEXT = constant(500, "characters", "NIM-12")
MAX_BITS = constant(4_096, "bits", "NIM-12")
SURE_PPM = constant(900_000, "ppm", "NIM-12")
UNSURE_PPM = constant(100_000, "ppm", "NIM-12")

_BINARY: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: Fraction(a // b),
    ast.Mod: lambda a, b: a % b,
    ast.Pow: lambda a, b: _power(a, b),  # noqa: PLW0108 - defined below
}


class MathCell(Cell):
    """One request in, one response and one wave out, no state."""

    name: ClassVar[str] = "math_cell"
    version: ClassVar[str] = "1.0.0"
    cost_ulf: ClassVar[int] = constant(300_000, "micro-lifeforce", "NIM-07")

    def on_request(self, request: MathRequest) -> Iterator[MathResponse | MathWave | Refusal]:
        """Answer the value of the text, or refuse what is not arithmetic; either way, say how sure."""
        try:
            value = evaluate(request.text)
            answer = MathResponse(request.text, float(value), str(value))
        except (ValueError, ZeroDivisionError, OverflowError) as error:
            why = "it divides by zero" if isinstance(error, ZeroDivisionError) else error
            yield MathWave("math", UNSURE_PPM, request.text[:MAX_TEXT], self.cost_ulf)
            yield Refusal("B012", f"not arithmetic that has a value: {why}")
            return
        yield MathWave("math", SURE_PPM, request.text, self.cost_ulf)
        yield answer


def evaluate(text: str) -> Fraction:
    """Return an arithmetic text's exact value; ValueError, ZeroDivisionError or OverflowError for anything else."""
    if len(text) > MAX_TEXT:
        raise ValueError(f"{len(text)} characters, at most {MAX_TEXT} are allowed")
    text = text.strip()
    try:
        return _value(ast.parse(text, mode="eval").body, text)
    except (SyntaxError, RecursionError, MemoryError):
        raise ValueError(f"{text[:60]!r} cannot be read as arithmetic") from None


def _value(node: ast.expr, text: str) -> Fraction:
    match node:
        case ast.Constant(value=bool()):
            raise ValueError("a truth value is no number")
        case ast.Constant(value=int(number)):
            return _bounded(Fraction(number))
        case ast.Constant(value=float()):
            return _bounded(_decimal(ast.get_source_segment(text, node) or ""))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, text)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand, text)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _bounded(_BINARY[type(op)](_value(left, text), _value(right, text)))
        case _:
            raise ValueError(f"{type(node).__name__} is not arithmetic")


def _decimal(digits: str) -> Fraction:
    """Return a decimal number as written, not as the nearest double; ValueError if its power of ten is too large."""
    _, _, exponent = digits.lower().partition("e")
    if abs(int(exponent or 0)) > MAX_BITS:
        raise ValueError(f"{digits[:60]} is too large or too small")
    return Fraction(digits)


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1:
        raise ValueError("only whole exponents keep the value exact")
    size = max(base.numerator.bit_length(), base.denominator.bit_length())
    if size > 1 and size * abs(exponent.numerator) > MAX_BITS:
        raise ValueError(f"the power has more than {MAX_BITS} bits")
    return Fraction(base**exponent.numerator)


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
        raise ValueError(f"the value has more than {MAX_BITS} bits")
    return value
