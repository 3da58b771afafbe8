"""The smallest recipe: a straight line through pairs of numbers, in plain Python; what one's own recipe looks like.

Each record's text is `x y`, two numbers. A step takes a batch of them in the order of an epoch's shuffle, drawn
from the seed, and moves slope and height against the gradient.
"""

from __future__ import annotations

import json

import numpy as np
from safetensors.numpy import load, save

from organs.trainer.points import batch_at, curve_of, pairs_of
from organs.trainer.recipes import Given, Left, Teller
from shared.checkpoints import note_of
from shared.errors import Refusal
from shared.files import write_private
from shared.subjects.training import JobSpec
from shared.training.jobs import BATCH, KEEP_EVERY, LEARNING_RATE, PPM

WEIGHTS = "weights.safetensors"
_NOTE = "line"


class LineRecipe:
    """Trains the family `line` on datasets of pairs."""

    family = "line"
    name = "line_recipe 1.0.0"
    kinds = ("pairs",)
    backends = ("torch",)
    sources = ("organs/trainer/line_recipe.py", "organs/trainer/points.py", "organs/trainer/records.py")

    def check(self, spec: JobSpec) -> Refusal | None:
        """Refuse T003 what it has no use for."""
        odd = set(spec.hyperparameters) - {LEARNING_RATE, BATCH, KEEP_EVERY}
        if odd or spec.base:
            return Refusal("T003", f"{self.name} takes {LEARNING_RATE}, {BATCH} and no base; found {sorted(odd)}")
        return None

    def run(self, given: Given, tell: Teller) -> Left:
        """Train, from the beginning or from a checkpoint."""
        spec = given.spec
        pairs = pairs_of(given.data, spec)
        rate = spec.hyperparameters.get(LEARNING_RATE, PPM // 100) / PPM
        size = spec.hyperparameters.get(BATCH, 8)
        slope, height, first, losses = _begun(given.begun)
        for step in range(first, spec.steps):
            chosen = batch_at(pairs, step, size, spec.seed).astype(float).tolist()
            errors = [slope * x + height - y for x, y in chosen]
            slope -= rate * 2 * sum(error * x for error, (x, _) in zip(errors, chosen, strict=True)) / len(chosen)
            height -= rate * 2 * sum(errors) / len(chosen)
            losses.append(sum(error * error for error in errors) / len(chosen))
            tell.stepped(step + 1, losses[-1], len(chosen))
            if tell.due(step + 1):
                tell.keep(step + 1, _checkpoint(slope, height, step + 1, losses))
        write_private(given.out / WEIGHTS, _checkpoint(slope, height, spec.steps, losses))
        return Left(WEIGHTS, WEIGHTS, "application/octet-stream", curve_of(losses), 2, {"pairs": len(pairs)})


def _checkpoint(slope: float, height: float, step: int, losses: list[float]) -> bytes:
    return save({"line": np.array([slope, height])}, {_NOTE: json.dumps({"step": step, "losses": losses})})


def _begun(raw: bytes | None) -> tuple[float, float, int, list[float]]:
    if raw is None:
        return 0.0, 0.0, 0, []
    note = json.loads(note_of(raw, _NOTE))
    slope, height = (float(number) for number in load(raw)["line"])
    return slope, height, int(note["step"]), list(note["losses"])


RECIPE = LineRecipe()
