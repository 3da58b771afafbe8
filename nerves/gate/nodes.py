"""How much each source of a gate is trusted: its *node weight*, learned from what became of what it said (NIM-08).

A source begins with what its gate began with. Whoever said what was confirmed gains, whoever said what failed loses;
for whoever denied it the outcome is the opposite. What is back where it began is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from nerves.gate.dynamics import MIN_SHARE_PPM, strength
from nerves.gate.weights import faded, learned, seed_of
from shared.constant import constant
from shared.subjects.gates import NodeChanged, Outcome, Share, WeightChanged

NODES = constant(64, "sources", "X-12")

_OPPOSITE: Final[dict[Outcome, Outcome]] = {"confirmed": "failed", "failed": "confirmed", "partial": "partial"}


class Node(msgspec.Struct, frozen=True, array_like=True):
    """What one source earned in one domain."""

    source: str
    weight_ppm: int
    learned_ms: int


class HandedOn(msgspec.Struct, frozen=True, array_like=True):
    """A signal that was handed on and not judged yet: who said so, and who denied it."""

    signal: bytes
    agreed: tuple[str, ...]
    denied: tuple[str, ...] = ()


def voices(shares: Iterable[Share], polarity: int) -> tuple[str, ...]:
    """Return the sources that count on one side of a collapse."""
    said = [share for share in shares if share.polarity == polarity]
    return tuple(sorted({share.source for share in said if strength(share) >= MIN_SHARE_PPM}))


def node_weight(nodes: Sequence[Node], domain: str, source: str, now_ms: int) -> int:
    """Return how much a source is trusted in a domain now, in ppm."""
    seed = seed_of(domain)
    known = next((node for node in nodes if node.source == source), None)
    return seed if known is None else faded(known.weight_ppm, seed, now_ms - known.learned_ms)


def best(nodes: Sequence[Node], domain: str, sources: Iterable[str], now_ms: int) -> int:
    """Return the weight of the most trusted of some sources."""
    return max((node_weight(nodes, domain, source, now_ms) for source in sources), default=seed_of(domain))


def changes(
    nodes: Sequence[Node], domain: str, handed: HandedOn, outcome: Outcome, now_ms: int
) -> tuple[NodeChanged, ...]:
    """Return what an outcome does to the sources that had a share in the signal."""
    taught = dict[str, Outcome]()
    for source in handed.denied:
        taught[source] = _OPPOSITE[outcome]
    for source in handed.agreed:
        taught[source] = outcome
    before = {source: node_weight(nodes, domain, source, now_ms) for source in sorted(taught)}
    return tuple(NodeChanged(source, was, learned(was, taught[source])) for source, was in before.items())


def after(nodes: Sequence[Node], changed: WeightChanged) -> tuple[Node, ...]:
    """Return the nodes after a decision; beyond the bound those that learned longest ago are forgotten."""
    known = {node.source: node for node in nodes}
    known |= {node.source: Node(node.source, node.after_ppm, changed.at_ms) for node in changed.nodes}
    seed = seed_of(changed.domain)
    left = [n for n in known.values() if faded(n.weight_ppm, seed, changed.at_ms - n.learned_ms) != seed]
    newest = sorted(left, key=lambda node: (-node.learned_ms, node.source))[:NODES]
    return tuple(sorted(newest, key=lambda node: node.source))
