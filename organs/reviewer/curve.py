"""What a loss curve says about a run: the AI's vote, a pure function of recorded points (ZER-03).

The window is five points, evenly spread over the curve, the first and the last among them. Over a curve of five points
that is the curve; over a longer one the last five alone would fail a run for having converged.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from shared.constant import constant
from shared.errors import Refusal
from shared.subjects.consensus import Choice

WINDOW_POINTS = constant(5, "points", "ZER-03")
PASS_PPM = constant(200_000, "ppm", "ZER-03")
RETRAIN_PPM = constant(100_000, "ppm", "ZER-03")  # below it a lower learning rate is proposed
LOWER_PERCENT = constant(80, "percent", "ZER-03")
FLOOR_PPM = constant(5_000, "ppm", "ZER-03")
RATE_STEP_PPM = constant(10, "ppm", "ZER-03")  # a learning rate is proposed with five decimals
PPM = 1_000_000


class CurveVote(msgspec.Struct, frozen=True):
    """The vote, what it rests on, and the learning rate to train again with, if that would be lower."""

    choice: Choice
    reason: str
    improvement_ppm: int
    retrain_ppm: int | None = None


def vote_on(losses_micro: Sequence[int], learning_rate_ppm: int | None) -> CurveVote | Refusal:
    """Return the vote on a curve, or G008 where it is no evidence."""
    count = len(losses_micro)
    if count < WINDOW_POINTS:
        return Refusal("G008", f"the run recorded {count} points of its loss, {WINDOW_POINTS} are needed")
    window = [losses_micro[place * (count - 1) // (WINDOW_POINTS - 1)] for place in range(WINDOW_POINTS)]
    first, last = window[0], window[-1]
    if min(window) < 0 or first == 0:
        return Refusal("G008", f"the loss is {', '.join(map(_loss, window))}: it has to begin above 0 and stay there")
    better_ppm = (first - last) * PPM // first
    told = f"loss {' → '.join(map(_loss, window))} over {count} points, {_percent(better_ppm)} better"
    if better_ppm >= PASS_PPM:
        return CurveVote("pass", f"{told}; {_percent(PASS_PPM)} are asked for", better_ppm)
    fails = f"{told}, less than {_percent(PASS_PPM)}"
    if better_ppm >= RETRAIN_PPM:
        return CurveVote("fail", fails, better_ppm)
    lower = None if learning_rate_ppm is None else lower_rate(learning_rate_ppm)
    if lower is not None:
        return CurveVote("fail", f"{fails}; train again with a learning rate of {_rate(lower)}", better_ppm, lower)
    why = "the proposal names none" if learning_rate_ppm is None else f"{_rate(learning_rate_ppm)} is at its floor"
    return CurveVote("fail", f"{fails}; train again, with a lower learning rate if there is one: {why}", better_ppm)


def lower_rate(learning_rate_ppm: int) -> int | None:
    """Return the learning rate to try next, rounded half to even, never below the floor; None where none is lower."""
    steps = round_half_even(learning_rate_ppm * LOWER_PERCENT, 100 * RATE_STEP_PPM)
    lower = max(FLOOR_PPM, RATE_STEP_PPM * steps)
    return lower if lower < learning_rate_ppm else None


def round_half_even(number: int, unit: int) -> int:
    """Return how many units a number is, exactly: no float is near it."""
    whole, rest = divmod(number, unit)
    return whole + (2 * rest > unit or (2 * rest == unit and whole % 2 == 1))


def _loss(micro: int) -> str:
    return f"{micro / PPM:g}"


def _percent(ppm: int) -> str:
    return f"{ppm / 10_000:.4g} %"


def _rate(ppm: int) -> str:
    return f"{ppm / PPM:g}"
