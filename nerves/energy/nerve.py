"""The energy nerve: decides from a site's newest reading whether a training may start there, and how large (COL-06)."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, cast

import msgspec

from shared.constant import constant
from shared.envelope.admission import CLOCK_SKEW_MS
from shared.errors import Refusal
from shared.part import Garden, Nerve
from shared.part.metrics import Declared, Readings
from shared.part.runner import Runner
from shared.policy import Judged, Policies
from shared.subjects.energy import PowerWindow, PowerWindowDecided, PowerWindowRequest, SiteReading, WindowReason
from shared.subjects.system import Tick

STALE_MS = constant(60_000, "ms", "COL-16")
PACKAGE = "nimmerverse.energy"

Said = tuple[bool, str, int, int]  #: what makes one window another: allowed, reason, scale, throttle
Heard = SiteReading | PowerWindowRequest | Tick


class WindowState(msgspec.Struct, frozen=True):
    """The window last decided; the fold of the site's decisions that nobody asked for."""

    said: Said | None = None


class EnergyWindow(msgspec.Struct, frozen=True):
    """The newest reading of a site."""

    reading: SiteReading | None = None


def _reading(read: Callable[[SiteReading], float]) -> Callable[[Runner], Readings]:
    """Return what reads the newest reading of each site off the nerve's runner."""

    def readings(runner: Runner) -> Readings:
        windows = cast("dict[str, EnergyWindow]", runner.mind.windows if runner.mind else {})
        return {(site,): read(w.reading) for site, w in tuple(windows.items()) if w.reading is not None}

    return readings


def _allowed(runner: Runner) -> Readings:
    states = cast("dict[str, WindowState]", runner.mind.states if runner.mind else {})
    return {(site,): float(state.said[0]) for site, state in tuple(states.items()) if state.said is not None}


class EnergyNerve(Nerve[WindowState, EnergyWindow]):
    """Readings and questions in; PowerWindowDecided out when the window changes, and whenever somebody asks."""

    name: ClassVar[str] = "energy"
    version: ClassVar[str] = "1.0.0"
    garden: ClassVar[Garden] = "real"
    cost_ulf: ClassVar[int] = constant(500_000, "micro-lifeforce", "COL-06")
    metrics: ClassVar[tuple[Declared, ...]] = (
        Declared(
            "colossus_power_mw",
            "gauge",
            ("part", "site"),
            "Power that the site draws by its newest reading; no sample where there is none.",
            "COL-13",
            _reading(lambda reading: reading.power_kw / 1_000),
        ),
        Declared(
            "megapack_soc",
            "gauge",
            ("part", "site"),
            "State of charge of the site's battery, 0 to 1, by the same reading.",
            "COL-13",
            _reading(lambda reading: reading.soc_ppm / 1e6),
        ),
        Declared(
            "energy_window_allowed",
            "gauge",
            ("part", "site"),
            "1 where a training may start at the site, by the window last decided.",
            "COL-13",
            _allowed,
        ),
    )

    def __init__(self) -> None:
        self.policies = Policies.shipped()

    def digests(self) -> dict[str, str]:
        return {"policy": self.policies.digest}

    def entity(self, message: Heard) -> str | None:
        return None if isinstance(message, Tick) else message.site

    def evolve(self, state: WindowState, decision: PowerWindowDecided) -> WindowState:
        if decision.purpose:
            return state
        return WindowState((decision.allowed, decision.reason, decision.scale_ppm, decision.throttle_ppm))

    def decide(
        self, state: WindowState, window: EnergyWindow, message: Heard, now_ms: int
    ) -> tuple[EnergyWindow, list[PowerWindowDecided | PowerWindow] | Refusal]:
        match message:
            case SiteReading():
                window = EnergyWindow(newer(window.reading, message, now_ms))
                reading = fresh(window.reading, now_ms)
                return window, [] if reading is None else self._changed(state, reading.site, reading)
            case PowerWindowRequest():
                decided = self.judged(message.site, message.purpose, message.heavy, fresh(window.reading, now_ms))
                return window, [decided, _reply(decided)]
            case Tick():
                if window.reading is None or fresh(window.reading, now_ms) is not None:
                    return window, []
                return EnergyWindow(), self._changed(state, window.reading.site, None)

    def judged(self, site: str, purpose: str, heavy: bool, reading: SiteReading | None) -> PowerWindowDecided:  # noqa: FBT001
        """Return what the policy says about a reading, or about none."""
        given = asked(reading, heavy)
        return decided(site, purpose, heavy, reading, self.policies.evaluate(PACKAGE, given))

    def _changed(
        self, state: WindowState, site: str, reading: SiteReading | None
    ) -> list[PowerWindowDecided | PowerWindow]:
        """Return the window's decision where it is another than was last said."""
        found = self.judged(site, "", False, reading)  # noqa: FBT003 - nobody asked
        return [] if self.evolve(state, found) == state else [found]


