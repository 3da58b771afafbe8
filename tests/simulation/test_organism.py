"""The whole organism under virtual time: the same seed gives the same log, and the invariants bite."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import wraps
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cells.math_cell import MathCell
from deploy.simulation import BrokenInvariant, Trouble, run
from nerves.overload import nerve as overload
from shared.bus.ledger import Ledger
from shared.envelope import Prefix, Verdict, admission
from shared.part.mind import Mind
from shared.subjects.nervous import MathRequest

ROOT = Path(__file__).resolve().parent.parent.parent
STORM = "drop=0.1,duplicate=0.1,delay=1,lose_ack=0.1,lose_append=0.1,crash=10,cut=3,skew=10"


def simulated(seed: int, hash_seed: str) -> dict[str, object]:
    """What `nimmerverse sim --json` prints in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "deploy",
        "sim",
        "--seed",
        str(seed),
        "--minutes",
        "2",
        "--faults",
        STORM,
        "--json",
    ]
    environ = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=True)
    said: dict[str, object] = json.loads(done.stdout)
    return said


@pytest.mark.spec("X-08")
def test_the_same_seed_gives_the_same_log() -> None:
    """Two processes with different hash seeds print the same digest for one seed, and another for another."""
    first, again, other = simulated(7, "1"), simulated(7, "2"), simulated(8, "1")
    assert first == again
    assert {"digest", "events", "seed"} <= first.keys()
    assert first["digest"] != other["digest"]


@pytest.mark.spec("X-07", "X-08")
@pytest.mark.parametrize("seed", range(30))
def test_invariants_hold_in_a_storm(seed: int) -> None:
    """With drops, duplicates, lost appends, reordering, crashes, cuts and skewed clocks every invariant holds."""
    outcome = run(seed, 2, Trouble.parse(STORM))
    assert outcome.crashes > 0
    assert outcome.answered > 0


@pytest.mark.spec("X-08")
def test_calm_weather_loses_no_answer() -> None:
    """Without faults every question is answered, but for one the end may interrupt, and decisions are made."""
    outcome = run(1, 3)
    assert outcome.asked - outcome.answered <= 1
    assert outcome.decided > 5


@pytest.mark.spec("X-08")
def test_a_planted_clock_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that looks at the machine's clock ends the simulation with the line that reproduces it."""
    answer = MathCell.on_request

    @wraps(answer)
    def clocked(self: MathCell, request: MathRequest) -> Iterator[object]:
        time.time()
        return answer(self, request)

    monkeypatch.setattr(MathCell, "on_request", clocked)
    with pytest.raises(BrokenInvariant, match="ask the World") as broken:
        run(3, 1)
    assert "reproduce with: nimmerverse sim --seed 3 --minutes 1" in str(broken.value)


@pytest.mark.spec("X-07")
def test_an_event_in_effect_twice_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where admission forgets repeats and writers append again what stands there, the judge sees the second effect."""
    monkeypatch.setattr(admission, "_unrepeated", lambda _prefix, _sealed, events, _entry: (None,) * len(events))
    monkeypatch.setattr(Ledger, "_missing", lambda _self, _lane, blocks: blocks)

    async def forgets(*_: object) -> None:
        return None

    monkeypatch.setattr(Mind, "_done_before", forgets)
    with pytest.raises(BrokenInvariant, match="took effect"):
        run(2, 10, Trouble.parse("lose_ack=0.5"))


@pytest.mark.spec("X-07")
def test_a_chain_that_is_not_kept_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that folds without moving the lane's end cannot append again, and the simulation says so."""
    fold = Prefix.fold

    def stuck(self: Prefix, verdict: Verdict) -> None:
        fold(self, verdict)
        for lane in self.lanes.values():
            lane.last = -1

    monkeypatch.setattr(Prefix, "fold", stuck)
    with pytest.raises(BrokenInvariant):
        run(1, 1)


@pytest.mark.spec("X-02")
def test_a_decision_not_made_from_its_evidence_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A nerve that reads anything but its arguments does not come out again from the evidence in the log."""
    assessed, calls = overload.assessed, count()

    def drifting(*given: Any) -> Any:  # noqa: ANN401 - it stands in for the nerve's own
        return msgspec.structs.replace(assessed(*given), disk_ppm=next(calls))

    monkeypatch.setattr(overload, "assessed", drifting)
    with pytest.raises(BrokenInvariant, match="differs when run again"):
        run(1, 3)


@pytest.mark.spec("X-02")
def test_a_state_that_is_not_the_fold_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mind that evolves on something the log does not say holds another state than its fold, and that is seen."""
    monkeypatch.setattr(Mind, "state", lambda _self, _entity: overload.LoadState("STRAINED"))
    with pytest.raises(BrokenInvariant):
        run(1, 3)
