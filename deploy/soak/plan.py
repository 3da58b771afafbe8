"""When a soak strikes what: a pure function of its seed and its length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from shared.constant import constant
from shared.world import SimWorld

Kind = Literal["part", "writer", "organism", "bus", "database", "cut", "freeze", "full", "skew", "flip"]
KINDS: tuple[Kind, ...] = get_args(Kind)

EVERY_S = constant(10.0, "s", "X-07")  #: between two strikes, on average
LEAD = constant(0.03, "share", "X-07")  #: of the soak before the first strike
STRUCK = constant(0.5, "share", "X-07")  #: of the soak after which nothing is struck: what memory does is judged behind
FINE = constant(1_000, "parts", "X-07")
SKEW_MS = constant(25_000, "ms", "X-07")  #: the most a clock is set off, of the 30 s that are allowed


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault: when, of what kind, and a number in [0, 1) by which the victim and the measure are chosen."""

    at_s: float
    kind: Kind
    draw: float

    def pick(self, of: Sequence[str]) -> str:
        """Return the victim, of several."""
        return of[int(self.draw * len(of))]

    def within(self, low: int, high: int) -> int:
        """Return a whole number from `low` to `high`, drawn by the lower digits: whoever is picked, it may be any."""
        return low + int(self.draw * FINE % 1 * (high - low + 1))

    def between(self, low: float, high: float) -> float:
        """Return the measure, between two bounds."""
        return low + self.draw * (high - low)


def schedule(seed: int, seconds: float, kinds: Sequence[Kind] = KINDS) -> tuple[Strike, ...]:
    """Return the strikes of a soak so long, in order.

    They come in rounds in which each kind comes once, so that a long soak has met every one of them.
    """
    world = SimWorld("dev", seed, "soak")
    first_s, last_s = LEAD * seconds, STRUCK * seconds
    count = max(1, round((last_s - first_s) / EVERY_S))
    slot_s = (last_s - first_s) / count
    strikes = zip(range(count), _rounds(world, kinds), strict=False)
    return tuple(Strike(round(first_s + (n + world.chance()) * slot_s, 3), kind, world.chance()) for n, kind in strikes)


def _rounds(world: SimWorld, kinds: Sequence[Kind]) -> Iterator[Kind]:
    while True:
        left = list(kinds)
        while left:
            yield left.pop(int(world.chance() * len(left)))
