"""The family `curve` by tinygrad, which compiles each kernel with the C compiler of its environment."""

from __future__ import annotations

import importlib
from typing import Any

from organs.trainer.points import Pairs
from organs.trainer.recipes import Given, Left, Teller
from organs.trainer.small_network import NAMES, Numbers, descend


def run(given: Given, tell: Teller) -> Left:
    """Train."""
    tensor: Any = importlib.import_module("tinygrad").Tensor  # it lies in an environment of its own

    def gradient(weights: Numbers, batch: Pairs) -> tuple[float, Numbers]:
        own = {name: tensor(weights[name]) for name in NAMES}
        x, y = tensor(batch[:, :1].copy()), tensor(batch[:, 1:].copy())
        hidden = (x @ own["in.weight"] + own["in.bias"]).tanh()
        loss = (hidden @ own["out.weight"] + own["out.bias"] - y).square().mean()
        found = loss.gradient(*own.values())
        return loss.item(), {name: each.numpy() for name, each in zip(NAMES, found, strict=True)}

    return descend(given, tell, gradient)
