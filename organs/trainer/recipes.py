"""What can be trained: a recipe says what it accepts, and what one worker process runs.

A recipe knows neither votes nor power nor who asked. It computes a run step by step, from a seed and the data in its
folder alone, and tells its worker after each step; now and then it hands over everything that the rest of the run
depends on as one checkpoint. Given such a checkpoint again it goes on to exactly the bytes that it would have left
without the interruption.

The data folder holds `{dataset}.jsonl` for every dataset of the job: one record a line, canonical JSON, in the order
of the dataset (id, lang, created_at, author, text or sealed text, label if any). Where the job goes on from a model,
that lies there as `base.safetensors`.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from shared.errors import Refusal, Refused
from shared.subjects.training import JobSpec

BASE = "base.safetensors"
#: Family to the module that holds its RECIPE. They are imported when asked for: most need an extra.
RECIPES = {
    "boundary": "organs.trainer.boundary_recipe",
    "line": "organs.trainer.line_recipe",
    "curve": "organs.trainer.curve_recipe",
    "toxicity": "organs.trainer.toxicity_recipe",
}


class Stopped(Exception):
    """The worker was told to stop, and what it has is kept: let it pass."""


class Teller(Protocol):
    """What a recipe tells its worker."""

    def stepped(self, step: int, loss: float, samples: int) -> None:
        """Say that a step is done, with its loss and how many samples it took; waits here where power is short."""
        ...

    def due(self, step: int) -> bool:
        """Say whether a checkpoint is to be handed over after this step: by the step alone, so all workers agree."""
        ...

    def keep(self, step: int, checkpoint: bytes) -> None:
        """Hand over a checkpoint: one safetensors file, the same bytes in every replica. Raises Stopped."""
        ...


@dataclass(frozen=True, slots=True)
class Given:
    """What one worker begins with."""

    spec: JobSpec
    data: Path
    out: Path  #: empty, and this worker's own
    rank: int
    world_size: int
    begun: bytes | None  #: the last checkpoint that was agreed on, verified; None at the beginning


class Left(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a run leaves, as files in its folder; the same in every replica."""

    weights: str  #: a safetensors file
    model: str  #: what is evaluated and promoted; may be the same file
    media_type: str  #: of the model
    curve: tuple[tuple[int, int], ...]  #: step, mean loss since the point before, in millionths
    parameters: int
    measured: dict[str, int]  #: on what was held out: shares in millionths, and counts


class Recipe(Protocol):
    """One way to train one family of models."""

    @property
    def family(self) -> str: ...

    @property
    def name(self) -> str:
        """Name and version, as a job's spec gives it: `boundary_recipe 1.0.0`."""
        ...

    @property
    def kinds(self) -> tuple[str, ...]:
        """Of the datasets that it learns from."""
        ...

    @property
    def backends(self) -> tuple[str, ...]:
        """What computes it."""
        ...

    @property
    def sources(self) -> tuple[str, ...]:
        """Files and folders, from where the packages lie, whose digests are this recipe's code."""
        ...

    def check(self, spec: JobSpec) -> Refusal | None:
        """Return what is wrong with a job's hyperparameters (T003) or backend (T002), None where nothing is. Pure."""
        ...

    def run(self, given: Given, tell: Teller) -> Left:
        """Train; the only method that needs the extra `train`. Called in a worker process, on one thread."""
        ...


def recipe_of(family: str) -> Recipe:
    """Return the recipe of a family; Refused T004."""
    if family not in RECIPES:
        raise Refused(Refusal("T004", f"found {family[:80]!r}, expected one of {', '.join(RECIPES)}"))
    recipe: Recipe = importlib.import_module(RECIPES[family]).RECIPE
    return recipe
