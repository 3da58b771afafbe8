"""What a beat of 30 seconds may spend: income, balance, and shares of it for organs and for cognition (NIM-10)."""

from __future__ import annotations

from typing import Final

from nerves.thalamus.routes import COGNITION, ORGANS
from shared.constant import constant

ACCOUNT_MS = constant(30_000, "ms", "NIM-10")
START_ULF = constant(100_000_000, "micro-lifeforce", "NIM-10")
INCOME_ULF = constant(30_000_000, "micro-lifeforce per beat", "NIM-10")
MOST_ULF = constant(200_000_000, "micro-lifeforce", "NIM-10")
ORGANS_SHARE_PPM = constant(400_000, "ppm", "NIM-10")
COGNITION_SHARE_PPM = constant(500_000, "ppm", "NIM-10")

_SHARES: Final = {ORGANS: ORGANS_SHARE_PPM, COGNITION: COGNITION_SHARE_PPM}


def allowed(balance_ulf: int, tier: int) -> int:
    """Return what one act at this tier may cost at most: its share of what remains. A person costs nothing."""
    return max(balance_ulf, 0) * _SHARES.get(tier, 1_000_000) // 1_000_000


def added(sum_ulf: int, more_ulf: int) -> int:
    """Return a beat's sum with one more: whatever a neighbour claims, no more counts than can be kept."""
    return max(-MOST_ULF, min(sum_ulf + max(-MOST_ULF, min(more_ulf, MOST_ULF)), MOST_ULF))


def closed(balance_ulf: int, spent_ulf: int, earned_ulf: int, beats: int) -> int:
    """Return the balance after `beats` beats: never below zero, never above what can be kept."""
    return min(max(balance_ulf - spent_ulf + earned_ulf + beats * INCOME_ULF, 0), MOST_ULF)
