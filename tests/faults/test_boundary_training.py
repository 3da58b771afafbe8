"""A training that is killed costs time and nothing else: what it leaves in the end is the same, byte for byte."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared.boundary.training.descent import CHECKPOINT, Point
from shared.canonical import canonical
from shared.errors import ConfigFault
from tests.boundaries import STEPS, left, small_training

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(__file__).with_name("boundary_training_program.py")


@pytest.mark.spec("NIM-14", "X-07")
def test_a_killed_training_ends_as_one_that_was_not(tmp_path: Path) -> None:
    """Killed with -9 between two checkpoints and begun again, it goes on from the last and leaves identical files."""
    whole = small_training(tmp_path / "whole")
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), str(tmp_path / "killed"), "16"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert ["4", "8", "12", "16"] == [process.stdout.readline().strip() for _ in range(4)]
    process.kill()
    process.communicate()
    assert [CHECKPOINT, "trails.jsonl"] == sorted(left(tmp_path / "killed"))
    seen: list[Point] = []
    resumed = small_training(tmp_path / "killed", seen.append)
    assert [16, 20, STEPS] == [point.step for point in seen], "it went on from the checkpoint after step 15"
    assert canonical(whole) == canonical(resumed)
    assert left(tmp_path / "whole") == left(tmp_path / "killed")


@pytest.mark.spec("NIM-14")
def test_another_plan_is_not_gone_on_with(tmp_path: Path) -> None:
    """A folder that holds the beginning of one training refuses another, and stays as it is."""

    class Enough(Exception):
        """As if interrupted."""

    def tell(point: Point) -> None:
        if point.step == 8:
            raise Enough

    with pytest.raises(Enough):
        small_training(tmp_path, tell)
    before = left(tmp_path)
    with pytest.raises(ConfigFault, match="another plan"):
        small_training(tmp_path, seed=6)
    assert before == left(tmp_path)
