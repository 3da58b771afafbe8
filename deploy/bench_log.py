"""The log's tree as the notary builds it, beside hashing alone: the same SHA-256 calls over the same bytes, in one run.

    python -m deploy.bench_log

Absolute figures mean nothing on shared machines; the ratio of one run does.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from dataclasses import dataclass

from shared.constant import constant
from shared.log.store import NoTiles
from shared.log.tiles import TileWriter
from shared.log.tree import HASH_BYTES
from shared.world import RealWorld, World

LEAVES = constant(100_000, "leaves", "X-04")
LEAF_SIZE = constant(300, "bytes", "X-04")
ROUNDS = constant(5, "rounds", "X-04")


@dataclass(frozen=True, slots=True)
class TreeFigure:
    """One measurement: processor seconds of hashing alone and of the whole tree with its tiles, the best of each."""

    leaves: int
    hashing_s: float
    tree_s: float

    @property
    def ratio(self) -> float:
        """How many times as long the tree takes."""
        return self.tree_s / self.hashing_s


def measure_tree(world: World, leaves: int = LEAVES, leaf_bytes: int = LEAF_SIZE, rounds: int = ROUNDS) -> TreeFigure:
    """Measure both ways in turn, so that whatever slows this machine slows both."""
    drawn = [world.entropy(leaf_bytes) for _ in range(leaves)]
    leaf_inputs = [b"\x00" + leaf for leaf in drawn]
    node_inputs = [bytes([1]) + world.entropy(2 * HASH_BYTES) for _ in range(leaves - 1)]  # n leaves have n − 1 nodes

    def hash_alone() -> None:
        for data in leaf_inputs:
            hashlib.sha256(data).digest()
        for data in node_inputs:
            hashlib.sha256(data).digest()

    def build() -> None:
        writer = TileWriter(NoTiles())  # fresh memory for every tile would measure the allocator
        writer.extend(drawn)
        writer.seal()
        writer.root()

    pairs = [(_cpu_s(world, hash_alone), _cpu_s(world, build)) for _ in range(rounds)]
    return TreeFigure(leaves, min(alone for alone, _ in pairs), min(built for _, built in pairs))


def _cpu_s(world: World, act: Callable[[], None]) -> float:
    start = world.cpu_s()
    act()
    return world.cpu_s() - start


def main() -> int:
    """Run from the command line."""
    figure = measure_tree(RealWorld("dev"))
    sys.stdout.write(
        f"{figure.leaves} leaves of {LEAF_SIZE} bytes: the tree with its tiles takes {figure.ratio:.2f} times as long "
        f"as its hashes alone ({figure.tree_s:.3f} s, {figure.hashing_s:.3f} s of processor time)\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
