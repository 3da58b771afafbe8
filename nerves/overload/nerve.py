"""The overload nerve: decides how loaded a site is, from several readings and never from one."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from shared.constant import constant
from shared.envelope.admission import CLOCK_SKEW_MS
from shared.errors import Refusal
from shared.part import Nerve
from shared.subjects.nervous import AssessRequest, Extent, LoadAssessed, LoadLevel, Reason, VitalsWave
from shared.subjects.system import Tick

SUSTAINED = constant(3, "readings", "NIM-12")
WINDOW_READINGS = constant(30, "readings", "NIM-01")
FORGET_MS = constant(60_000, "ms", "NIM-01")
SILENT_MS = constant(15_000, "ms", "NIM-01")
BOOT_CHARS = constant(32, "characters", "X-12")

#: (level, processor, memory, run queue per core): a level is reached when any of its three is
LEVELS: tuple[tuple[LoadLevel, int, int, int], ...] = (
    ("OVERLOADED", constant(900_000, "ppm", "NIM-12"), 950_000, 2_000_000),
    ("STRAINED", constant(700_000, "ppm", "NIM-12"), 850_000, 1_000_000),
)
ASCENDING: tuple[LoadLevel, ...] = ("UNKNOWN", "NORMAL", *(level for level, *_ in reversed(LEVELS)))


class Reading(msgspec.Struct, frozen=True, array_like=True):
    """One reading as the window keeps it."""

    taken_ms: int
    cpu_ppm: int
    memory_ppm: int
    disk_ppm: int
    load_ppm: int


class LoadState(msgspec.Struct, frozen=True):
    """The level last decided; the fold of the site's LoadAssessed."""

    level: LoadLevel = "UNKNOWN"


class Window(msgspec.Struct, frozen=True):
    """The newest readings of one boot of a site's sensing cell, oldest first."""

    site: str = ""
    boot: str = ""
    readings: tuple[Reading, ...] = ()


class OverloadNerve(Nerve[LoadState, Window]):
    """Vitals in; LoadAssessed out when another level has been sustained, when asked, and when the readings stop."""

    name: ClassVar[str] = "overload"
    version: ClassVar[str] = "1.1.0"
    cost_ulf: ClassVar[int] = constant(2_000_000, "micro-lifeforce", "NIM-07")

    def entity(self, message: VitalsWave | AssessRequest | Tick) -> str | None:
        return None if isinstance(message, Tick) else message.site

    def evolve(self, state: LoadState, decision: LoadAssessed) -> LoadState:
        return LoadState(decision.level)

    def decide(
        self, state: LoadState, window: Window, message: VitalsWave | AssessRequest | Tick, now_ms: int
    ) -> tuple[Window, list[LoadAssessed] | Refusal]:
        match message:
            case VitalsWave():
                window = remember(window, message, now_ms)
                level = sustained(window, state.level)
                changed = level not in ("UNKNOWN", state.level)
                return window, [assessed(message.site, level, state, window, "sustained")] if changed else []
            case AssessRequest():
                level = sustained(window, state.level)
                if level == "UNKNOWN":
                    found = len(window.readings)
                    return window, Refusal(
                        "B012",
                        f"{found} readings of {message.site} so far, {SUSTAINED} are needed; ask again in a few beats",
                    )
                return window, [assessed(message.site, level, state, window, "asked")]
            case Tick():
                if not window.readings or now_ms - window.readings[-1].taken_ms < SILENT_MS:
                    return window, []
                silent = Window(window.site)
                said = [] if state.level == "UNKNOWN" else [assessed(window.site, "UNKNOWN", state, silent, "silent")]
                return silent, said


def remember(window: Window, wave: VitalsWave, now_ms: int) -> Window:
    """Return the window with one more reading. Another boot begins anew; old and repeated readings fall out.

    A reading from the future would never fall out, and one of an earlier boot that comes late says nothing new.
    """
    boot = wave.boot[:BOOT_CHARS]
    late = boot != window.boot and any(reading.taken_ms >= wave.taken_ms for reading in window.readings)
    if late or wave.taken_ms > now_ms + CLOCK_SKEW_MS:
        return window
    kept = window.readings if window.boot == boot else ()
    new = Reading(wave.taken_ms, wave.cpu_ppm, wave.memory_ppm, wave.disk_ppm, wave.load_ppm)
    if any(reading.taken_ms == new.taken_ms for reading in kept):
        return window
    fresh = [r for r in (*kept, new) if now_ms - r.taken_ms <= FORGET_MS]
    return Window(wave.site, boot, tuple(sorted(fresh, key=lambda r: r.taken_ms)[-WINDOW_READINGS:]))


def sustained(window: Window, before: LoadLevel) -> LoadLevel:
    """Return the level after the newest readings: they raise it or lower it only where all of them say so.

    UNKNOWN while there are too few; from UNKNOWN on it is what all of them reach.
    """
    newest = deciding(window)
    if len(newest) < SUSTAINED:
        return "UNKNOWN"
    heights = [ASCENDING.index(reached(reading)) for reading in newest]
    return ASCENDING[max(min(heights), min(max(heights), ASCENDING.index(before)))]


def deciding(window: Window) -> tuple[Reading, ...]:
    """Return the newest readings, those that a level rests on."""
    return window.readings[-SUSTAINED:]


def reached(reading: Reading) -> LoadLevel:
    """Return the level of one reading."""
    for level, cpu, memory, load in LEVELS:
        if reading.cpu_ppm >= cpu or reading.memory_ppm >= memory or reading.load_ppm >= load:
            return level
    return "NORMAL"


def assessed(site: str, level: LoadLevel, state: LoadState, window: Window, reason: Reason) -> LoadAssessed:
    """Return the decision about a site, with the range of the readings that decided it; of a silent one with none."""
    newest = deciding(window)
    if not newest:
        return LoadAssessed(site, level, state.level, reason, readings=0, span_ms=0)
    return LoadAssessed(
        site,
        level,
        state.level,
        reason,
        readings=len(newest),
        span_ms=newest[-1].taken_ms - newest[0].taken_ms,
        cpu=extent([reading.cpu_ppm for reading in newest]),
        memory=extent([reading.memory_ppm for reading in newest]),
        disk=extent([reading.disk_ppm for reading in newest]),
        load=extent([reading.load_ppm for reading in newest]),
    )


def extent(values: list[int]) -> Extent:
    """Return what some values lie between."""
    return Extent(min(values), max(values))
