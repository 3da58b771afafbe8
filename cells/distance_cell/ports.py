"""The port through which the distance cell sees, with its hardware-backed and its simulated adapter."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Protocol

from shared.constant import constant
from shared.subjects.body import Mm, Quality, Range
from shared.world import SimWorld, now_ms

RANGERS_AT = constant("/sys/bus/iio/devices", "folder", "NIM-12")
STEADY_READINGS = constant(3, "readings", "NIM-12")  # more of them that follow one another are stable
LEAP_MM = constant(
    150, "mm", "NIM-12"
)  # and half the nearer of two readings: what is far away moves past quickly as a body turns
FARTHEST_MM = constant(100_000, "mm", "NIM-12")
SWING_MS = constant(20_000, "ms", "NIM-12")

ABSENT = Range(None, "ABSENT")
LOST = Range(None, "LOST")


@dataclass(frozen=True, slots=True)
class Ranges:
    """One reading of one sensor in its three directions."""

    front: Range = ABSENT
    left: Range = ABSENT
    right: Range = ABSENT


class Ranger(Protocol):
    """A range sensor: its name, and what it sees now. One that is not there says ABSENT."""

    @property
    def name(self) -> str: ...

    def read(self) -> Ranges: ...


class Steadiness:
    """How far one direction's readings can be believed, by how many followed one another without a leap."""

    def __init__(self) -> None:
        self._last: Mm | None = None
        self._readings = 0

    def judge(self, mm: Mm | None) -> Range:
        """Return a reading with its quality: LOST, NOISY after a leap, NORMAL, and STABLE after more than three."""
        if mm is None:
            return LOST
        leapt = self._last is not None and abs(mm - self._last) > LEAP_MM + min(mm, self._last) // 2
        self._last, self._readings = mm, 0 if leapt else self._readings + 1
        quality: Quality = "NOISY" if leapt else "STABLE" if self._readings > STEADY_READINGS else "NORMAL"
        return Range(mm, quality)


class IioRanger:
    """A range sensor of Linux' industrial I/O, looking ahead: `in_distance_raw` times `in_distance_scale` is metres."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._steady = folder, Steadiness()

    @property
    def name(self) -> str:
        return _text(self.folder / "name")[:32] or self.folder.name[:32]

    def read(self) -> Ranges:
        return Ranges(front=self._steady.judge(self._front_mm()))

    def _front_mm(self) -> Mm | None:
        """Return millimetres, or None where the driver reports no distance."""
        try:
            raw = Decimal(_text(self.folder / "in_distance_raw"))
            mm = raw * Decimal(_text(self.folder / "in_distance_scale") or "0") * 1000
            return int(mm) if 0 <= mm <= FARTHEST_MM else None
        except ArithmeticError:  # no number, none that can be compared, or one beyond all numbers
            return None


def found_rangers(folder: Path) -> list[IioRanger]:
    """Return every range sensor that the kernel offers in a folder, in name order; none where there is none."""
    return [IioRanger(path.parent) for path in sorted(folder.glob("*/in_distance_raw"))]


class SimRanger:
    """A simulated sensor whose view of the way ahead swings between 0 and 2 m; a function of the World's time alone."""

    name = "sonar"

    def __init__(self, world: SimWorld) -> None:
        self.world = world

    def read(self) -> Ranges:
        phase = now_ms(self.world) % SWING_MS
        front = 2_000 * abs(SWING_MS // 2 - phase) // (SWING_MS // 2)
        quality: Quality = "NORMAL" if phase < SWING_MS // 10 else "STABLE"
        return Ranges(Range(front, quality), Range(700, quality), Range(2_000 - front, quality))


def _text(path: Path) -> str:
    """Return a driver's file as text; empty where it cannot be read, as when the sensor was unplugged."""
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
