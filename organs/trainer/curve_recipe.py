"""A small network through points, on three backends: the same task for torch, tinygrad and hivemind.

Each record's text is `x y`. torch and tinygrad train replicas that all see every batch. hivemind's workers are peers:
each trains on its own share of the records, they find each other through a distributed hash table and average what they
learned, and how that goes depends on the network between them. So their run is never repeatable bit by bit; only the
weights that the peers have in common at its end are voted on.
"""

from __future__ import annotations

import importlib
from typing import Protocol

from organs.trainer.recipes import Given, Left, Teller
from shared.errors import Refusal
from shared.subjects.training import JobSpec
from shared.training.jobs import BATCH, EPOCHS, KEEP_EVERY, LEARNING_RATE

WIDTH = "width"
WIDEST = 1_024
_BACKENDS = {
    "torch": "organs.trainer.curve_torch",
    "tinygrad": "organs.trainer.curve_tinygrad",
    "hivemind": "organs.trainer.curve_hivemind",
}


_FILES = ("curve_recipe", "curve_torch", "curve_tinygrad", "curve_hivemind", "small_network", "points", "records")


class _Run(Protocol):
    def __call__(self, given: Given, tell: Teller) -> Left: ...


class CurveRecipe:
    """Trains the family `curve` on datasets of pairs."""

    family = "curve"
    name = "curve_recipe 1.0.0"
    kinds = ("pairs",)
    backends = tuple(_BACKENDS)
    sources = tuple(f"organs/trainer/{name}.py" for name in _FILES)

    def check(self, spec: JobSpec) -> Refusal | None:
        """Refuse T003 what no backend here has a use for."""
        known = (LEARNING_RATE, BATCH, EPOCHS, KEEP_EVERY, WIDTH)
        odd = sorted(set(spec.hyperparameters) - set(known))
        width = spec.hyperparameters.get(WIDTH, 1)
        if odd or spec.base or not 1 <= width <= WIDEST:
            return Refusal("T003", f"{self.name} takes {', '.join(known)} and no base; found {odd}, {WIDTH} {width}")
        return None

    def run(self, given: Given, tell: Teller) -> Left:
        """Train with the job's backend."""
        run: _Run = importlib.import_module(_BACKENDS[given.spec.backend]).run
        return run(given, tell)


RECIPE = CurveRecipe()
