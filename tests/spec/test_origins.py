"""What stands behind the weights that a training goes on from: the datasets that taught them, or a refusal by name."""

from __future__ import annotations

from typing import Any

import pytest

from shared.errors import Refused
from shared.registry.origins import Origins
from shared.subjects.datasets import DatasetRegistered
from tests.promotions import DATASET, MODEL, OTHER, SECOND, run
from tests.trainings import facts

WEIGHTS, FOREIGN, MARKED, LOOP, BROKEN = "d" * 64, "5" * 64, "6" * 64, "7" * 64, "8" * 64


def registered(dataset: str, kind: str = "weights", **about: Any) -> DatasetRegistered:  # noqa: ANN401 - fields of facts
    """A dataset that somebody registered."""
    return DatasetRegistered(dataset, "0" * 64, 1, facts(kind, **about))


@pytest.fixture
def origins() -> Origins:
    """A run, a dataset, weights from elsewhere, and weights that were made from the run's by hand."""
    known = Origins()
    for said in (
        registered(DATASET, "posts"),
        run(),
        registered(FOREIGN),
        registered(MARKED, sources=[WEIGHTS]),
        registered(LOOP, sources=[LOOP, FOREIGN, DATASET]),
        registered(BROKEN, sources=[SECOND]),
    ):
        known.hear(said)
    return known


@pytest.mark.spec("ILL-01", "ILL-03", "COL-10")
@pytest.mark.parametrize(
    ("base", "behind"),
    [
        ("", []),
        (MODEL, [DATASET, OTHER]),
        (WEIGHTS, [DATASET, OTHER]),
        (FOREIGN, [FOREIGN]),
        (MARKED, [MARKED, DATASET, OTHER]),
        (LOOP, [LOOP, FOREIGN, DATASET]),
    ],
)
def test_a_base_brings_what_taught_it(origins: Origins, base: str, behind: list[str]) -> None:
    """What a run left stands for its datasets, registered weights for themselves and for what they were made from."""
    assert behind == origins.behind(base)


@pytest.mark.spec("ILL-01", "X-06")
@pytest.mark.parametrize(
    ("base", "said"),
    [(SECOND, "nothing that a recorded run left"), (DATASET, "posts"), (BROKEN, f"comes from {SECOND}")],
)
def test_a_base_that_the_log_does_not_know_is_refused(origins: Origins, base: str, said: str) -> None:
    """Bytes of unknown origin, a dataset that is no weights, weights made from something unknown: T013."""
    with pytest.raises(Refused) as no:
        origins.behind(base)
    assert "T013" == no.value.refusal.code
    assert said in no.value.refusal.detail


@pytest.mark.spec("ILL-01", "ILL-03")
def test_the_same_weights_by_two_runs_stand_for_both(origins: Origins) -> None:
    """Who went on from them is answerable for what either run learned from."""
    origins.hear(run(MODEL, "3" * 64, datasets=["4" * 64]))
    assert [DATASET, OTHER, "4" * 64] == origins.behind(MODEL)
