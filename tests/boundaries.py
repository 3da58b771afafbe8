"""Small trainings for the function boundary: the real network and the real loop, in a second instead of two minutes."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from blake3 import blake3

from shared.boundary.task import TASK
from shared.boundary.tokens import Vocabulary
from shared.boundary.training.descent import Tell, Watch
from shared.boundary.training.export import write_gguf
from shared.boundary.training.network import Network, Shape
from shared.boundary.training.plan import Plan, Record
from shared.boundary.training.trails import Trails, made_up
from shared.boundary.training.training import train
from shared.world import RealWorld

SMALL = Shape(len(Vocabulary(TASK)), width=32, inner=32, layers=1, heads=2, head=16)
STEPS = 24


@cache
def some_trails() -> Trails:
    """A few hundred decisions of the rules."""
    return made_up(TASK, 400, seed=3)


def small_plan(trails: Trails, **changed: Any) -> Plan:  # noqa: ANN401 - fields of a plan
    """A plan that takes about a second."""
    fields: dict[str, Any] = {
        "stage": "learn",
        "task": TASK.digest,
        "data": trails.digest,
        "shape": SMALL,
        "seed": 5,
        "steps": STEPS,
        "batch": 8,
        "peak_ppm": 20_000,
        "warm_up": 5,
    }
    return Plan(**fields | changed)


def small_training(folder: Path, tell: Tell = lambda _: None, base: bytes = b"", **changed: Any) -> Record:  # noqa: ANN401
    """Carry out a small plan in a folder."""
    plan = small_plan(some_trails(), base=blake3(base).hexdigest() if base else "", **changed)
    watch = Watch(folder, tell, RealWorld("dev"), every=4, keep_every=5)
    return train(plan, TASK, some_trails(), base, watch)


def untrained(folder: Path, seed: int = 1) -> bytes:
    """The GGUF file of a network that has learned nothing."""
    path = folder / f"untrained_{seed}.gguf"
    write_gguf(Network(SMALL, seed), TASK, "", path)
    return path.read_bytes()


def left(folder: Path) -> dict[str, bytes]:
    """Everything that a training left."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}
