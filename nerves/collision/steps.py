"""The rules of avoiding: which step follows from where it stands and what is known. Pure, integers only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from cells.distance_cell.sight import Ahead, ahead
from nerves.collision.state import Avoiding, CollisionWindow
from shared.constant import constant
from shared.habit import DELIBERATION, WEIGHT_DELTA_PPM, habit_of
from shared.subjects.body import (
    EVIDENCE_MS,
    STOPPING_MM,
    TOLERANCE_MM,
    TURN_CDEG_S,
    CollisionReason,
    CollisionState,
    Habit,
)
from shared.subjects.gates import Outcome

CLEAR_MM = constant(400, "mm", "NIM-13")  # what an evasion turns towards
MOTOR_SILENT_MS = constant(5_000, "ms", "NIM-13")
FULL_TURN_MS = constant(4_500, "ms", "NIM-13")  # once around at TURN_CDEG_S, and half a second to begin
STALLED_TURN_MS = constant(1_000, "ms", "NIM-13")  # what was run into unseen is not seen while turning either
CORNER_MS = constant(3_000, "ms", "NIM-13")  # so soon after an evasion the body turns on the same way
RESCAN_MS = constant(60_000, "ms", "NIM-13")
PROVEN_MS = constant(200, "ms", "NIM-13")  # from the end of turning to a reading taken at rest

DETECT_ULF = constant(500_000, "micro-lifeforce", "NIM-13")
EVALUATE_ULF = constant(500_000, "micro-lifeforce", "NIM-13")
EVADE_ULF = constant(500_000, "micro-lifeforce", "NIM-13")
RESUME_ULF = constant(1_000_000, "micro-lifeforce", "NIM-13")
COST_ULF: dict[CollisionState, int] = {
    "DETECT": DETECT_ULF, "EVALUATE": EVALUATE_ULF, "EVADE": EVADE_ULF, "RESUME": RESUME_ULF,
}  # fmt: skip
AVOIDED_ULF = constant(5_000_000, "micro-lifeforce", "NIM-10")
OCCURRED_ULF = constant(-10_000_000, "micro-lifeforce", "NIM-10")
COMPILED_ULF = constant(50_000_000, "micro-lifeforce", "NIM-10")
COMPILED_AFTER = constant(100, "evasions", "NIM-13")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of avoiding, and what becomes known by it."""

    path: tuple[CollisionState, ...]
    reason: CollisionReason
    habit: Habit
    seen: Ahead
    domain: Literal["danger", "obstacle"]
    rate_cdeg_s: int
    confirmed: int
    failed: int
    weight_ppm: int
    cost_ulf: int
    earned_ulf: int = 0
    outcome: Outcome | None = None
    expected_mm: int = 0
    found_mm: int = 0

    @property
    def begins(self) -> bool:
        """Whether it is the first of something new; `since_ms` is counted from here."""
        return self.path[0] in ("DETECT", "DISABLED") or self.reason in ("ready", "rescan", "freed")


def next_step(state: Avoiding, window: CollisionWindow, now_ms: int) -> Step | None:
    """Return the step that is due, None where everything stays as it is."""
    seen = ahead(window.sight, now_ms)
    missing = what_is_missing(window, seen, now_ms)
    if missing is not None:
        return None if state.state == "DISABLED" else _step(state, seen, ("DISABLED",), missing)
    if state.state == "DISABLED":
        return _step(state, seen, ("BOXED_IN" if state.boxed_ms else "IDLE",), "ready")
    return RULES[state.state](state, window, seen, now_ms)


def what_is_missing(window: CollisionWindow, seen: Ahead, now_ms: int) -> CollisionReason | None:
    """Name the evidence without which the body may not move; None where it is all there."""
    if not window.motor or now_ms - window.motor_ms > MOTOR_SILENT_MS:
        return "no_motor"
    if seen.front_mm is not None:
        return None
    return "silent" if seen.silent else "no_front"


def _noticed(state: Avoiding, window: CollisionWindow, seen: Ahead, now_ms: int) -> Step | None:
    """Something is in the way: stop; a reflex turns at once."""
    if window.stalled:
        reason: CollisionReason = "stalled"
    elif seen.contradicts:
        reason = "contradiction"
    elif seen.blocked:
        reason = _domain(seen)
    else:
        return None
    habit: Habit = "reflex" if _acted(window, now_ms) else habit_of(state.weight_ppm)
    at_once = habit == "reflex" and reason != "contradiction"
    step = _step(state, seen, ("DETECT", "EVALUATE", "EVADE") if at_once else ("DETECT",), reason)
    earned = OCCURRED_ULF if reason == "stalled" else 0
    return replace(step, habit=habit, rate_cdeg_s=_side(state, seen, now_ms), earned_ulf=earned)


