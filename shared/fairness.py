"""How differently groups fare, under fairlearn's names and by its meanings, from whole counts (ILL-06, COL-10).

A difference is the largest group's share less the smallest's, a ratio the smallest over the largest. A group with too
few examples says nothing about its group, and with fewer than two groups left nothing was measured: None, never 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from shared.shares import MICRO, Interval, difference, ppm, wilson


@dataclass(frozen=True, slots=True)
class Counts:
    """How many of a group's examples were selected or not, and should have been or not."""

    true_positive: int = 0
    false_positive: int = 0
    true_negative: int = 0
    false_negative: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.true_positive + other.true_positive,
            self.false_positive + other.false_positive,
            self.true_negative + other.true_negative,
            self.false_negative + other.false_negative,
        )

    @staticmethod
    def one(*, selected: bool, wanted: bool) -> Counts:
        """Return the counts of one example."""
        return Counts(selected and wanted, selected and not wanted, not (selected or wanted), wanted and not selected)

    @property
    def selected(self) -> int:
        """Those that were selected, rightly or not."""
        return self.true_positive + self.false_positive

    @property
    def wanted(self) -> int:
        """Those that should have been."""
        return self.true_positive + self.false_negative

    @property
    def unwanted(self) -> int:
        """Those that should not have been."""
        return self.false_positive + self.true_negative

    @property
    def examples(self) -> int:
        """All of them."""
        return self.wanted + self.unwanted


@dataclass(frozen=True, slots=True)
class Gap:
    """How far the two most different groups are apart, or their ratio, in millionths."""

    ppm: int
    interval: Interval  #: of these two groups; choosing them after looking widens nothing of it
    most: str
    least: str
    examples: int  #: of all groups that were measured


Share = Callable[[Counts], tuple[int, int]]  #: a part, and what it is of
Groups = Mapping[str, Counts]


def selection_rate(counts: Counts) -> tuple[int, int]:
    """Return how many were selected, of all."""
    return counts.selected, counts.examples


def true_positive_rate(counts: Counts) -> tuple[int, int]:
    """Return how many were selected, of those that should have been."""
    return counts.true_positive, counts.wanted


def false_positive_rate(counts: Counts) -> tuple[int, int]:
    """Return how many were selected, of those that should not have been."""
    return counts.false_positive, counts.unwanted


def accuracy_score(counts: Counts) -> tuple[int, int]:
    """Return how many were judged right, of all."""
    return counts.true_positive + counts.true_negative, counts.examples


def balanced_accuracy_ppm(counts: Counts) -> int | None:
    """Return the mean of both rates of right verdicts, in millionths; None where either is of nothing."""
    if not counts.wanted or not counts.unwanted:
        return None
    both = counts.true_positive * counts.unwanted + counts.true_negative * counts.wanted
    return ppm(both, 2 * counts.wanted * counts.unwanted)


def demographic_parity_difference(groups: Groups, fewest: int = 1) -> Gap | None:
    """Return how far groups differ in how many are selected."""
    return _difference(groups, selection_rate, fewest)


selection_rate_difference = demographic_parity_difference


def demographic_parity_ratio(groups: Groups, fewest: int = 1) -> Gap | None:
    """Return the smallest selection rate over the largest; where nobody is selected there is no ratio."""
    measured = _measured(groups, selection_rate, fewest)
    if measured is None:
        return None
    (most, (top, of_top)), (least, (bottom, of_bottom)) = _ends(measured)
    if top == 0:
        return None
    (low_top, high_top), (low_bottom, high_bottom) = wilson(top, of_top), wilson(bottom, of_bottom)
    interval = low_bottom * MICRO // high_top, min(-(-high_bottom * MICRO // max(low_top, 1)), MICRO)
    return Gap(bottom * of_top * MICRO // (of_bottom * top), interval, most, least, _examples(measured))


def true_positive_rate_difference(groups: Groups, fewest: int = 1) -> Gap | None:
    """Return how far groups differ in how many are selected of those that should be."""
    return _difference(groups, true_positive_rate, fewest)


equal_opportunity_difference = true_positive_rate_difference


def false_positive_rate_difference(groups: Groups, fewest: int = 1) -> Gap | None:
    """Return how far groups differ in how many are selected of those that should not be."""
    return _difference(groups, false_positive_rate, fewest)


def equalized_odds_difference(groups: Groups, fewest: int = 1) -> Gap | None:
    """Return the larger of the differences in true and in false positive rate; None unless both were measured."""
    both = true_positive_rate_difference(groups, fewest), false_positive_rate_difference(groups, fewest)
    if both[0] is None or both[1] is None:
        return None
    return max(both[0], both[1], key=lambda gap: gap.ppm)


def accuracy_score_difference(groups: Groups, fewest: int = 1) -> Gap | None:
    """Return how far groups differ in how many are judged right."""
    return _difference(groups, accuracy_score, fewest)


def _difference(groups: Groups, share: Share, fewest: int) -> Gap | None:
    measured = _measured(groups, share, fewest)
    if measured is None:
        return None
    (most, more), (least, less) = _ends(measured)
    apart = more[0] * less[1] - less[0] * more[1]
    return Gap(ppm(apart, more[1] * less[1]), difference(more, less), most, least, _examples(measured))


def _measured(groups: Groups, share: Share, fewest: int) -> dict[str, tuple[int, int]] | None:
    shares = {name: share(counts) for name, counts in sorted(groups.items())}
    measured = {name: one for name, one in shares.items() if one[1] >= max(fewest, 1)}
    return measured if len(measured) > 1 else None


def _ends(measured: Mapping[str, tuple[int, int]]) -> tuple[tuple[str, tuple[int, int]], tuple[str, tuple[int, int]]]:
    """Return the groups with the largest and the smallest share; of equals the first and the last by name."""

    def exact(item: tuple[str, tuple[int, int]]) -> Fraction:
        return Fraction(*item[1])

    return max(measured.items(), key=exact), min(reversed(list(measured.items())), key=exact)


def _examples(measured: Mapping[str, tuple[int, int]]) -> int:
    return sum(of for _, of in measured.values())
