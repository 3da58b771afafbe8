"""How a toxicity model is trained: labelled posts, whose text a corpus kept whatever its score, teach hashed words.

A record's label is `toxic` or `clean`. The corpus has to be taken in without a toxicity limit: what the scorer in
force would have dropped is just what teaches another. The loop is numpy's on one thread, so it needs no extra.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from organs.trainer.recipes import Given, Left, Teller
from organs.trainer.records import records
from shared.errors import Refusal, Refused
from shared.files import write_private
from shared.subjects.training import JobSpec
from shared.toxicity.training import BATCH_SIZE, Trained, Training, objection_to
from shared.training.jobs import KEEP_EVERY

MODEL = "toxicity.safetensors"
MEDIA_TYPE = "application/octet-stream"
LABELS = {"toxic": True, "clean": False}
POINTS = 40  #: of a recorded curve


class ToxicityRecipe:
    """Trains the family `toxicity` on datasets of labelled posts."""

    family = "toxicity"
    name = "toxicity_recipe 1.0.0"
    kinds = ("posts",)
    backends = ("torch",)
    sources = ("shared/toxicity", "organs/trainer/toxicity_recipe.py", "organs/trainer/records.py")

    def check(self, spec: JobSpec) -> Refusal | None:
        """Refuse T003 a base and what a training does not know, or holds in other bounds."""
        if spec.base:
            return Refusal("T003", f"{self.name} corrects the product's lexicon; leave the base empty")
        return objection_to(own(spec))

    def run(self, given: Given, tell: Teller) -> Left:
        """Train, from the beginning or from a checkpoint."""
        training = Training(posts(given.data, given.spec), own(given.spec), given.spec.seed)
        if given.begun is not None:
            training.resume(given.begun)
        size = min(given.spec.hyperparameters.get("batch", BATCH_SIZE), training.posts)
        for step in range(len(training.losses) + 1, given.spec.steps + 1):
            tell.stepped(step, training.step(), size)
            if tell.due(step):
                tell.keep(step, training.checkpoint())
        trained = training.finished()
        write_private(given.out / MODEL, trained.weights)
        return Left(MODEL, MODEL, MEDIA_TYPE, curve(trained.losses_micro), training.parameters, measured(trained))


def own(spec: JobSpec) -> dict[str, int]:
    """Return the hyperparameters that are the training's: all but how often the workers vote."""
    return {name: value for name, value in spec.hyperparameters.items() if name != KEEP_EVERY}


def posts(data: Path, spec: JobSpec) -> Iterator[tuple[str, bool]]:
    """Yield every post of a job with whether it is toxic. Refused T006 where one has no label, or no text."""
    for record in records(data, spec):
        label, text = record.get("label"), record.get("text")
        if label not in LABELS or not isinstance(text, str):
            found = f"found label {str(label)[:40]!r} and {'a' if isinstance(text, str) else 'no'} text"
            raise Refused(
                Refusal("T006", f"record {str(record.get('id'))[:80]!r}: {found}; expected toxic or clean, and a text")
            )
        yield text, LABELS[label]


def curve(losses: list[int]) -> tuple[tuple[int, int], ...]:
    """Return the mean loss of each stretch of steps with the step at its end."""
    every = max(len(losses) // POINTS, 1)
    ends = [*range(every, len(losses), every), len(losses)]
    starts = [0, *ends[:-1]]
    return tuple((end, sum(losses[start:end]) // (end - start)) for start, end in zip(starts, ends, strict=True))


def measured(trained: Trained) -> dict[str, int]:
    """Return what the held-out posts say."""
    held_out = trained.held_out
    return {
        "auc_ppm": trained.auc_ppm,
        "clean": held_out.unwanted,
        "dropped_clean": held_out.false_positive,
        "dropped_toxic": held_out.true_positive,
        "toxic": held_out.wanted,
    }


RECIPE = ToxicityRecipe()
