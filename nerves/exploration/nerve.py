"""The exploration nerve: leads the body on in straight legs and turns, and stops it where it sees nothing."""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec
from msgspec.structs import replace

from cells.distance_cell.sight import Ahead, Sight, ahead, see, too_early
from shared.constant import constant
from shared.errors import Refusal
from shared.part import Garden, Nerve
from shared.subjects.body import (
    TURN_CDEG_S,
    DistanceWave,
    ExplorationDecided,
    ExplorationState,
    Helm,
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
    garden: ClassVar[Garden] = "real"
    rests: ClassVar[bool] = True
    cost_ulf: ClassVar[int] = constant(300_000, "micro-lifeforce", "NIM-13")

    def entity(self, message: DistanceWave | Tick) -> str | None:
        return None if isinstance(message, Tick) else message.site

    def evolve(self, state: Exploring, decision: ExplorationDecided) -> Exploring:
        return Exploring(decision.after, decision.leg, decision.rate_cdeg_s, decision.until_ms)

    def decide(
        self, state: Exploring, window: ExplorationWindow, message: DistanceWave | Tick, now_ms: int
    ) -> tuple[ExplorationWindow, list[Said] | Refusal]:
        if isinstance(message, DistanceWave):
            if (no := too_early(message.taken_ms, now_ms)) is not None:
                return window, no
            window = ExplorationWindow(message.site, see(window.sight, message, now_ms))
        if not window.site:
            return window, []
        seen = ahead(window.sight, now_ms)
        decided = next_leg(state, window, seen, now_ms)
        after = state if decided is None else self.evolve(state, decided)
        said: list[Said] = [] if decided is None else [decided]
        if decided is not None or isinstance(message, DistanceWave):
            helm = Helm(window.site, "exploration", after.leg, now_ms)
            said += _commands(after, seen, helm, stopping=decided is not None)
        return window, said


def next_leg(state: Exploring, window: ExplorationWindow, seen: Ahead, now_ms: int) -> ExplorationDecided | None:
    """Return the decision that is due, None where the leg goes on."""
    moving = state.state in ("CRUISE", "TURN")
    stays = ExplorationDecided(window.site, state.state, state.state, "clear", state.leg + 1, 0, now_ms, 0)
    if seen.front_mm is None:
        why: Literal["silent", "no_front"] = "silent" if seen.silent else "no_front"
        return replace(stays, after="BLIND", reason=why) if moving else None
    straight = replace(stays, after="CRUISE", until_ms=now_ms + LEG_MS, cost_ulf=FORWARD_ULF)
    if not moving:
        return straight if seen.clear else None
    if now_ms < state.until_ms:
        return None
    if state.state == "TURN":
        return replace(straight, reason="turned")
    angle = GOLDEN_CDEG * (state.leg + 1) % HALF_TURN_CDEG
    rate = TURN_CDEG_S if state.leg % 4 < 2 else -TURN_CDEG_S  # noqa: PLR2004 - two legs one way, two the other
    until_ms = now_ms + angle * 1_000 // TURN_CDEG_S
    return replace(stays, after="TURN", reason="leg_over", rate_cdeg_s=rate, until_ms=until_ms, cost_ulf=TURN_ULF)


def _commands(state: Exploring, seen: Ahead, helm: Helm, *, stopping: bool) -> list[MotorRequest]:
    """Return what keeps the body on its leg; nothing where the way is not surely clear, so that it comes to rest."""
    match state.state:
        case "CRUISE" if seen.clear and not seen.contradicts:
            return [helm.forward()]
        case "TURN":
            return [helm.turn(state.rate_cdeg_s)]
        case "BLIND" if stopping:
            return [helm.stop()]
        case _:
            return []
