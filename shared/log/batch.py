"""A batch of up to 1,000 records under one BLAKE3 root: each leaf commits to a whole record, hidden by its salt.

    leaf = BLAKE3(salt ‖ record)      tree = RFC 6962 over the leaves, as in tree.py

The salt has 32 bytes, so where it ends is never in doubt; when it is destroyed, the leaf says nothing of the record any
more, and nobody can find a short record by guessing. Whoever is shown record and salt can check both in a proof.

`reference_root` and its neighbours compute the roots of the batches this product learned from, bit for bit: no
prefixes, and the last leaf repeated up to a power of two. Those roots do not bind the number of leaves, and an inner
pair can pose as two leaves; they are here to read old batches, never to make new ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from blake3 import blake3

from shared.constant import constant
from shared.errors import BadProof, Refusal, Refused
from shared.log import tree
from shared.log.tree import blake3_hash

MAX_RECORDS = constant(1_000, "records", "COL-04")
SALT_BYTES = constant(32, "bytes", "COL-04")
LEAF_BYTES = constant(32, "bytes", "COL-04")


def record_leaf(salt: bytes, record: bytes) -> bytes:
    """Return a record's 32-byte salted leaf, BLAKE3(salt ‖ record's canonical bytes), under a salt of 32 bytes.

    A neighbour's leaf is disclosed by an inclusion proof. Without the salt, which is derived from a person's key and
    dies with it, nobody can tell from the leaf whether a guessed record is the right one. A record of no person takes a
    random salt that is kept beside it.
    """
    assert len(salt) == SALT_BYTES, f"a salt has {SALT_BYTES} bytes"
    return blake3(salt + record).digest()


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """Where a leaf stands in a batch of a size, and the sibling hashes on its way up to the root."""

    index: int
    size: int
    path: tuple[bytes, ...]


@dataclass(frozen=True)
class Batch:
    """Leaves in their order, under one root; made by `of`."""

    leaves: tuple[bytes, ...]
    root: bytes  #: 32 bytes: commits to every leaf, their order and their number

    @classmethod
    def of(cls, leaves: Sequence[bytes]) -> Batch:
        """Return the batch of 1 to 1,000 leaves of 32 bytes; Refused B003 for another number, B002 for another size."""
        if not 0 < len(leaves) <= MAX_RECORDS:
            raise Refused(Refusal("B003", f"{len(leaves)} records for one batch, 1 to {MAX_RECORDS} may be"))
        if any(len(leaf) != LEAF_BYTES for leaf in leaves):
            raise Refused(Refusal("B002", f"a leaf has {LEAF_BYTES} bytes: it is the digest of a salted record"))
        return cls(tuple(leaves), tree.root_of(leaves, blake3_hash))

    def prove(self, index: int) -> InclusionProof:
        """Return the proof that the leaf at `index` is in this batch; Refused B002 where there is none."""
        if not 0 <= index < len(self.leaves):
            raise Refused(Refusal("B002", f"there is no leaf {index} in a batch of {len(self.leaves)}"))
        path = tree.inclusion_proof(self._nodes, index, len(self.leaves), blake3_hash)
        return InclusionProof(index, len(self.leaves), tuple(path))

    @cached_property
    def _nodes(self) -> tree.Node:
        return tree.nodes_of([tree.leaf_hash(leaf, blake3_hash) for leaf in self.leaves], blake3_hash)


def verify_inclusion(root: bytes, size: int, index: int, leaf: bytes, proof: InclusionProof) -> None:
    """Hold that `leaf` stands at `index` in the batch of `size` leaves with this root; BadProof says what does not fit.

    Root, size and index are what the verifier knows from elsewhere, for instance from a signed decision.
    """
    if not 0 < size <= MAX_RECORDS:
        raise BadProof(f"a batch of {size} leaves, 1 to {MAX_RECORDS} may be")
    if (proof.index, proof.size) != (index, size):
        raise BadProof(f"the proof is for leaf {proof.index} of {proof.size}, expected leaf {index} of {size}")
    if len(leaf) != LEAF_BYTES or len(root) != LEAF_BYTES:
        raise BadProof(f"root and leaf have {LEAF_BYTES} bytes each; one of them does not")
    tree.verify_inclusion(index, size, tree.leaf_hash(leaf, blake3_hash), proof.path, root, blake3_hash)


# As the reference computes it


def reference_leaf(text: str) -> bytes:
    """Return the reference's leaf: BLAKE3 of a record's text alone; neither its id nor its score is bound."""
    return blake3_hash(text.encode())


def reference_root(leaves: Sequence[bytes]) -> bytes:
    """Return the reference's root: the last leaf is repeated up to a power of two, and a parent has no prefix."""
    return _reference_levels(leaves)[-1][0]


def reference_proof(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Return the siblings of a leaf in the reference's tree, from the bottom up."""
    if not 0 <= index < len(leaves):
        raise Refused(Refusal("B002", f"there is no leaf {index} in a batch of {len(leaves)}"))
    return tuple(level[(index >> height) ^ 1] for height, level in enumerate(_reference_levels(leaves)[:-1]))


def reference_holds(root: bytes, index: int, leaf: bytes, path: Sequence[bytes]) -> bool:
    """Say whether the reference would accept a proof; it asks neither for the size nor for the length of the path."""
    for sibling in path:
        leaf = blake3_hash(sibling + leaf if index % 2 else leaf + sibling)
        index //= 2
    return leaf == root


def _reference_levels(leaves: Sequence[bytes]) -> list[list[bytes]]:
    if not leaves:
        raise Refused(Refusal("B003", "a batch without leaves has no root in the reference"))
    width = 1 << (len(leaves) - 1).bit_length()
    levels = [[*leaves, *[leaves[-1]] * (width - len(leaves))]]
    while len(levels[-1]) > 1:
        level = levels[-1]
        levels.append([blake3_hash(level[i] + level[i + 1]) for i in range(0, len(level), 2)])
    return levels
