"""How much a gate is trusted: learned from what became of its signals, fading while nothing is heard (NIM-06)."""

from __future__ import annotations

from typing import Final

from shared.constant import constant
from shared.subjects.gates import Outcome

NEW_GATE_PPM = constant(100_000, "ppm", "NIM-06")
DANGER_PPM = constant(900_000, "ppm", "NIM-06")
BATTERY_PPM = constant(300_000, "ppm", "NIM-06")
CONFIRMED_PPM = constant(20_000, "ppm", "NIM-06")
FAILED_PPM = constant(-60_000, "ppm", "NIM-06")
FADE_PPM_PER_DAY = constant(10_000, "ppm per day", "NIM-06")

DAY_MS: Final = 24 * 3600 * 1000
SEEDS: Final = {"danger": DANGER_PPM, "battery": BATTERY_PPM}
DELTAS: Final[dict[Outcome, int]] = {"confirmed": CONFIRMED_PPM, "partial": 0, "failed": FAILED_PPM}


def seed_of(domain: str) -> int:
    """Return the weight that a gate nothing is known of begins with."""
    return SEEDS.get(domain, NEW_GATE_PPM)


def faded(weight_ppm: int, floor_ppm: int, unused_ms: int) -> int:
    """Return a weight after so long without an outcome: one hundredth a day, never below what it began with."""
    left = weight_ppm - max(unused_ms, 0) * FADE_PPM_PER_DAY // DAY_MS
    return max(left, min(weight_ppm, floor_ppm))


def learned(weight_ppm: int, outcome: Outcome) -> int:
    """Return a weight after one outcome, in [0, 1]."""
    return min(max(weight_ppm + DELTAS[outcome], 0), 1_000_000)
