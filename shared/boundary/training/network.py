"""The network: a language model in Gemma 3's shape, small enough to be trained on one core.

Its parameters carry the names that llama.cpp gives them (`blk.0.attn_q.weight`), so that nothing is renamed on the way
into a GGUF file; only the norms' weights are written there plus one.
"""

from __future__ import annotations

import msgspec
import torch
from torch import Tensor, nn
from torch.nn import functional

from shared.constant import constant

NORM_EPS = constant(1e-6, "variance", "NIM-14")
ROPE_BASE = constant(10_000.0, "positions", "NIM-14")
SPREAD = constant(0.02, "standard deviation", "NIM-14")  # of a new network's weights

Rotary = tuple[Tensor, Tensor]
Past = tuple[Tensor, Tensor]  #: keys and values of one layer, (batch, kv heads, positions, head)


class Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The sizes of a network."""

    vocabulary: int
    width: int = 128
    inner: int = 256
    layers: int = 4
    heads: int = 4
    kv_heads: int = 1
    head: int = 32


class Norm(nn.Module):
    """Root mean square norm that multiplies by one plus its weight."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(size))

    def forward(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x, (x.shape[-1],), 1.0 + self.weight, NORM_EPS)


class Block(nn.Module):
    """One layer: attention, then a gated feed-forward, each normed before and after it."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        wide, narrow = shape.heads * shape.head, shape.kv_heads * shape.head
        self.attn_norm, self.post_attention_norm = Norm(shape.width), Norm(shape.width)
        self.ffn_norm, self.post_ffw_norm = Norm(shape.width), Norm(shape.width)
        self.attn_q = nn.Linear(shape.width, wide, bias=False)
        self.attn_k = nn.Linear(shape.width, narrow, bias=False)
        self.attn_v = nn.Linear(shape.width, narrow, bias=False)
        self.attn_output = nn.Linear(wide, shape.width, bias=False)
        self.attn_q_norm, self.attn_k_norm = Norm(shape.head), Norm(shape.head)
        self.ffn_gate = nn.Linear(shape.width, shape.inner, bias=False)
        self.ffn_up = nn.Linear(shape.width, shape.inner, bias=False)
        self.ffn_down = nn.Linear(shape.inner, shape.width, bias=False)

    def forward(self, x: Tensor, rotary: Rotary, past: Past | None) -> tuple[Tensor, Past]:
        mixed, present = self._attend(self.attn_norm(x), rotary, past)
        x = x + self.post_attention_norm(mixed)
        inner = self.ffn_norm(x)
        gated = functional.gelu(self.ffn_gate(inner), approximate="tanh") * self.ffn_up(inner)
        return x + self.post_ffw_norm(self.ffn_down(gated)), present

    def _attend(self, x: Tensor, rotary: Rotary, past: Past | None) -> tuple[Tensor, Past]:
        batch, length, _ = x.shape
        q, k, v = (
            wide(x).view(batch, length, -1, self.shape.head).transpose(1, 2)
            for wide in (self.attn_q, self.attn_k, self.attn_v)
        )
        q, k = rotate(self.attn_q_norm(q), rotary), rotate(self.attn_k_norm(k), rotary)
        if past is not None:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        group = self.shape.heads // self.shape.kv_heads
        mixed = functional.scaled_dot_product_attention(
            q, k.repeat_interleave(group, 1), v.repeat_interleave(group, 1), is_causal=past is None
        )
        return self.attn_output(mixed.transpose(1, 2).reshape(batch, length, -1)), (k, v)


class Network(nn.Module):
    """Tokens in, logits of the next token out; input and output share one embedding."""

    def __init__(self, shape: Shape, seed: int) -> None:
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Embedding(shape.vocabulary, shape.width)
        self.blk = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.output_norm = Norm(shape.width)
        chance = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=SPREAD, generator=chance)

    def forward(self, tokens: Tensor, past: list[Past] | None = None, start: int = 0) -> tuple[Tensor, list[Past]]:
        """Return logits (batch, length - start, vocabulary) from place `start` on, and every layer's keys and values.

        With `past`, `tokens` is one token more, of shape (batch, 1).
        """
        before = past[0][0].shape[2] if past else 0
        rotary = rotary_at(before, tokens.shape[1], self.shape.head)
        x = self.token_embd(tokens) * self.shape.width**0.5
        present: list[Past] = []
        for place, block in enumerate(self.blk):
            x, kept = block(x, rotary, past[place] if past else None)
            present.append(kept)
        return functional.linear(self.output_norm(x[:, start:]), self.token_embd.weight), present

    def size(self) -> int:
        """How many parameters it has."""
        return sum(parameter.numel() for parameter in self.parameters())


def rotary_at(start: int, length: int, head: int) -> Rotary:
    """Return cosine and sine of the rotary positions from `start` on, each (length, head)."""
    speeds = ROPE_BASE ** (-torch.arange(0, head, 2, dtype=torch.float32) / head)
    angles = torch.outer(torch.arange(start, start + length, dtype=torch.float32), speeds).repeat(1, 2)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, rotary: Rotary) -> Tensor:
    """Return queries or keys turned by their positions, the second half of each head against the first."""
    cos, sin = rotary
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin
