"""What a toxicity model is measured by: whole counts first, shares of them in millionths after.

Dropping a text is the positive outcome; how groups differ in it shared/fairness.py says.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from shared.constant import constant
from shared.fairness import Counts
from shared.toxicity.odds import MICRO

KEEP_PPM = constant(300_000, "ppm", "COL-02")  # a text is kept up to this score
LEAST_TEXTS = constant(20, "texts", "COL-10")  # what is measured on fewer says nothing about a group


def outcome(scores: Sequence[int], toxic: Sequence[bool], keep_ppm: int = KEEP_PPM) -> Counts:
    """Return what scores lead to, against what the texts are: selected is dropped, wanted is toxic."""
    pairs = zip(scores, toxic, strict=True)
    return sum((Counts.one(selected=score > keep_ppm, wanted=label) for score, label in pairs), Counts())


def auc_ppm(scores: Sequence[int], toxic: Sequence[bool]) -> int:
    """Return how often a toxic text scores above a clean one, ties by half, in millionths; without either it is 0."""
    clean = sorted(score for score, label in zip(scores, toxic, strict=True) if not label)
    above = [score for score, label in zip(scores, toxic, strict=True) if label]
    if not clean or not above:
        return 0
    halves = sum(bisect_left(clean, score) + bisect_right(clean, score) for score in above)
    return halves * MICRO // (2 * len(clean) * len(above))
