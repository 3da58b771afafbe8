"""What the collision nerve knows: its state (the fold of its own decisions) and its window (what it lately heard)."""

from __future__ import annotations

import msgspec

from cells.distance_cell.sight import Sight
from shared.habit import BEGIN_PPM
from shared.subjects.body import CollisionDecided, CollisionReason, CollisionState, Habit


class Avoiding(msgspec.Struct, frozen=True):
    """Where one body's avoiding stands, and what its evasions taught it."""

    state: CollisionState = "DISABLED"
    cause: CollisionReason = "obstacle"  #: why the evasion in progress began
    habit: Habit = "deliberate"  #: of the evasion in progress
    rate_cdeg_s: int = 0
    number: int = 0
    since_ms: int = 0  #: when what it is about was detected
    at_ms: int = 0  #: when the last step was taken
    evading_ms: int = 0  #: when turning began
    over_ms: int = 0  #: when the last evasion ended
    boxed_ms: int = 0  #: when it last turned once around and found no way out; 0 where there is one
    confirmed: int = 0
    failed: int = 0
    weight_ppm: int = BEGIN_PPM


class CollisionWindow(msgspec.Struct, frozen=True):
    """What was lately heard about one body."""

    site: str = ""
    sight: Sight = Sight()
    clear: int = 0  #: how many readings in a row were surely clear, up to two
    motor_ms: int = 0
    motor: bool = False  #: there is one that can move
    stalled: bool = False
    reflex_ms: int = 0  #: when a reflex last stopped the body


def evolved(state: Avoiding, decision: CollisionDecided) -> Avoiding:
    """Return the state after one step."""
    after = decision.path[-1] if decision.path else decision.before
    begins = "DETECT" in decision.path
    turns = after == "EVADE" and decision.before != "RESUME"
    return Avoiding(
        state=after,
        cause=decision.reason if begins else state.cause,
        habit=decision.habit,
        rate_cdeg_s=decision.rate_cdeg_s,
        number=decision.number,
        since_ms=decision.since_ms,
        at_ms=decision.at_ms,
        evading_ms=decision.at_ms if turns else state.evading_ms,
        over_ms=decision.at_ms if decision.outcome is not None else state.over_ms,
        boxed_ms=decision.at_ms if decision.reason == "boxed_in" else 0 if after == "IDLE" else state.boxed_ms,
        confirmed=decision.confirmed,
        failed=decision.failed,
        weight_ppm=decision.weight_ppm,
    )
