"""Trails as tensors: prompts have one length, so nothing is padded but the ends of the calls."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from shared.boundary.task import Task, write_call
from shared.boundary.tokens import BOS, EOS, PAD, Vocabulary
from shared.boundary.training.network import Network
from shared.boundary.training.trails import Trail
from shared.errors import ConfigFault

MEASURED = 500  #: trails per forward pass of a measurement
MICRO = 1_000_000


class Batches:
    """Encoded trails, from which each step takes its own few: an epoch is one shuffle of all of them."""

    def __init__(self, task: Task, trails: Sequence[Trail], size: int, seed: int) -> None:
        if len(trails) < size:
            raise ConfigFault(f"{len(trails)} trails to learn from, a batch takes {size}; give more")
        words = Vocabulary(task)
        self.prompts = prompts(task, words, trails)
        self.calls = calls(words, trails)
        self.size, self.seed = size, seed

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        """Return the prompts and calls of one step."""
        per_epoch = len(self.prompts) // self.size
        epoch, place = divmod(step, per_epoch)
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.prompts))
        chosen = torch.tensor(order[place * self.size : (place + 1) * self.size])
        return self.prompts[chosen], self.calls[chosen]


def prompts(task: Task, words: Vocabulary, trails: Sequence[Trail]) -> Tensor:
    """Return the prompts as (trails, length)."""
    return torch.tensor([[BOS, *words.encode(task.prompt(trail.state))] for trail in trails])


def calls(words: Vocabulary, trails: Sequence[Trail]) -> Tensor:
    """Return the calls with their end marks as (trails, longest), filled up with padding."""
    encoded = [[*words.encode(write_call(trail.call)), EOS] for trail in trails]
    longest = max(len(tokens) for tokens in encoded)
    return torch.tensor([tokens + [PAD] * (longest - len(tokens)) for tokens in encoded])


def call_logits(network: Network, prompts: Tensor, calls: Tensor) -> Tensor:
    """Return the logits at the places where each token of the calls is foretold: (trails, longest, vocabulary)."""
    logits, _ = network(torch.cat([prompts, calls[:, :-1]], 1), None, prompts.shape[1] - 1)
    return logits


def imitation(network: Network, prompts: Tensor, calls: Tensor) -> Tensor:
    """Return the cross entropy of the calls, padding left out."""
    logits = call_logits(network, prompts, calls)
    return functional.cross_entropy(logits.flatten(0, 1), calls.flatten(), ignore_index=PAD)


@torch.no_grad()
def exact_ppm(network: Network, task: Task, trails: Sequence[Trail]) -> int:
    """Return how many of the calls the network would make exactly, chosen greedily, in millionths.

    If every token is foretold after the right ones before it, the greedy call is the right one; and only then.
    """
    words, right = Vocabulary(task), 0
    for start in range(0, len(trails), MEASURED):
        part = trails[start : start + MEASURED]
        wanted = calls(words, part)
        said = call_logits(network, prompts(task, words, part), wanted).argmax(-1)
        right += int(((said == wanted) | (wanted == PAD)).all(1).sum())
    return right * MICRO // max(len(trails), 1)
