"""Sine and cosine in integers: the same on every processor."""

from __future__ import annotations

from functools import cache

from shared.constant import constant
from shared.subjects.body import FULL_CIRCLE_CDEG

ONE = constant(1_000_000, "millionths", "NIM-12")
_PI = 3_141_592_653_589_793_238  # times ten to the eighteenth
_UNIT = 10**18


@cache
def sine(cdeg: int) -> int:
    """Return the sine of an angle in hundredths of a degree, in millionths, rounded down from 18 digits."""
    cdeg %= FULL_CIRCLE_CDEG
    if cdeg > FULL_CIRCLE_CDEG // 2:
        return -sine(cdeg - FULL_CIRCLE_CDEG // 2)
    if cdeg > FULL_CIRCLE_CDEG // 4:
        cdeg = FULL_CIRCLE_CDEG // 2 - cdeg
    x = 2 * _PI * cdeg // FULL_CIRCLE_CDEG
    term, total = x, x
    for n in range(1, 12):  # Taylor's series; the twelfth term is below the last digit
        term = -term * x // _UNIT * x // _UNIT // ((2 * n) * (2 * n + 1))
        total += term
    return (total + _UNIT // ONE // 2) // (_UNIT // ONE)


def cosine(cdeg: int) -> int:
    """Return the cosine of an angle in hundredths of a degree, in millionths."""
    return sine(cdeg + FULL_CIRCLE_CDEG // 4)
