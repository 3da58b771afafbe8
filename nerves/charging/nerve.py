"""The charging nerve: when the battery is low it leads the body towards the light over its dock, and keeps it there."""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec
from msgspec.structs import replace

from cells.distance_cell.sight import Ahead, Sight, ahead, see, too_early
from shared.constant import constant
from shared.errors import Refusal
from shared.part import Garden, Nerve
from shared.subjects.body import (
    FULL_CIRCLE_CDEG,
    TURN_CDEG_S,
    ChargingDecided,
    ChargingState,
    DistanceWave,
    Helm,
    LightWave,
    MotorRequest,
)
from shared.subjects.nervous import BatteryWave
from shared.subjects.system import Tick

FULL_PPM = constant(900_000, "ppm", "NIM-13")
LIGHT_FRESH_MS = constant(1_000, "ms", "NIM-13")
STRAIGHT_CDEG = constant(1_200, "cdeg", "NIM-13")  # a light no further aside than this is straight ahead
DETOUR_MS = constant(2_000, "ms", "NIM-13")  # after something was in the way, first straight on past it
DETOURS = constant(6, "detours", "NIM-13")  # each of them longer than the one before, and then from the beginning
HALF_CIRCLE_CDEG = constant(18_000, "cdeg", "NIM-13")
STEER_CDEG_S = constant(4_500, "cdeg/s", "NIM-13")
SEEK_ULF = constant(500_000, "micro-lifeforce", "NIM-13")
CHARGED_ULF = constant(10_000_000, "micro-lifeforce", "NIM-10")

Reason = Literal["low", "critical", "docked", "charged", "undocked", "exhausted", "no_battery"]


class Charging(msgspec.Struct, frozen=True):
    """Where one body's getting of energy stands; the fold of its decisions."""

    state: ChargingState = "CONTENT"
    critical: bool = False  #: it was said already
    number: int = 0


class ChargingWindow(msgspec.Struct, frozen=True):
    """What was lately heard about one body."""

    site: str = ""
    sight: Sight = Sight()
    light_ms: int = 0
    bearing_cdeg: int | None = None
    bright: bool = False  #: there is light, wherever it comes from
    battery_ms: int = 0
    blocked_ms: int = 0
    detours: int = 0


Heard = BatteryWave | LightWave | DistanceWave | Tick
Said = ChargingDecided | MotorRequest


class ChargingNerve(Nerve[Charging, ChargingWindow]):
    """Battery, light and distance in; steps of charging, and commands to the motors, out."""

    name: ClassVar[str] = "charging"
    version: ClassVar[str] = "1.0.0"
    garden: ClassVar[Garden] = "real"
    cost_ulf: ClassVar[int] = constant(300_000, "micro-lifeforce", "NIM-13")

    def entity(self, message: Heard) -> str | None:
        return None if isinstance(message, Tick) else message.site

    def evolve(self, state: Charging, decision: ChargingDecided) -> Charging:
        critical = decision.after == "SEEK" and (decision.reason == "critical" or state.critical)
        return Charging(decision.after, critical, decision.number)

    def decide(
        self, state: Charging, window: ChargingWindow, message: Heard, now_ms: int
    ) -> tuple[ChargingWindow, list[Said] | Refusal]:
        if isinstance(message, DistanceWave | LightWave) and (no := too_early(message.taken_ms, now_ms)) is not None:
            return window, no
        window = remember(window, message, now_ms)
        if isinstance(message, BatteryWave):
            return window, _about_battery(state, message, now_ms)
        if not isinstance(message, DistanceWave):
            return window, []
        command = _command(state, window, ahead(window.sight, now_ms), now_ms)
        return window, [] if command is None else [command]


def remember(window: ChargingWindow, message: Heard, now_ms: int) -> ChargingWindow:
    """Return the window with one more message."""
    match message:
        case DistanceWave():
            sight = see(window.sight, message, now_ms)
            window = replace(window, site=message.site, sight=sight)
            if not ahead(sight, now_ms).blocked:
                return window
            new = now_ms - window.blocked_ms > DETOUR_MS
            return replace(window, blocked_ms=now_ms, detours=(window.detours + new) % DETOURS)
        case LightWave():
            taken_ms = min(message.taken_ms, now_ms)
            if taken_ms < window.light_ms:
                return window
            bearing = None if message.direction_cdeg is None else message.direction_cdeg % FULL_CIRCLE_CDEG
            bright = message.quality != "ABSENT" and message.level_mlux > 0
            return replace(window, site=message.site, light_ms=taken_ms, bearing_cdeg=bearing, bright=bright)
        case BatteryWave():
            return replace(window, site=message.site, battery_ms=min(now_ms, max(window.battery_ms, message.taken_ms)))
        case Tick():
            return window


def _about_battery(state: Charging, wave: BatteryWave, now_ms: int) -> list[Said]:
    found = next_step(state, wave)
    if found is None:
        return []
    after, reason = found
    earned = CHARGED_ULF if reason == "charged" else 0
    charge = max(0, min(1_000_000, wave.charge_ppm))
    number = state.number + 1
    decided = ChargingDecided(wave.site, state.state, after, reason, charge, number, SEEK_ULF, earned)
    if after in ("DOCKED", "EXHAUSTED"):
        return [decided, Helm(wave.site, "charging", number, now_ms).stop()]
    return [decided]


def next_step(state: Charging, wave: BatteryWave) -> tuple[ChargingState, Reason] | None:
    """Return the state that a battery's wave leads to, and why; None where it changes nothing."""
    if wave.state == "ABSENT":
        return None if state.state == "CONTENT" else ("CONTENT", "no_battery")
    if wave.charging:
        return _charging(state, wave.charge_ppm)
    if wave.charge_ppm <= 0:
        return None if state.state == "EXHAUSTED" else ("EXHAUSTED", "exhausted")
    if state.state == "DOCKED":
        return "SEEK", "undocked"
    if wave.state == "CRITICAL" and not state.critical:
        return "SEEK", "critical"
    return ("SEEK", "low") if wave.state == "LOW" and state.state == "CONTENT" else None


def _charging(state: Charging, charge_ppm: int) -> tuple[ChargingState, Reason] | None:
    full = charge_ppm >= FULL_PPM
    if state.state == "DOCKED":
        return ("CONTENT", "charged") if full else None
    return None if full or state.state == "CONTENT" else ("DOCKED", "docked")


def _command(state: Charging, window: ChargingWindow, seen: Ahead, now_ms: int) -> MotorRequest | None:
    """Return what leads the body to its dock or keeps it there; None leaves it to others."""
    helm = Helm(window.site, "charging", state.number, now_ms)
    if state.state == "DOCKED":
        return helm.stop()
    lit = window.bright and now_ms - window.light_ms <= LIGHT_FRESH_MS
    if state.state != "SEEK" or not lit or seen.front_mm is None:
        return None
    aside = HALF_CIRCLE_CDEG if window.bearing_cdeg is None else _signed(window.bearing_cdeg)
    passing = window.blocked_ms and now_ms - window.blocked_ms < DETOUR_MS * (1 + window.detours) // 2
    if abs(aside) > STRAIGHT_CDEG and not passing:
        rate = TURN_CDEG_S if abs(aside) > 2 * STRAIGHT_CDEG else STEER_CDEG_S
        return helm.turn(rate if aside > 0 else -rate)
    return helm.forward() if seen.clear and not seen.contradicts else None


def _signed(cdeg: int) -> int:
    """Return a bearing as the shorter turn, clockwise positive."""
    return cdeg - FULL_CIRCLE_CDEG if cdeg > HALF_CIRCLE_CDEG else cdeg
