"""What whoever hears distance waves may conclude from them: integers for a nerve's window, pure functions."""

from __future__ import annotations

import msgspec

from shared.constant import constant
from shared.errors import Refusal
from shared.subjects.body import EVIDENCE_MS, OBSTACLE_MM, DistanceWave

SENSORS = constant(4, "sensors", "X-12")
FORGOTTEN_MS = constant(60_000, "ms", "NIM-13")  # who was silent for so long is not waited for any more
CONTRADICTION_MM = constant(200, "mm", "NIM-13")


class Glimpse(msgspec.Struct, frozen=True, array_like=True):
    """What one sensor last said; a lost reading leaves the one before it to grow old."""

    sensor: str
    taken_ms: int
    front_mm: int | None  #: None where it has no eye ahead
    left_mm: int | None
    right_mm: int | None
    sure: bool  #: the reading ahead was not noisy


class Sight(msgspec.Struct, frozen=True, array_like=True):
    """The newest glimpse of each sensor, in name order."""

    glimpses: tuple[Glimpse, ...] = ()


class Ahead(msgspec.Struct, frozen=True):
    """What the fresh glimpses say together. Nearness is believed of any reading, clearness only of sure ones."""

    front_mm: int | None = None  #: the nearest that any sensor says
    left_mm: int | None = None
    right_mm: int | None = None
    sure: bool = False
    contradicts: bool = False  #: one sensor says an obstacle, another says clear
    silent: bool = False  #: a sensor that spoke before does not any more: what it would say is missing

    @property
    def blocked(self) -> bool:
        """Whether something is nearer than an obstacle may be."""
        return self.front_mm is not None and self.front_mm < OBSTACLE_MM

    @property
    def clear(self) -> bool:
        """Whether it is sure that nothing is."""
        return self.front_mm is not None and self.front_mm >= OBSTACLE_MM and self.sure


def too_early(taken_ms: int, now_ms: int) -> Refusal | None:
    """Refuse what a clock further ahead than evidence lasts has stamped: how old it is, nobody can say."""
    if taken_ms - now_ms <= EVIDENCE_MS:
        return None
    found = f"taken {taken_ms - now_ms} ms in the future"
    return Refusal("R001", f"{found}; a body's clocks may differ by {EVIDENCE_MS} ms, set them right")


def see(sight: Sight, wave: DistanceWave, now_ms: int) -> Sight:
    """Return the sight with one more wave; one older than what is known says nothing new.

    Whatever its clock says, a reading was taken when it was heard at the latest, or it would hide those that follow.
    """
    taken_ms = min(wave.taken_ms, now_ms)
    others = [g for g in sight.glimpses if g.sensor != wave.sensor and now_ms - g.taken_ms <= FORGOTTEN_MS]
    before = next((glimpse for glimpse in sight.glimpses if glimpse.sensor == wave.sensor), None)
    if wave.front.quality == "LOST" or (before is not None and before.taken_ms >= taken_ms):
        return sight
    sure = wave.front.quality in ("NORMAL", "STABLE")
    new = Glimpse(wave.sensor, taken_ms, wave.front.mm, wave.left.mm, wave.right.mm, sure)
    kept = sorted([*others, new], key=lambda glimpse: glimpse.taken_ms)[-SENSORS:]
    return Sight(tuple(sorted(kept, key=lambda glimpse: glimpse.sensor)))


def ahead(sight: Sight, now_ms: int) -> Ahead:
    """Return what the glimpses that are fresh say together; nothing of the way ahead where any eye's is not.

    A sensor that once spoke must go on speaking, or say ABSENT: it may be the only one that sees what is there.
    """
    fresh = [glimpse for glimpse in sight.glimpses if now_ms - glimpse.taken_ms <= EVIDENCE_MS]
    left, right = _least([g.left_mm for g in fresh]), _least([g.right_mm for g in fresh])
    eyes = [glimpse for glimpse in sight.glimpses if glimpse.front_mm is not None]
    fronts = [glimpse.front_mm for glimpse in fresh if glimpse.front_mm is not None]
    if not fronts or len(fronts) < len(eyes):
        return Ahead(None, left, right, silent=bool(eyes) or not fresh)
    near, far = min(fronts), max(fronts)
    contradicts = near < OBSTACLE_MM and far >= OBSTACLE_MM and far - near >= CONTRADICTION_MM
    return Ahead(near, left, right, all(glimpse.sure for glimpse in eyes), contradicts)


def _least(known: list[int | None]) -> int | None:
    return min((mm for mm in known if mm is not None), default=None)
