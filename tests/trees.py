"""A log's tree that grows leaf by leaf, and its signed checkpoints: what notary and witness are tried with."""

from __future__ import annotations

from shared.keys import LocalSigner
from shared.log.checkpoint import Checkpoint, log_keys
from shared.log.note import NoteKey
from shared.log.tree import consistency_proof, leaf_hashes, nodes_of, root_of_hashes
from shared.log.witness import AddCheckpoint

ORIGIN = "nimmerverse/dev/trial"
TIME_S = 1_767_225_600


class Tree:
    """Leaves of one log, made from a word; another word from some leaf on makes a fork."""

    def __init__(self, signer: LocalSigner, size: int = 0, origin: str = ORIGIN) -> None:
        self.signer, self.origin = signer, origin
        self.leaves = [f"leaf {n}".encode() for n in range(size)]

    def grow(self, count: int, word: str = "leaf") -> Tree:
        """Append leaves."""
        self.leaves += [f"{word} {n}".encode() for n in range(len(self.leaves), len(self.leaves) + count)]
        return self

    def forked(self, at: int) -> Tree:
        """The same log, but with other leaves from `at` on."""
        other = Tree(self.signer, at, self.origin)
        return other.grow(len(self.leaves) - at, "other")

    @property
    def key(self) -> NoteKey:
        """The key its notes verify with."""
        return log_keys(self.origin, self.signer.public)[0]

    @property
    def checkpoint(self) -> Checkpoint:
        """What it says of itself."""
        return Checkpoint(self.origin, len(self.leaves), root_of_hashes(leaf_hashes(self.leaves)))

    @property
    def note(self) -> str:
        """Its checkpoint, signed."""
        return str(self.checkpoint.signed(self.signer, TIME_S))

    def proof(self, old: int, new: int) -> tuple[bytes, ...]:
        """The proof that its first `new` leaves go on from its first `old`."""
        return tuple(consistency_proof(nodes_of(leaf_hashes(self.leaves)), old, new))

    def ask(self, old: int) -> bytes:
        """What a witness that has `old` leaves is asked."""
        return bytes(AddCheckpoint(old, self.proof(old, len(self.leaves)), self.note))
