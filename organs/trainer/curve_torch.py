"""The family `curve` by torch."""

from __future__ import annotations

from typing import Any

import torch

from organs.trainer.points import Pairs
from organs.trainer.recipes import Given, Left, Teller
from organs.trainer.small_network import NAMES, Numbers, descend


def run(given: Given, tell: Teller) -> Left:
    """Train on one thread, repeatably."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)  # noqa: FBT003 - torch's own signature
    return descend(given, tell, gradient)


def gradient(weights: Numbers, batch: Pairs) -> tuple[float, Numbers]:
    """Return the mean squared error of a batch, and its gradient."""
    own = {name: torch.tensor(weights[name], requires_grad=True) for name in NAMES}
    x, y = torch.tensor(batch[:, :1]), torch.tensor(batch[:, 1:])
    hidden = torch.tanh(x @ own["in.weight"] + own["in.bias"])
    loss: Any = (hidden @ own["out.weight"] + own["out.bias"] - y).square().mean()
    loss.backward()
    found: dict[str, Any] = {name: own[name].grad for name in NAMES}
    return loss.item(), {name: each.numpy() for name, each in found.items()}
