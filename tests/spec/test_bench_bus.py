"""`bench bus`: every claim is measured beside what it names, in one run; what is not installed is said."""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import asdict, replace

import pytest

from deploy.bench.bus import measure_bus
from deploy.bench.claims import Claim, explained, table
from deploy.bench.rivals import faststream
from shared.world import RealWorld

CLAIMS = {
    "wire: pipelined append",
    "wire: durable typed handler",
    "wire: durable typed handler, one at a time",
    "wire: replay",
    "wire: request and reply",
    "start to first acknowledged append",
    "making sealed blocks of 100",
    "checking sealed blocks of 100",
    "verified replay, bytes to typed events",
}
SHOWN = {
    "bus: pipelined append, signed, read back",
    "bus: consume single entries, one at a time",
    "bus: consume blocks of 100, one at a time",
    "bus: replay of single entries",
    "bus: replay of blocks of 100",
}
FASTSTREAM = "FastStream's pull subscriber"


@pytest.mark.spec("X-07")
def test_every_claim_is_measured_beside_its_rival() -> None:
    """A tiny run has a figure for each claim, its ratio is of the two figures shown, and a claim is met or is not.

    What the bus itself costs stands beside what the wire does, and has no target.
    """
    claims = asyncio.run(measure_bus(RealWorld("dev"), 100))
    assert CLAIMS | SHOWN == {claim.claim for claim in claims}
    assert {claim.claim for claim in claims if not claim.target} == SHOWN
    for claim in claims:
        assert claim.ours > 0
        assert claim.items > 0
        if claim.met is None and claim.target:
            assert (FASTSTREAM, None, None, None) == (claim.beside, claim.theirs, claim.figure, faststream())
        elif claim.theirs is None:
            assert ("", claim.ours) == (claim.beside, claim.figure)
        else:
            assert claim.figure is not None
            ratio = claim.theirs / claim.ours
            assert math.isclose(claim.figure, 1 / ratio if claim.unit == "µs p50" else ratio)
        assert claim.claim in table(claims)
        assert bool(claim.profile) is (claim.met is False and "CPU" in claim.unit)
    told = [asdict(claim) for claim in claims]
    assert told == json.loads(json.dumps(told))


@pytest.mark.spec("X-07")
def test_a_miss_is_laid_out_by_function() -> None:
    """A way of which any claim is missed is run once more: the table says once in which functions its time goes."""

    async def way() -> None:
        runs.append(sum(_busy(number) for number in range(1_000)))

    runs = list[int]()
    met, *missed = (Claim.within(f"replay {n}", 1_000, "ms", n, 5.0) for n in (1.0, 8.0, 9.0))
    told = asyncio.run(explained(way, met, *missed))
    assert [met, replace(missed[0], profile=told[1].profile), replace(missed[1], profile=told[1].profile)] == told
    longest = next(one for one in told[1].profile if one.function.endswith("test_bench_bus.py:_busy"))
    assert (1.0, 1) == (longest.per_item, len(runs))
    assert longest.percent > 50
    assert "\nreplay 8.0 misses ≤ 5.0 ms\nreplay 9.0 misses ≤ 5.0 ms\n" in table(told)
    assert 1 == table(told).count("test_bench_bus.py:_busy")
    assert [met] == asyncio.run(explained(way, met))
    assert 1 == len(runs)


def _busy(number: int) -> int:
    while number % 1_000:
        number += 1
    return number


@pytest.mark.spec("X-07")
def test_a_rival_that_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without FastStream its claim is not measured, and the line says what installs it; it is no miss."""
    claim = Claim.less("replay", 10, FASTSTREAM, (1.0,), 20)
    assert (None, None) == (claim.met, claim.figure)
    assert "≥ 20 × less: not measured (not installed: pip install 'nimmerverse[bench]')" in table([claim])
    verdicts = [Claim.less("replay", 10, "nats-py", (1.0, theirs), 5).verdict for theirs in (2.0, 5.0)]
    assert ["≥ 5 × less: missed", "≥ 5 × less: met"] == verdicts
    assert "none" == Claim.less("replay", 10, "nats-py", (1.0, 2.0), None).verdict
    monkeypatch.setattr("deploy.bench.rivals.import_module", _missing)
    assert faststream() is None


def _missing(name: str) -> None:
    raise ImportError(name)
