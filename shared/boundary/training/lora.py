"""Low-rank adapters: a changed rule is learned by two thin matrices beside each weight, and then folded into it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from shared.boundary.training.network import Network
from shared.constant import constant

STRENGTH = constant(2.0, "share", "NIM-14")  # of what the two matrices say, added to what the weight says


class Adapted(nn.Module):
    """A linear map that stays as it is, and a low-rank one beside it that learns; at first it says nothing."""

    def __init__(self, base: nn.Linear, rank: int, chance: torch.Generator) -> None:
        super().__init__()
        self.weight = nn.Parameter(base.weight.detach(), requires_grad=False)
        wide, narrow = base.weight.shape[1], base.weight.shape[0]
        self.down = nn.Parameter(torch.empty(rank, wide))
        nn.init.normal_(self.down, std=1 / math.sqrt(wide), generator=chance)
        self.up = nn.Parameter(torch.zeros(narrow, rank))

    def forward(self, x: Tensor) -> Tensor:
        beside = functional.linear(functional.linear(x, self.down), self.up)
        return functional.linear(x, self.weight) + STRENGTH * beside

    def folded(self) -> nn.Linear:
        """Return one linear map that says the same."""
        merged = nn.Linear(self.weight.shape[1], self.weight.shape[0], bias=False)
        with torch.no_grad():
            merged.weight.copy_(self.weight + STRENGTH * self.up @ self.down)
        return merged


def adapt(network: Network, rank: int, seed: int) -> dict[str, nn.Parameter]:
    """Freeze a network, put an adapter beside each of its linear maps, and return what now learns, by name."""
    network.requires_grad_(requires_grad=False)
    chance = torch.Generator().manual_seed(seed)
    trained: dict[str, nn.Parameter] = {}
    for block_name, block in network.blk.named_children():
        for name, linear in list(block.named_children()):
            if isinstance(linear, nn.Linear):
                adapted = Adapted(linear, rank, chance)
                setattr(block, name, adapted)
                trained |= {f"blk.{block_name}.{name}.{half}": getattr(adapted, half) for half in ("down", "up")}
    return trained


def fold(network: Network) -> None:
    """Fold every adapter into its weight: the network has its own shape again, and says the same."""
    for block in network.blk.children():
        for name, adapted in list(block.named_children()):
            if isinstance(adapted, Adapted):
                setattr(block, name, adapted.folded())