def newer(kept: SiteReading | None, message: SiteReading, now_ms: int) -> SiteReading | None:
    """Return the newer of two readings; one from the future would never grow stale, and is none."""
    if message.taken_ms > now_ms + CLOCK_SKEW_MS or (kept is not None and kept.taken_ms >= message.taken_ms):
        return kept
    return message


def fresh(reading: SiteReading | None, now_ms: int) -> SiteReading | None:
    """Return a reading that is no older than a minute; a stale one is none (COL-16)."""
    return reading if reading is not None and now_ms - reading.taken_ms <= STALE_MS else None


def asked(reading: SiteReading | None, heavy: bool) -> dict[str, object]:  # noqa: FBT001 - as the policy takes it
    """Return the policy's input for a reading; without one it says nothing about power."""
    if reading is None:
        return {"heavy": heavy}
    return {
        "heavy": heavy,
        "power_kw": reading.power_kw,
        "soc_ppm": reading.soc_ppm,
        "minute": reading.local_minute,
        "off_peak_from": reading.off_peak_from,
        "off_peak_to": reading.off_peak_to,
    }


class Worth(msgspec.Struct, frozen=True):
    """What the policy says beside yes and no; what stands here is said where it could not be asked."""

    reason: WindowReason = "POLICY_FAILED"
    scale_ppm: int = 0
    delay_s: int = constant(60, "s", "X-06")
    throttle_ppm: int = 0
    off_peak: bool = False


def decided(site: str, purpose: str, heavy: bool, reading: SiteReading | None, judged: Judged) -> PowerWindowDecided:  # noqa: FBT001
    """Return the decision that says what was judged, and on what."""
    worth = msgspec.convert(judged.values, Worth)
    return PowerWindowDecided(
        site=site,
        purpose=purpose,
        allowed=judged.allowed,
        reason=worth.reason,
        scale_ppm=worth.scale_ppm,
        delay_s=worth.delay_s,
        throttle_ppm=worth.throttle_ppm,
        off_peak=worth.off_peak,
        local_minute=reading.local_minute if reading else -1,
        taken_ms=reading.taken_ms if reading else 0,
        power_kw=reading.power_kw if reading else 0,
        soc_ppm=reading.soc_ppm if reading else 0,
        nox_mg_h=reading.nox_mg_h if reading else None,
        nox_permit_mg_h=reading.nox_permit_mg_h if reading else None,
        turbines=reading.turbines if reading else None,
        policy=judged.policy,
        input_digest=judged.input_digest,
        engine=judged.engine,
        heavy=heavy,
        off_peak_from=reading.off_peak_from if reading else -1,
        off_peak_to=reading.off_peak_to if reading else -1,
        source=reading.source if reading else "",
    )


def _reply(d: PowerWindowDecided) -> PowerWindow:
    return PowerWindow(d.site, d.allowed, d.reason, d.scale_ppm, d.delay_s, d.throttle_ppm, d.off_peak)
