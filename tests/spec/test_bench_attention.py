"""What `bench attention` says of its figures: every bound, the load, and what came of no probe."""

from __future__ import annotations

import pytest

from deploy.bench.attention import WAIT_S, Attention, Prober, figure, table
from deploy.bench.load import LOAD_PER_S
from shared.bus import Bus
from shared.subjects.nervous import MathRequest
from shared.world import simulate
from tests.ground import SimGround

pytestmark = pytest.mark.spec("NIM-07")
QUICK = figure("tier 0: quick", [1.0] * 100, 10.0)


def test_a_verdict_names_what_did_not_hold() -> None:
    """All well is said so; a bound that one of a hundred missed, and a load that was not reached, are named."""
    assert [] == Attention((QUICK,), LOAD_PER_S, LOAD_PER_S).missed()
    slow = figure("tier 1: slow", [1.0] * 98 + [60.0] * 2, 50.0)
    found = Attention((QUICK, slow), LOAD_PER_S, 0.9 * LOAD_PER_S)
    assert ["the load: 900 of 1,000 waves/s were felt", "tier 1: slow"] == found.missed()
    assert "✗ did not hold: tier 1: slow" in table(found)
    assert "✓" not in table(found)


def test_a_probe_that_nothing_came_of_is_in_the_sample() -> None:
    """It counts with all the time it was waited for, and no tier that lost one holds, whatever its bound."""
    lossy = figure("tier 4: lossy", [1.0] * 199 + [1_000 * WAIT_S], 4_000.0)
    assert (200, 1, 1.0, False) == (lossy.probes, lossy.lost, lossy.p99_ms, lossy.held)
    assert not figure("no bound", [1_000 * WAIT_S], None).held


def test_a_refusal_is_no_answer() -> None:
    """A question that was refused at once counts with all the time that an answer would have been waited for."""

    async def main() -> None:
        ground = SimGround()
        prober = Prober(Bus(ground.world, await ground.wire("asker"), "asker", "1", []))
        assert 1_000 * WAIT_S == await prober.asked(MathRequest("6 * 7"))

    simulate(main)
