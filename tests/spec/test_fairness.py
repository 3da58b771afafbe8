"""Shares, their intervals and the differences between groups: whole numbers that others compute alike."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import fairness
from shared.fairness import Counts
from shared.shares import MICRO, difference, lopsided, ppm, wilson

NAMES = (
    "demographic_parity_difference",
    "demographic_parity_ratio",
    "equalized_odds_difference",
    "equal_opportunity_difference",
    "true_positive_rate_difference",
    "false_positive_rate_difference",
    "selection_rate_difference",
    "accuracy_score_difference",
)
#: Groups as true positives, false positives, true negatives, false negatives; and what fairlearn 0.15.0 makes of them
#: (numpy 2, scikit-learn 1.9.1), in millionths, rounded down, in the order of NAMES.
FAIRLEARN: tuple[tuple[dict[str, list[int]], tuple[int, ...]], ...] = (
    ({"a": [2, 18, 16, 15], "b": [9, 7, 35, 6]}, (111455, 715789, 482352, 482352, 482352, 362745, 111455, 418988)),
    (
        {"a": [3, 2, 6, 14], "b": [15, 33, 39, 2], "c": [36, 13, 35, 27]},
        (339325, 370833, 705882, 705882, 705882, 208333, 339325, 279639),
    ),
    ({"a": [29, 38, 18, 1], "b": [11, 28, 22, 18]}, (285398, 633667, 587356, 587356, 587356, 118571, 285398, 128790)),
    ({"a": [14, 22, 7, 6], "b": [25, 7, 23, 23]}, (324437, 558404, 525287, 179166, 179166, 525287, 324437, 186813)),
    (
        {"a": [3, 30, 35, 8], "b": [25, 6, 36, 19], "c": [40, 24, 37, 13]},
        (200938, 642078, 481989, 481989, 481989, 318681, 200938, 209302),
    ),
    ({"a": [3, 15, 19, 6], "b": [15, 7, 25, 18]}, (80143, 808547, 222426, 121212, 121212, 222426, 80143, 103756)),
)
#: A part, what it is of, and the interval that statsmodels (`proportion_confint`, wilson) finds, rounded outwards.
WILSON = (
    (0, 10, (0, 277_533)),
    (5, 10, (236_593, 763_407)),
    (10, 10, (722_467, MICRO)),
    (81, 263, (255_288, 366_210)),
    (15, 148, (62_386, 160_488)),
    (1, 29, (6_113, 171_756)),
    (999, 1_000, (994_357, 999_824)),
)
#: Two shares and statsmodels' `confint_proportions_2indep` (newcomb); ours may lie two millionths further out.
NEWCOMBE = (
    ((56, 70), (48, 80), (52_431, 333_873)),
    ((9, 10), (3, 10), (170_522, 809_018)),
    ((10, 10), (0, 20), (679_086, MICRO)),
)
counted = st.builds(Counts, *[st.integers(0, 50)] * 4)
grouped = st.dictionaries(st.sampled_from("abcd"), counted, min_size=2)


@pytest.mark.spec("ILL-06", "COL-10")
@pytest.mark.parametrize(("groups", "expected"), FAIRLEARN)
def test_differences_between_groups_are_fairlearns(groups: dict[str, list[int]], expected: tuple[int, ...]) -> None:
    """Every measure has the value that fairlearn gives it for the same counts."""
    counts = {name: Counts(*numbers) for name, numbers in groups.items()}
    assert expected == tuple(getattr(fairness, name)(counts).ppm for name in NAMES)


@pytest.mark.spec("ILL-06")
@pytest.mark.parametrize(("part", "of", "expected"), WILSON)
def test_intervals_are_wilsons(part: int, of: int, expected: tuple[int, int]) -> None:
    """A share's interval is the one that statistics packages compute, rounded outwards."""
    assert expected == wilson(part, of)


@pytest.mark.spec("ILL-06")
@pytest.mark.parametrize(("more", "less", "expected"), NEWCOMBE)
def test_intervals_of_differences_are_newcombes(
    more: tuple[int, int], less: tuple[int, int], expected: tuple[int, int]
) -> None:
    """A difference's interval holds that of statistics packages, and is at most two millionths wider on a side."""
    low, high = difference(more, less)
    assert 0 <= expected[0] - low <= 2
    assert 0 <= high - expected[1] <= 2


@pytest.mark.spec("ILL-06")
@given(st.integers(1, 5_000), st.data())
def test_a_share_lies_in_its_interval(of: int, data: st.DataObject) -> None:
    """The interval holds the share, narrows with more examples, and a share below a threshold never reads as at it."""
    part = data.draw(st.integers(0, of))
    low, high = wilson(part, of)
    bounds = [0, low, ppm(part, of), high, MICRO]
    assert sorted(bounds) == bounds
    more_low, more_high = wilson(part * 4, of * 4)
    assert more_high - more_low <= high - low + 2
    assert wilson(part * 4, of * 4, independent=of) == (low, high)
    assert (part * MICRO < of * 250_000) == (ppm(part, of) < 250_000)


@pytest.mark.spec("ILL-06", "COL-10")
@given(grouped)
def test_differences_know_no_order_and_no_names(groups: dict[str, Counts]) -> None:
    """The order of groups changes nothing, their names nothing but the names told, and groups alike are no apart."""
    for name in NAMES:
        measure = getattr(fairness, name)
        gap, turned = measure(groups), measure(dict(reversed(groups.items())))
        assert gap == turned
        renamed = measure({f"group {key}": counts for key, counts in groups.items()})
        assert (gap is None) == (renamed is None)
        if gap is not None and renamed is not None:
            assert (gap.ppm, gap.interval, gap.examples) == (renamed.ppm, renamed.interval, renamed.examples)
            assert gap.interval[0] <= gap.ppm <= gap.interval[1]
        alike = measure(dict.fromkeys("ab", next(iter(groups.values()))))
        assert alike is None or alike.ppm == (MICRO if name.endswith("ratio") else 0)


@pytest.mark.spec("COL-10")
def test_what_rests_on_too_little_was_not_measured() -> None:
    """One group, groups with too few examples, and groups nobody of which could be selected say nothing."""
    few, many = Counts(1, 1, 1, 1), Counts(10, 10, 10, 10)
    assert None is fairness.demographic_parity_difference({"a": many})
    assert None is fairness.demographic_parity_difference({"a": many, "b": few}, fewest=20)
    assert None is fairness.equalized_odds_difference({"a": Counts(true_positive=9), "b": Counts(true_positive=9)})
    assert None is fairness.demographic_parity_ratio({"a": Counts(true_negative=9), "b": Counts(true_negative=9)})


@pytest.mark.spec("COL-10")
def test_a_preference_is_how_far_a_share_is_from_half() -> None:
    """No preference may still be one by its interval; preferring always is all of it."""
    assert (0, (0, 192_338)) == lopsided(50, 100)
    share, (low, high) = lopsided(100, 100)
    assert (MICRO, MICRO) == (share, high)
    assert 920_000 < low < MICRO
    assert lopsided(20, 100) == lopsided(80, 100)
