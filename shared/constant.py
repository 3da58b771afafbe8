"""A constant that knows its unit and the requirement it comes from."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T", int, float, str)


def constant(value: T, unit: str, row: str) -> T:
    """Return `value`; `unit` and `row` are read from the source by the generated index (docs/constants.md)."""
    assert unit
    assert row
    return value
