"""Shares of what was counted, in millionths and whole numbers alone: no measurement depends on a machine's floats.

Every share is rounded down, so that one below a threshold never reads as having reached it. Intervals are Wilson's
score intervals at 95 % (E. B. Wilson, 1927), of differences Newcombe's hybrid of two of them (R. G. Newcombe, 1998,
method 10), rounded outwards.
"""

from __future__ import annotations

from fractions import Fraction
from math import isqrt

from shared.constant import constant

MICRO = 1_000_000
Z_SQUARED = Fraction(constant(3_841_459, "millionths", "ILL-06"), MICRO)  # 1.959964²: 95 %, both sides
_FINE = 10**12

Interval = tuple[int, int]


def ppm(part: int, of: int) -> int:
    """Return how much of `of` is `part`, in millionths, rounded down; there has to be something."""
    return part * MICRO // of


def wilson(part: int, of: int, independent: int | None = None) -> Interval:
    """Return the interval in which the share lies that `part` of `of` is a sample of, in millionths.

    Where examples are not independent of each other, such as several views of one, `independent` is how many are; the
    interval is then that of so many.
    """
    assert 0 <= part <= of
    assert of > 0
    count = of if independent is None else independent
    share = Fraction(part, of)
    root = _root_above(Z_SQUARED * (Z_SQUARED + 4 * count * share * (1 - share)))
    middle, whole = 2 * count * share + Z_SQUARED, 2 * (count + Z_SQUARED)
    low, high = (middle - root) / whole, (middle + root) / whole
    return max(_down(low), 0), min(_up(high), MICRO)


def difference(more: tuple[int, int], less: tuple[int, int]) -> Interval:
    """Return the interval of the difference of two shares, each a part and what it is of; at least 0."""
    (first, of_first), (second, of_second) = more, less
    low_first, high_first = wilson(first, of_first)
    low_second, high_second = wilson(second, of_second)
    share_first, share_second = ppm(first, of_first), ppm(second, of_second)
    apart = share_first - share_second
    below = isqrt((share_first - low_first) ** 2 + (high_second - share_second) ** 2) + 1
    above = isqrt((high_first - share_first) ** 2 + (share_second - low_second) ** 2) + 1
    return max(apart - below, 0), min(apart + above, MICRO)


def lopsided(part: int, of: int) -> tuple[int, Interval]:
    """Return how far a share is from one half, on a scale from 0 to 1: |2·share - 1|, with its interval."""
    low, high = wilson(part, of)
    ends = sorted(abs(2 * end - MICRO) for end in (low, high))
    return abs(2 * part - of) * MICRO // of, (0 if low <= MICRO // 2 <= high else ends[0], ends[1])


def _root_above(value: Fraction) -> Fraction:
    """Return the square root, rounded up by less than a millionth of a millionth."""
    return Fraction(isqrt(_up(value * _FINE) * _FINE // MICRO) + 1, _FINE)


def _down(share: Fraction) -> int:
    return share.numerator * MICRO // share.denominator


def _up(share: Fraction) -> int:
    return -(-share.numerator * MICRO // share.denominator)
