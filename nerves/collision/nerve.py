"""The collision nerve: stops the body before an obstacle, turns it to where it is clear, and learns from what it finds.

IDLE → DETECT → EVALUATE → EVADE → RESUME → IDLE. The more of its evasions were verified, the less it deliberates: at a
weight above 0.8, or where the gates' reflex has stopped the body already, it turns at once. Without evidence it stops.
"""

from __future__ import annotations

from typing import ClassVar

from msgspec.structs import replace

from cells.distance_cell.sight import ahead, see, too_early
from nerves.collision.state import Avoiding, CollisionWindow, evolved
from nerves.collision.steps import CLEAR_MM, Step, next_step
from shared.constant import constant
from shared.errors import Refusal
from shared.part import Garden, SiteNerve
from shared.subjects.body import (
    BoxedInWave,
    CollisionDecided,
    CollisionState,
    DistanceWave,
    Helm,
    MotorRequest,
    MotorWave,
)
from shared.subjects.gates import ReflexActed
from shared.subjects.system import Tick

BOXED_IN_PPM = constant(900_000, "ppm", "NIM-13")
DOMAINS = ("danger", "obstacle")

Heard = DistanceWave | MotorWave | ReflexActed | Tick
Said = CollisionDecided | MotorRequest | BoxedInWave


class CollisionNerve(SiteNerve[Avoiding, CollisionWindow]):
    """Distance and motor waves in; steps of avoiding, and commands to the motors, out."""

    name: ClassVar[str] = "collision"
    version: ClassVar[str] = "1.0.0"
    garden: ClassVar[Garden] = "real"
    cost_ulf: ClassVar[int] = constant(500_000, "micro-lifeforce", "NIM-13")

    def entity(self, message: Heard) -> str | None:
        match message:
            case Tick():
                return None
            case ReflexActed():
                return self.site
            case _:
                return message.site

    def evolve(self, state: Avoiding, decision: CollisionDecided) -> Avoiding:
        return evolved(state, decision)

    def decide(
        self, state: Avoiding, window: CollisionWindow, message: Heard, now_ms: int
    ) -> tuple[CollisionWindow, list[Said] | Refusal]:
        if isinstance(message, DistanceWave | MotorWave) and (no := too_early(message.taken_ms, now_ms)) is not None:
            return window, no
        window = remember(window, message, now_ms)
        if not window.site:
            return window, []
        step = next_step(state, window, now_ms)
        if step is None:
            return window, _renewed(state, window.site, now_ms) if isinstance(message, DistanceWave) else []
        said: list[Said] = [_decided(step, state, window.site, now_ms)]
        if step.reason == "boxed_in":
            said.append(_help(window.site, step, now_ms))
        if step.path[-1] != "IDLE":
            helm = Helm(window.site, "collision", state.number + 1, now_ms)
            said.append(_command(step.path[-1], step.rate_cdeg_s, helm))
        return replace(window, clear=0), said


def remember(window: CollisionWindow, message: Heard, now_ms: int) -> CollisionWindow:
    """Return the window with one more message."""
    match message:
        case DistanceWave():
            sight = see(window.sight, message, now_ms)
            seen = ahead(sight, now_ms)
            clear = seen.clear and not seen.contradicts and seen.front_mm is not None and seen.front_mm >= CLEAR_MM
            fresh = sight.glimpses != window.sight.glimpses
            count = min(window.clear + 1, 2) if clear and fresh else window.clear if clear else 0
            return replace(window, site=message.site, sight=sight, clear=count)
        case MotorWave():
            taken_ms = min(message.taken_ms, now_ms)
            if taken_ms < window.motor_ms:
                return window
            able = message.state not in ("ABSENT", "EMPTY")
            stalled = message.state == "STALLED"
            return replace(window, site=message.site, motor_ms=taken_ms, motor=able, stalled=stalled)
        case ReflexActed():
            if not window.site or message.domain not in DOMAINS or message.polarity != 1:
                return window
            return replace(window, reflex_ms=now_ms)
        case Tick():
            return window


def _decided(step: Step, state: Avoiding, site: str, now_ms: int) -> CollisionDecided:
    return CollisionDecided(
        site=site,
        before=state.state,
        path=step.path,
        reason=step.reason,
        habit=step.habit,
        degraded=step.seen.left_mm is None or step.seen.right_mm is None,
        domain=step.domain,
        front_mm=step.seen.front_mm,
        left_mm=step.seen.left_mm,
        right_mm=step.seen.right_mm,
        rate_cdeg_s=step.rate_cdeg_s,
        number=state.number + 1,
        since_ms=now_ms if step.begins else state.since_ms,
        at_ms=now_ms,
        expected_mm=step.expected_mm,
        found_mm=step.found_mm,
        outcome=step.outcome,
        confirmed=step.confirmed,
        failed=step.failed,
        weight_ppm=step.weight_ppm,
        cost_ulf=step.cost_ulf,
        earned_ulf=step.earned_ulf,
    )


def _renewed(state: Avoiding, site: str, now_ms: int) -> list[Said]:
    """Return the command that keeps the body doing what was decided; while idle, others may move it."""
    if state.state in ("IDLE", "DISABLED"):
        return []
    return [_command(state.state, state.rate_cdeg_s, Helm(site, "collision", state.number, now_ms))]


def _command(state: CollisionState, rate_cdeg_s: int, helm: Helm) -> MotorRequest:
    return helm.turn(rate_cdeg_s) if state == "EVADE" else helm.stop()


def _help(site: str, step: Step, now_ms: int) -> BoxedInWave:
    content = f"boxed in: no way out within {CLEAR_MM // 10} cm in any direction, {step.reason}"
    return BoxedInWave("danger", BOXED_IN_PPM, content, step.cost_ulf, site, now_ms)
