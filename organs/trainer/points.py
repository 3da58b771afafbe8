"""Pairs of numbers out of records, in batches that depend on the seed and the step alone; and the curve of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from organs.trainer.records import texts
from shared.errors import Refusal, Refused
from shared.subjects.training import JobSpec
from shared.training.jobs import PPM

POINTS = 40  #: of a recorded curve
Pairs = NDArray[np.float32]


def pairs_of(data: Path, spec: JobSpec) -> Pairs:
    """Return every pair as (pairs, 2). Refused T006 for a text that is none."""
    found: list[tuple[float, float]] = []
    for text in texts(data, spec):
        try:
            x, y = map(float, text.split())
        except ValueError:
            raise Refused(Refusal("T006", f"found {text[:80]!r} for a pair, expected two numbers")) from None
        found.append((x, y))
    return np.array(found, np.float32)


def batch_at(pairs: Pairs, step: int, size: int, seed: int) -> Pairs:
    """Return the pairs of one step: an epoch is one shuffle of all of them."""
    epoch, place = divmod(step, max(len(pairs) // size, 1))
    order = np.random.default_rng([seed, epoch]).permutation(len(pairs))
    return pairs[order[place * size : (place + 1) * size]]


def curve_of(losses: Sequence[float]) -> tuple[tuple[int, int], ...]:
    """Return the mean loss of each stretch of steps in millionths, with the step at its end."""
    every = max(len(losses) // POINTS, 1)
    stretches = [losses[start : start + every] for start in range(0, len(losses), every)]
    ends = [min((place + 1) * every, len(losses)) for place in range(len(stretches))]
    return tuple((end, round(math.fsum(part) / len(part) * PPM)) for end, part in zip(ends, stretches, strict=True))
