"""`bench bus`: every claim is measured beside what it names, in one run; what is not installed is said."""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import asdict

import pytest

from deploy.bench import bus as bench_bus
from deploy.bench.bus import Claim, explained, measure_bus, table
from deploy.bench.rivals import faststream
from shared.world import RealWorld

CLAIMS = {
    "pipelined append",
    "durable typed handler",
    "durable typed handler, strictly one at a time",
    "replay",
    "request and reply",
    "start to first acknowledged append",
    "making sealed blocks of 100",
    "checking sealed blocks of 100",
    "verified replay, bytes to typed events",
}
FASTSTREAM = "FastStream's pull subscriber"


@pytest.mark.spec("X-07")
def test_every_claim_is_measured_beside_its_rival() -> None:
    """A tiny run has a figure for each claim, its ratio is of the two figures shown, and a claim is met or is not."""
    claims = asyncio.run(measure_bus(RealWorld("dev"), 100))
    assert CLAIMS == {claim.claim for claim in claims}
    for claim in claims:
        assert claim.ours > 0
        assert claim.items > 0
        if claim.met is None:
            assert (FASTSTREAM, None, None, None) == (claim.beside, claim.theirs, claim.figure, faststream())
            assert "not installed" in claim.why
        elif claim.theirs is None:
            assert ("", claim.ours) == (claim.beside, claim.figure)
        else:
            assert claim.figure is not None
            ratio = claim.theirs / claim.ours
            assert math.isclose(claim.figure, 1 / ratio if claim.unit == "µs p50" else ratio)
        assert claim.claim in table(claims)
        assert claim.met is not True or not claim.profile
    told = [asdict(claim) for claim in claims]
    assert told == json.loads(json.dumps(told))


@pytest.mark.spec("X-07")
def test_a_miss_is_laid_out_by_function() -> None:
    """What misses its target is run once more, and the table says in which functions its time goes."""

    async def way() -> None:
        runs.append(sum(_busy(number) for number in range(1_000)))

    runs = list[int]()
    missed, met = (Claim.within("replay", 1_000, "ms", figure, 5.0) for figure in (9.0, 1.0))
    [told] = asyncio.run(explained(way, missed))
    longest = next(one for one in told.profile if one.function.endswith("test_bench_bus.py:_busy"))
    assert (1.0, 1) == (longest.per_item, len(runs))
    assert longest.percent > 50
    assert "test_bench_bus.py:_busy" in table([told])
    assert [met] == asyncio.run(explained(way, met))
    assert 1 == len(runs)


def _busy(number: int) -> int:
    while number % 1_000:
        number += 1
    return number


@pytest.mark.spec("X-07")
def test_a_rival_that_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without FastStream its claim is not measured, and the line says what installs it; a miss says its reason."""
    claim = Claim.less("replay", 10, FASTSTREAM, (1.0,), 20)
    assert (None, None) == (claim.met, claim.figure)
    assert "not measured (not installed: pip install 'nimmerverse[bench]')" in table([claim])
    missed = Claim.less("replay", 10, "nats-py", (1.0, 2.0), 5)
    assert (False, bench_bus.WHY["replay"]) == (missed.met, missed.why)
    assert ("", True) == ((met := Claim.less("replay", 10, "nats-py", (1.0, 5.0), 5)).why, met.met)
    monkeypatch.setattr("deploy.bench.rivals.import_module", _missing)
    assert faststream() is None


def _missing(name: str) -> None:
    raise ImportError(name)
