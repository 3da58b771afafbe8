"""The exploration nerve: leads the body on in straight legs and turns, and stops it where it sees nothing."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from cells.distance_cell.sight import Ahead, Sight, ahead, see
from shared.constant import constant
from shared.errors import Refusal
from shared.part import Nerve
from shared.subjects.body import (
    CRUISE_MM_S,
    HOLD_MS,
    TURN_CDEG_S,
    Action,
    DistanceWave,
    ExplorationDecided,
    ExplorationState,
    MotorRequest,
)
from shared.subjects.system import Tick

LEG_MS = constant(8_000, "ms", "NIM-13")
GOLDEN_CDEG = constant(13_751, "cdeg", "NIM-13")  # turning by the golden angle never comes back to the same heading
HALF_TURN_CDEG = constant(18_000, "cdeg", "NIM-13")
TURN_ULF = constant(1_500_000, "micro-lifeforce", "NIM-10")
FORWARD_ULF = constant(2_000_000, "micro-lifeforce", "NIM-10")


class Exploring(msgspec.Struct, frozen=True):
    """Where one body's exploring stands; the fold of its decisions."""

    state: ExplorationState = "RESTING"
    leg: int = 0
    rate_cdeg_s: int = 0
    until_ms: int = 0


class ExplorationWindow(msgspec.Struct, frozen=True):
    """What one body lately saw."""

    site: str = ""
    sight: Sight = Sight()


Said = ExplorationDecided | MotorRequest


class ExplorationNerve(Nerve[Exploring, ExplorationWindow]):
    """Distance waves in; legs, and commands to the motors, out. Whatever is in the way it leaves to others."""

    name: ClassVar[str] = "exploration"
    version: ClassVar[str] = "1.0.0"
    cost_ulf: ClassVar[int] = constant(300_000, "micro-lifeforce", "NIM-13")

    def entity(self, message: DistanceWave | Tick) -> str | None:
        return None if isinstance(message, Tick) else message.site

    def evolve(self, state: Exploring, decision: ExplorationDecided) -> Exploring:
        return Exploring(decision.after, decision.leg, decision.rate_cdeg_s, decision.until_ms)

    def decide(
        self, state: Exploring, window: ExplorationWindow, message: DistanceWave | Tick, now_ms: int
    ) -> tuple[ExplorationWindow, list[Said] | Refusal]:
        if isinstance(message, DistanceWave):
            window = ExplorationWindow(message.site, see(window.sight, message, now_ms))
        if not window.site:
            return window, []
        seen = ahead(window.sight, now_ms)
        decided = next_leg(state, window, seen, now_ms)
        after = state if decided is None else self.evolve(state, decided)
        said: list[Said] = [] if decided is None else [decided]
        if decided is not None or isinstance(message, DistanceWave):
            said += _commands(after, seen, window.site, now_ms, stopping=decided is not None)
        return window, said


def next_leg(state: Exploring, window: ExplorationWindow, seen: Ahead, now_ms: int) -> ExplorationDecided | None:
    """Return the decision that is due, None where the leg goes on."""
    moving = state.state in ("CRUISE", "TURN")
    if seen.front_mm is None:
        if not moving:
            return None
        return _decided(state, "BLIND", "silent" if seen.silent else "no_front", window.site, 0, now_ms, 0)
    if not moving:
        return _decided(state, "CRUISE", "clear", window.site, 0, now_ms + LEG_MS, FORWARD_ULF) if seen.clear else None
    if now_ms < state.until_ms:
        return None
    if state.state == "TURN":
        return _decided(state, "CRUISE", "turned", window.site, 0, now_ms + LEG_MS, FORWARD_ULF)
    angle = GOLDEN_CDEG * (state.leg + 1) % HALF_TURN_CDEG
    rate = TURN_CDEG_S if state.leg % 4 < 2 else -TURN_CDEG_S  # noqa: PLR2004 - two legs one way, two the other
    until_ms = now_ms + angle * 1_000 // TURN_CDEG_S
    return _decided(state, "TURN", "leg_over", window.site, rate, until_ms, TURN_ULF)


def _decided(  # noqa: PLR0913 - a decision's fields
    state: Exploring, after: ExplorationState, reason: str, site: str, rate: int, until_ms: int, cost_ulf: int
) -> ExplorationDecided:
    return ExplorationDecided(site, state.state, after, reason, state.leg + 1, rate, until_ms, cost_ulf)  # pyright: ignore[reportArgumentType]


def _commands(state: Exploring, seen: Ahead, site: str, now_ms: int, *, stopping: bool) -> list[MotorRequest]:
    """Return what keeps the body on its leg; nothing where the way is not surely clear, so that it comes to rest."""
    match state.state:
        case "CRUISE" if seen.clear and not seen.contradicts:
            return [_command(state, "forward", CRUISE_MM_S, 0, site, now_ms)]
        case "TURN":
            return [_command(state, "turn", 0, state.rate_cdeg_s, site, now_ms)]
        case "BLIND" if stopping:
            return [_command(state, "stop", 0, 0, site, now_ms)]
        case _:
            return []


def _command(state: Exploring, action: Action, speed: int, rate: int, site: str, now_ms: int) -> MotorRequest:
    return MotorRequest(site, "exploration", state.leg, action, speed, rate, now_ms, HOLD_MS)