def _weighed(state: Avoiding, window: CollisionWindow, seen: Ahead, now_ms: int) -> Step | None:
    """Look again for as long as the habit deliberates, then turn, or find that there was nothing."""
    if window.stalled and state.cause != "stalled":
        return replace(_step(state, seen, ("DETECT",), "stalled"), earned_ulf=OCCURRED_ULF)
    entering: tuple[CollisionState, ...] = ("EVALUATE",) if state.state == "DETECT" else ()
    rate = _side(state, seen, now_ms)
    if _acted(window, now_ms) and seen.blocked and state.habit != "reflex":
        return replace(_step(state, seen, (*entering, "EVADE"), _domain(seen)), habit="reflex", rate_cdeg_s=rate)
    wait_ms = DELIBERATION["deliberate" if state.cause == "contradiction" else state.habit][0]
    if now_ms - state.since_ms < wait_ms:
        return _step(state, seen, entering, "evaluated") if entering else None
    if state.cause != "stalled" and not seen.blocked:
        return _step(state, seen, (*entering, "IDLE"), "false_alarm") if seen.clear else None
    reason = state.cause if state.cause in ("stalled", "contradiction") else _domain(seen)
    step = _step(state, seen, (*entering, "EVADE"), reason)
    return replace(step, rate_cdeg_s=rate, cost_ulf=step.cost_ulf + DELIBERATION[state.habit][1])


def _turning(state: Avoiding, window: CollisionWindow, seen: Ahead, now_ms: int) -> Step | None:
    """Turn until it is clear, but never more than once around."""
    turned_ms = now_ms - state.evading_ms
    if window.clear > 1 and turned_ms >= (STALLED_TURN_MS if state.cause == "stalled" else 0):
        return _step(state, seen, ("RESUME",), "clear")
    return _step(state, seen, ("BOXED_IN",), "boxed_in") if turned_ms >= FULL_TURN_MS else None


def _proven(state: Avoiding, window: CollisionWindow, seen: Ahead, now_ms: int) -> Step | None:  # noqa: ARG001 - as every rule
    """At rest, compare what was expected with what is found, and learn from it."""
    newest = max((glimpse.taken_ms for glimpse in window.sight.glimpses), default=0)
    if newest - state.at_ms < PROVEN_MS or seen.front_mm is None:
        return None
    found = min(seen.front_mm, CLEAR_MM)
    outcome = judged(CLEAR_MM, found)
    step = (
        _step(state, seen, ("EVADE",), "not_clear")
        if outcome == "failed"
        else _step(state, seen, ("IDLE",), "verified")
    )
    step = replace(step, outcome=outcome, expected_mm=CLEAR_MM, found_mm=found)
    if outcome == "failed":
        return replace(step, failed=state.failed + 1, weight_ppm=max(0, state.weight_ppm - WEIGHT_DELTA_PPM))
    if outcome == "partial":
        return step
    confirmed = state.confirmed + 1
    earned = AVOIDED_ULF * (state.cause != "stalled") + COMPILED_ULF * (confirmed == COMPILED_AFTER)
    weight = min(1_000_000, state.weight_ppm + WEIGHT_DELTA_PPM)
    return replace(step, confirmed=confirmed, weight_ppm=weight, earned_ulf=earned)


def _waiting(state: Avoiding, window: CollisionWindow, seen: Ahead, now_ms: int) -> Step | None:
    """Boxed in: stand still until it is clear ahead, and look around again once a minute."""
    if window.clear > 1:
        return _step(state, seen, ("IDLE",), "freed")
    if now_ms - state.boxed_ms < RESCAN_MS:
        return None
    return replace(_step(state, seen, ("EVADE",), "rescan"), rate_cdeg_s=_side(state, seen, now_ms))


def judged(expected_mm: int, found_mm: int) -> Outcome:
    """Return what became of an evasion by how far it is clear, and how far it should be."""
    off = abs(expected_mm - found_mm)
    return "confirmed" if off <= TOLERANCE_MM else "partial" if off <= 3 * TOLERANCE_MM else "failed"


def _step(state: Avoiding, seen: Ahead, path: tuple[CollisionState, ...], reason: CollisionReason) -> Step:
    """Return a step that teaches nothing and turns no other way; where it does, the caller replaces that."""
    return Step(
        path,
        reason,
        state.habit,
        seen,
        _domain(seen),
        state.rate_cdeg_s,
        state.confirmed,
        state.failed,
        state.weight_ppm,
        sum(COST_ULF.get(step, 0) for step in path),
    )


def _domain(seen: Ahead) -> Literal["danger", "obstacle"]:
    return "danger" if seen.front_mm is not None and seen.front_mm < STOPPING_MM else "obstacle"


def _acted(window: CollisionWindow, now_ms: int) -> bool:
    """Whether a reflex has stopped the body just now."""
    return window.reflex_ms > 0 and now_ms - window.reflex_ms <= EVIDENCE_MS


def _side(state: Avoiding, seen: Ahead, now_ms: int) -> int:
    """Return which way to turn: on the way of an evasion just over, else where there is more room, else clockwise."""
    if state.rate_cdeg_s and now_ms - state.over_ms < CORNER_MS:
        return state.rate_cdeg_s
    left, right = seen.left_mm, seen.right_mm
    if left is not None and right is not None:
        return TURN_CDEG_S if right >= left else -TURN_CDEG_S
    known = left if left is not None else right
    if known is None or (known >= CLEAR_MM) == (right is not None):
        return TURN_CDEG_S
    return -TURN_CDEG_S


Rule = Callable[[Avoiding, CollisionWindow, Ahead, int], Step | None]
RULES: dict[CollisionState, Rule] = {
    "IDLE": _noticed,
    "DETECT": _weighed,
    "EVALUATE": _weighed,
    "EVADE": _turning,
    "RESUME": _proven,
    "BOXED_IN": _waiting,
}
