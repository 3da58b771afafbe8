"""Where a verified signal goes, and at what price: trusted ones stay low, novel and doubtful ones climb (NIM-07)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from shared.constant import constant
from shared.subjects.gates import REFLEX_PPM, Outcome, SignalVerified
from shared.subjects.meaning import UNKNOWN
from shared.subjects.thalamus import Why

CELLS_PPM = constant(600_000, "ppm", "NIM-07")
NERVES_PPM = constant(300_000, "ppm", "NIM-07")
CELL_ULF = constant(300_000, "micro-lifeforce", "NIM-07")
NERVE_ULF = constant(2_000_000, "micro-lifeforce", "NIM-07")
ORGAN_ULF = constant(8_000_000, "micro-lifeforce", "NIM-07")
COGNITION_ULF = constant(20_000_000, "micro-lifeforce", "NIM-07")
RIDDLE_PPM = constant(500_000, "ppm", "NIM-07")  # of several candidates one this trusted makes no riddle
ANOMALY_FAILURES = constant(2, "failures", "NIM-07")
ANOMALY_OF = constant(3, "outcomes", "NIM-07")

NERVES: Final = 2
ORGANS: Final = 3
COGNITION: Final = 4
PERSON: Final = 5
COSTS: Final = (0, CELL_ULF, NERVE_ULF, ORGAN_ULF, COGNITION_ULF, 0)


class Route(NamedTuple):
    """A tier, why, and the price in micro-lifeforce."""

    tier: int
    why: Why
    cost_ulf: int


def tier_of(weight_ppm: int) -> int:
    """Return the tier that handles what a node of this weight says."""
    if weight_ppm >= REFLEX_PPM:
        return 0
    if weight_ppm >= CELLS_PPM:
        return 1
    return NERVES if weight_ppm >= NERVES_PPM else ORGANS


def route(signal: SignalVerified, recent: Sequence[Outcome], prices: Sequence[int] = COSTS) -> Route:
    """Return where a signal goes. `recent` holds what became of the domain's last signals, the newest last.

    It goes by the most trusted of the sources that agree, its best node. Near no known region: cognition. Between two
    regions, its best node below one half: an organ. Where the domain's recent signals mostly failed, one tier above its
    own, half as dear again.
    """
    if signal.domain == UNKNOWN:
        return Route(COGNITION, "novel_input", prices[COGNITION])
    if signal.ambiguous and signal.node_ppm < RIDDLE_PPM:
        return Route(ORGANS, "ambiguous_input", prices[ORGANS])
    tier = tier_of(signal.node_ppm)
    if list(recent[-ANOMALY_OF:]).count("failed") >= ANOMALY_FAILURES:
        return Route(min(tier + 1, COGNITION), "contextual_anomaly", prices[min(tier + 1, COGNITION)] * 3 // 2)
    return Route(tier, "weight", prices[tier])
