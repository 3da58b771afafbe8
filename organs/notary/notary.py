"""The notary's own work, without a bus: takes entries in order, keeps the tree, signs it, proves what it signed.

It never signs against its last checkpoint: what it is shown must go on from the very leaves it signed, else it refuses,
by name, and signs nothing more until what it is shown fits again.
"""

from __future__ import annotations

from collections.abc import Sequence

from organs.notary.ports import Shelf
from shared.envelope import KeyBook, leaf_of
from shared.errors import LogFault, Refusal, Refused
from shared.keys import Signer
from shared.log.checkpoint import Checkpoint, origin_of
from shared.log.entry import Entry
from shared.log.note import Note
from shared.log.proof import ProofFile
from shared.log.tiles import CHECKPOINT, Tiles, TileWriter
from shared.log.tree import inclusion_proof, leaf_hash
from shared.part.organ import OwnLog


class Inconsistent(LogFault):
    """The log contradicts what was signed: entries are gone, or are not the ones the last checkpoint commits to."""


async def hold_to(log: OwnLog, shelf: Shelf, *, empty: bool = False) -> None:
    """Raise Inconsistent unless the log still holds what was signed last, as far as its end can tell.

    Asked before anything is written to a log: what was lost must be named first. `empty`: it has no stream at all.
    """
    note = shelf.recall()
    if note is None:
        return
    size = Checkpoint.parse(Note.parse(note).text).size
    newest = None if empty else await log.newest()
    entries = 0 if newest is None else newest.index + 1
    way = "restore a backup with `nimmerverse audit restore DIR --reason TEXT`"
    if entries < size:
        go_on = "" if entries == 0 else ", or go on without what is lost: `nimmerverse audit restore --reason TEXT`"
        raise Inconsistent(f"the log has {entries} entries, {size} were signed: its tail is gone; {way}{go_on}")
    found = await log.entries(size - 1)
    known = Tiles(shelf.tiles, size).leaf_hashes(size - 1, size)[0]
    if not found or found[0].index != size - 1 or leaf_hash(leaf_of(found[0])) != known:
        raise Inconsistent(f"entry {size - 1} is not the one that was signed: the log was rewritten; {way}")


class Notary:
    """Owns the tiles and the log's key. Single-threaded: its organ calls it from one task."""

    def __init__(self, shelf: Shelf, signer: Signer, env: str) -> None:
        self.shelf, self.signer, self.env = shelf, signer, env
        self.signed: Checkpoint | None = None
        self.note = ""
        self._obsolete: list[str] = []
        remembered = shelf.recall()
        if remembered is None:
            self.writer = TileWriter(shelf.tiles)
            return
        self.signed, self.note = Checkpoint.parse(remembered.rpartition("\n\n")[0] + "\n"), remembered
        self.writer = self._resumed(self.signed)
        if shelf.tiles.get(CHECKPOINT) != remembered.encode():  # signed and remembered, then crashed
            shelf.tiles.put(CHECKPOINT, remembered.encode())

    @property
    def size(self) -> int:
        """How many leaves the tree has, signed or not."""
        return self.writer.size

    @property
    def pending(self) -> int:
        """How many leaves no checkpoint covers yet."""
        return self.size - (self.signed.size if self.signed else 0)

    def take(self, entries: Sequence[Entry]) -> None:
        """Append entries that go on where the tree ends; Inconsistent where one is missing."""
        for place, entry in enumerate(entries):
            if entry.index != self.size + place:
                raise Inconsistent(
                    f"entry {self.size + place} is missing: the next readable one is {entry.index}; "
                    f"the last checkpoint commits to {self.signed.size if self.signed else 0} entries"
                )
        self.writer.extend([leaf_of(entry) for entry in entries])

    def check_last(self, entry: Entry) -> None:
        """Raise Inconsistent unless this is the very entry that the tree's last leaf was made of."""
        if leaf_hash(leaf_of(entry)) != self.writer.last:
            raise Inconsistent(f"entry {entry.index} is not the one that was read before: the log was rewritten")

    def sign(self, book: KeyBook, time_s: int) -> Checkpoint | None:
        """Sign the tree as it stands and publish it; None while the log knows no such key, or a later epoch.

        The order makes a crash harmless: tiles first, then the signature is remembered, then others see it.
        """
        known = {key.key_id for key in book.log_keys_at(self.size)}
        if book.fingerprint is None or self.signer.key_id not in known or self.size <= max(book.epochs, default=-1):
            return None
        self._obsolete += self.writer.seal()
        checkpoint = Checkpoint(
            origin_of(self.env, book.fingerprint, book.epoch_at(self.size)), self.size, self.writer.root()
        )
        self.note = str(checkpoint.signed(self.signer, time_s))
        self.shelf.remember(self.note)
        self.signed = checkpoint
        self.publish(self.note)
        return checkpoint

    def publish(self, note: str) -> None:
        """Let readers see a checkpoint, ours or ours with more signatures; what it makes obsolete goes."""
        self.note = note
        self.shelf.tiles.put(CHECKPOINT, note.encode())
        for path in self._obsolete:
            self.shelf.tiles.remove(path)
        self._obsolete = []

    def prove(self, index: int) -> ProofFile:
        """Return the proof that an entry is under the last checkpoint; Refused B013 while it is not."""
        if self.signed is None or index >= self.signed.size:
            size = self.signed.size if self.signed else 0
            raise Refused(Refusal("B013", f"the last checkpoint covers {size} entries, {index} is not among them"))
        path = inclusion_proof(Tiles(self.shelf.tiles, self.signed.size).node, index, self.signed.size)
        return ProofFile(index, tuple(path), self.note)

    def _resumed(self, last: Checkpoint) -> TileWriter:
        try:
            writer = TileWriter.resume(self.shelf.tiles, last.size)
        except LogFault as missing:
            raise Inconsistent(
                f"the tiles of the last checkpoint ({last.size} entries) are not all there: {missing}; "
                "`nimmerverse audit tiles` makes them again from the log"
            ) from None
        if writer.root() != last.root:
            raise Inconsistent(f"the tiles do not have the root that was signed at {last.size} entries")
        return writer
