"""A small training in a process of its own, to be killed: prints each point, and waits at the step named to it."""

from __future__ import annotations

import sys
from pathlib import Path

from shared.boundary.training.descent import Point
from tests.boundaries import small_training

folder, last = Path(sys.argv[1]), int(sys.argv[2])


def tell(point: Point) -> None:
    """Say how far it is; at the last step to be reached, wait to be killed."""
    print(point.step, flush=True)  # noqa: T201 - its parent listens
    if point.step >= last:
        sys.stdin.read()


small_training(folder, tell)
