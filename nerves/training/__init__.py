"""The nerve that decides about training jobs: what is taken, where each stands, and what its workers agree on."""

from __future__ import annotations

from nerves.training.nerve import TrainingNerve as TrainingNerve
