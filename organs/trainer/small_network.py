"""One hidden layer, and how it is moved against its gradient: what the backends of the family `curve` have in common.

A backend says what the gradient is; the numbers lie here between the steps, so a checkpoint is the same on all of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from organs.trainer.points import Pairs, batch_at, curve_of, pairs_of
from organs.trainer.recipes import Given, Left, Teller
from shared.checkpoints import note_of
from shared.constant import constant
from shared.files import write_private
from shared.training.jobs import BATCH, LEARNING_RATE, PPM

HIDDEN_UNITS = constant(16, "units", "ZER-08")
SIZE = constant(32, "pairs", "ZER-08")  # of a batch
RATE_PPM = constant(50_000, "ppm", "ZER-08")
MOMENTUM = np.float32(0.9)
WEIGHTS = "weights.safetensors"
NAMES = ("in.weight", "in.bias", "out.weight", "out.bias")
_NOTE = "curve"

Numbers = dict[str, NDArray[np.float32]]
Gradient = Callable[[Numbers, Pairs], tuple[float, Numbers]]  #: loss and gradient of a batch


@dataclass(slots=True)
class Going:
    """Where a training is: its weights, where they are moving, and how it went so far."""

    weights: Numbers
    velocity: Numbers
    step: int = 0
    losses: list[float] = field(default_factory=list[float])

    @classmethod
    def begin(cls, width: int, seed: int) -> Going:
        """Return a new network; the same seed makes the same one."""
        chance = np.random.default_rng([seed, width])
        shapes = ((1, width), (width,), (width, 1), (1,))
        drawn = {
            name: chance.normal(0, 0.5, shape).astype(np.float32) for name, shape in zip(NAMES, shapes, strict=True)
        }
        return cls(drawn, {name: np.zeros_like(value) for name, value in drawn.items()})

    @classmethod
    def read(cls, raw: bytes) -> Going:
        """Return what a checkpoint holds. Refused T009 where it is another recipe's."""
        note, tensors = json.loads(note_of(raw, _NOTE)), load(raw)
        weights, velocity = ({name: tensors[f"{half}/{name}"] for name in NAMES} for half in ("weight", "velocity"))
        return cls(weights, velocity, note["step"], note["losses"])

    def checkpoint(self) -> bytes:
        """Return everything that the rest depends on, as one safetensors file."""
        tensors = {f"weight/{name}": value for name, value in self.weights.items()}
        tensors |= {f"velocity/{name}": value for name, value in self.velocity.items()}
        return save(tensors, {_NOTE: json.dumps({"step": self.step, "losses": self.losses})})

    def move(self, rate: np.float32, gradient: Numbers) -> None:
        """Take one step against a gradient, with momentum."""
        for name in NAMES:
            self.velocity[name] = (MOMENTUM * self.velocity[name] - rate * gradient[name]).astype(np.float32)
            self.weights[name] = self.weights[name] + self.velocity[name]


def descend(given: Given, tell: Teller, gradient: Gradient) -> Left:
    """Train replicas: every worker sees every batch, and all of them compute the same."""
    spec = given.spec
    pairs = pairs_of(given.data, spec)
    hyper = spec.hyperparameters
    going = Going.read(given.begun) if given.begun else Going.begin(hyper.get("width", HIDDEN_UNITS), spec.seed)
    size, rate = hyper.get(BATCH, SIZE), np.float32(hyper.get(LEARNING_RATE, RATE_PPM) / PPM)
    while going.step < spec.steps:
        batch = batch_at(pairs, going.step, size, spec.seed)
        loss, found = gradient(going.weights, batch)
        going.move(rate, found)
        going.losses.append(loss)
        going.step += 1
        tell.stepped(going.step, loss, len(batch))
        if tell.due(going.step):
            tell.keep(going.step, going.checkpoint())
    return leave(given, going, len(pairs))


def leave(given: Given, going: Going, count: int) -> Left:
    """Write what a training leaves: its weights, which are the model."""
    write_private(given.out / WEIGHTS, save(going.weights))
    size = sum(value.size for value in going.weights.values())
    media_type = "application/octet-stream"
    return Left(WEIGHTS, WEIGHTS, media_type, curve_of(going.losses), size, {"pairs": count})
