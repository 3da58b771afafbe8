"""Shares and log odds in whole numbers, read from tables that decimal arithmetic fills: the same on every machine."""

from __future__ import annotations

from decimal import Context, Decimal
from functools import cache

from shared.constant import constant

MICRO = 1_000_000
ODDS_STEPS = constant(1_000, "steps", "COL-02")  # of a share; the first and the last twenty are one each
ODDS_EDGE = constant(20, "steps", "COL-02")
ODDS_LIMIT = constant(16, "units of log odds", "COL-02")  # beyond it a share is 0 or 1 to the millionth
ODDS_PARTS = constant(64, "parts of a unit", "COL-02")

_EXACT = Context(prec=28)


def odds_micro(share_ppm: int) -> int:
    """Return a share's log odds in millionths, from −3.891820 for 0.02 and less to 3.891820 for 0.98 and more."""
    step = share_ppm * ODDS_STEPS // MICRO
    return _odds()[min(max(step, ODDS_EDGE), ODDS_STEPS - ODDS_EDGE) - ODDS_EDGE]


def share_ppm(log_odds_micro: int) -> int:
    """Return the share of log odds, between two places of the table as on a straight line. It never falls."""
    limit = ODDS_LIMIT * MICRO
    place, beyond = divmod((min(max(log_odds_micro, -limit), limit - 1) + limit) * ODDS_PARTS, MICRO)
    low, high = _shares()[place : place + 2]
    return low + (high - low) * beyond // MICRO


@cache
def _odds() -> tuple[int, ...]:
    edges = range(ODDS_EDGE, ODDS_STEPS - ODDS_EDGE + 1)
    return tuple(round((Decimal(step) / (ODDS_STEPS - step)).ln(_EXACT) * MICRO) for step in edges)


@cache
def _shares() -> tuple[int, ...]:
    places = range(-ODDS_LIMIT * ODDS_PARTS, ODDS_LIMIT * ODDS_PARTS + 1)
    return tuple(round(MICRO / (1 + (-Decimal(place) / ODDS_PARTS).exp(_EXACT))) for place in places)
