"""What a toxicity model is measured by: whole counts first, shares of them in millionths after.

Dropping a text is the positive outcome; how groups differ in it shared/fairness.py says.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from shared.constant import constant
from shared.toxicity.odds import MICRO

KEEP_PPM = constant(300_000, "ppm", "COL-02")  # a text is kept up to this score
LEAST_TEXTS = constant(20, "texts", "COL-10")  # what is measured on fewer says nothing about a group


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many texts were dropped and kept, of those that are toxic and of those that are clean."""

    dropped_toxic: int = 0
    kept_toxic: int = 0
    dropped_clean: int = 0
    kept_clean: int = 0

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(
            self.dropped_toxic + other.dropped_toxic,
            self.kept_toxic + other.kept_toxic,
            self.dropped_clean + other.dropped_clean,
            self.kept_clean + other.kept_clean,
        )

    @property
    def toxic(self) -> int:
        """The toxic texts."""
        return self.dropped_toxic + self.kept_toxic

    @property
    def clean(self) -> int:
        """The clean texts."""
        return self.dropped_clean + self.kept_clean

    @property
    def dropped(self) -> int:
        """The dropped texts."""
        return self.dropped_toxic + self.dropped_clean

    @property
    def texts(self) -> int:
        """All texts."""
        return self.toxic + self.clean

    @property
    def quality_ppm(self) -> int | None:
        """The mean of the share of toxic texts dropped and the share of clean texts kept; None without either."""
        if not self.toxic or not self.clean:
            return None
        both = self.dropped_toxic * self.clean + self.kept_clean * self.toxic
        return both * MICRO // (2 * self.toxic * self.clean)


def outcome(scores: Sequence[int], toxic: Sequence[bool], keep_ppm: int = KEEP_PPM) -> Outcome:
    """Return what scores lead to, against what the texts are."""
    return sum((_one(score > keep_ppm, label) for score, label in zip(scores, toxic, strict=True)), Outcome())


def auc_ppm(scores: Sequence[int], toxic: Sequence[bool]) -> int:
    """Return how often a toxic text scores above a clean one, ties by half, in millionths; without either it is 0."""
    clean = sorted(score for score, label in zip(scores, toxic, strict=True) if not label)
    above = [score for score, label in zip(scores, toxic, strict=True) if label]
    if not clean or not above:
        return 0
    halves = sum(bisect_left(clean, score) + bisect_right(clean, score) for score in above)
    return halves * MICRO // (2 * len(clean) * len(above))


def _one(dropped: bool, toxic: bool) -> Outcome:  # noqa: FBT001 - both are what the outcome is of
    return Outcome(dropped and toxic, toxic and not dropped, dropped and not toxic, not dropped and not toxic)
