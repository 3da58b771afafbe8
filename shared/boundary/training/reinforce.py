"""Learning from reward alone: groups of sampled calls, each judged against its group (GRPO).

What a call is worth is known without knowing how it should have been made. Where no sample of a group earns more than
another the group teaches nothing, so the network must sometimes find the reward by itself before this can work.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from shared.boundary.task import Task
from shared.boundary.tokens import EOS, PAD, Vocabulary
from shared.boundary.training.batches import call_logits, prompts
from shared.boundary.training.descent import Earned, Lesson
from shared.boundary.training.network import Network
from shared.boundary.training.plan import Plan
from shared.boundary.training.trails import Trail
from shared.constant import constant

EXACT = constant(1.0, "reward", "NIM-14")
RIGHT_FUNCTION = constant(0.3, "reward", "NIM-14")
NO_CALL = constant(-1.0, "reward", "NIM-14")
LONGEST = constant(12, "tokens", "NIM-14")  # of a sampled call, end mark included
EVEN = 1e-4  #: keeps a group whose samples earn the same from dividing by nothing
MICRO = 1_000_000


class Reinforcement:
    """The loss of one step: fresh samples, their advantages in their groups, and the price of leaving the base."""

    def __init__(self, plan: Plan, task: Task, network: Network, trails: Sequence[Trail]) -> None:
        self.plan, self.task, self.network, self.trails = plan, task, network, trails
        self.words = Vocabulary(task)
        self.base = copy.deepcopy(network).requires_grad_(requires_grad=False)

    def lesson_at(self, step: int) -> Lesson:
        """Sample, judge, and return the loss with what was earned; the same step draws the same."""
        chance = torch.Generator().manual_seed(self.plan.seed * MICRO + step)
        chosen: list[int] = _plain(torch.randint(len(self.trails), (self.plan.batch,), generator=chance))
        asked = [self.trails[place] for place in chosen for _ in range(self.plan.group)]
        given = prompts(self.task, self.words, asked)
        said = sample(self.network, given, self.plan.temperature_ppm / MICRO, chance)
        texts = [self.words.decode(tokens) for tokens in _plain(said)]
        worth = torch.tensor([reward(self.task, text, trail) for text, trail in zip(texts, asked, strict=True)])
        groups = worth.view(-1, self.plan.group)
        earned = Earned(worth.mean().item(), _share(worth == EXACT), _share(~alike(groups)))
        return Lesson(self._loss(given, said, advantages(groups).view(-1, 1)), earned)

    def _loss(self, given: Tensor, said: Tensor, advantage: Tensor) -> Tensor:
        spoken = (said != PAD).float()
        now = _likelihood(self.network, given, said)
        with torch.no_grad():
            before = _likelihood(self.base, given, said)
        apart = (before - now).exp() - (before - now) - 1  # an estimate of the divergence that is never negative
        gained = (now - now.detach()).exp() * advantage
        return -((gained - self.plan.drift_ppm / MICRO * apart) * spoken).sum() / spoken.sum()


def advantages(worth: Tensor) -> Tensor:
    """Return how much better than its group each sample is, in the group's own deviations: (groups, samples).

    Where all earned alike that is exactly nothing: a rounded mean would leave a trace, which the optimiser enlarges.
    """
    better = (worth - worth.mean(1, keepdim=True)) / (worth.std(1, keepdim=True) + EVEN)
    return better.masked_fill(alike(worth)[:, None], 0.0)


def alike(worth: Tensor) -> Tensor:
    """Say of each group whether all its samples earned the same: (groups)."""
    return worth.amax(1) == worth.amin(1)


def reward(task: Task, text: str, trail: Trail) -> float:
    """Return what a sampled text is worth, by the verdict of a trail."""
    try:
        call = task.read_call(text)
    except ValueError:
        return NO_CALL
    if call == trail.call:
        return EXACT
    return RIGHT_FUNCTION if call.function == trail.call.function else 0.0


@torch.no_grad()
def sample(network: Network, given: Tensor, temperature: float, chance: torch.Generator) -> Tensor:
    """Return sampled calls as (prompts, at most LONGEST), padding after each end mark."""
    logits, past = network(given, None, given.shape[1] - 1)
    said: list[Tensor] = []
    open_ = torch.ones(len(given), 1, dtype=torch.bool)
    for _ in range(LONGEST):
        drawn = torch.multinomial((logits[:, -1] / temperature).softmax(-1), 1, generator=chance)
        said.append(torch.where(open_, drawn, PAD))
        open_ = open_ & (drawn != EOS)
        if not open_.any():
            break
        logits, past = network(drawn, past)
    return torch.cat(said, 1)


def _likelihood(network: Network, given: Tensor, said: Tensor) -> Tensor:
    """Return the log likelihood of each token of the calls."""
    logits = functional.log_softmax(call_logits(network, given, said), -1)
    return logits.gather(-1, said[..., None])[..., 0]


def _share(found: Tensor) -> float:
    """Return how many of some booleans are true, as a share."""
    return found.float().mean().item()


def _plain(tensor: Tensor) -> Any:  # noqa: ANN401 - lists of lists, as deep as the tensor
    """Return a tensor's numbers as plain lists."""
    some: Any = tensor
    return some.tolist()
