"""Habits: what a nerve did often and well it does again with less deliberation (NIM-13)."""

from __future__ import annotations

from shared.constant import constant
from shared.subjects.body import Habit

HYBRID_PPM = constant(300_000, "ppm", "NIM-13")
AT_ONCE_PPM = constant(800_000, "ppm", "NIM-06")  # above it
BEGIN_PPM = constant(100_000, "ppm", "NIM-06")
WEIGHT_DELTA_PPM = constant(20_000, "ppm", "NIM-06")
#: (how long it deliberates, what that costs on top of the transitions)
DELIBERATION: dict[Habit, tuple[int, int]] = {
    "deliberate": (constant(1_000, "ms", "NIM-13"), constant(7_500_000, "micro-lifeforce", "NIM-13")),
    "hybrid": (constant(500, "ms", "NIM-13"), constant(2_500_000, "micro-lifeforce", "NIM-13")),
    "reflex": (0, 0),
}


def habit_of(weight_ppm: int) -> Habit:
    """Return how something is gone about at this weight: the more of it was verified, the less is deliberated."""
    if weight_ppm > AT_ONCE_PPM:
        return "reflex"
    return "hybrid" if weight_ppm >= HYBRID_PPM else "deliberate"
