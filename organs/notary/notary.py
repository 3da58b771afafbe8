"""The notary's own work, without a bus: takes entries in order, keeps the tree, signs it, proves what it signed.

It never signs against its last checkpoint: what it is shown must go on from the very leaves it signed, else it refuses,
by name, and signs nothing more until what it is shown fits again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from organs.notary.ports import Shelf
from shared.constant import constant
from shared.envelope import KeyBook, leaf_of
from shared.envelope.keybook import NOTARY_PART
from shared.errors import LogFault, Refusal, Refused
from shared.keys import Signer
from shared.log.checkpoint import Checkpoint, open_checkpoint, origin_of
from shared.log.entry import Entry
from shared.log.note import BadNote, Note, NoteSignature
from shared.log.proof import ProofFile
from shared.log.subtree import SecondSigner, sign_second
from shared.log.tiles import CHECKPOINT, HEIGHT, WIDTH, Tiles, TileWriter
from shared.log.tree import (
    BadProof,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    leaf_hashes,
    root_of_hashes,
    verify_consistency,
    verify_inclusion,
)
from shared.part.organ import OwnLog

SCRUBBED_TILES = constant(8, "tiles a beat", "X-04")


class Inconsistent(LogFault):
    """The log contradicts what was signed: entries are gone, or are not the ones the last checkpoint commits to."""


async def hold_to(log: OwnLog, shelf: Shelf, *, empty: bool = False) -> None:
    """Raise Inconsistent unless the log still holds what was signed last, as far as its end can tell.

    Asked before anything is written to a log: what was lost must be named first. `empty`: it has no stream at all. What
    is remembered and what is published are kept apart, so that one can be lost; the larger counts.
    """
    notes = [note for note in (shelf.recall(), shelf.tiles.get(CHECKPOINT)) if note is not None]
    if not notes:
        return
    sizes = list[int]()
    for note in notes:
        with contextlib.suppress(BadNote):  # one may be damaged: the notary itself says so
            sizes.append(Checkpoint.parse(Note.parse(note).text).size)
    if not sizes:
        raise Inconsistent("what was signed last cannot be read, so nobody can say how long the log was; give a backup")
    size = max(sizes)
    found = [] if empty else await log.entries(size - 1, size - 1)  # the log's end may be what cannot be read
    newest = None if empty else await log.newest()
    entries = max([0 if newest is None else newest.index + 1, *(entry.index + 1 for entry in found)])
    way = "restore a backup with `nimmerverse audit restore DIR --reason TEXT`"
    if entries < size:
        go_on = "" if entries == 0 else ", or go on without what is lost: `nimmerverse audit restore --reason TEXT`"
        raise Inconsistent(f"the log has {entries} entries, {size} were signed: its tail is gone; {way}{go_on}")
    same = bool(found) and found[0].index == size - 1
    with contextlib.suppress(LogFault):  # without the tiles the notary, that makes them again, finds out
        same = same and leaf_hash(leaf_of(found[0])) == Tiles(shelf.tiles, size).leaf_hashes(size - 1, size)[0]
    if not same:
        raise Inconsistent(f"entry {size - 1} is not the one that was signed: the log was rewritten; {way}")


class TilesLost(Inconsistent):
    """Tiles are missing or are not what was signed; they can be made again from the log."""


class KeyEnded(Inconsistent):
    """The log says that this notary's key may not sign so many entries: it was replaced or revoked."""


def remembered(shelf: Shelf) -> Checkpoint | None:
    """Return the checkpoint that the shelf remembers, whoever signed it; Inconsistent where it is damaged."""
    note = shelf.recall()
    try:
        return None if note is None else Checkpoint.parse(Note.parse(note).text)
    except BadNote as bad:
        raise Inconsistent(f"the notary's memory is damaged ({bad}); restore it from a backup") from bad


def last_signed(shelf: Shelf, public: bytes, book: KeyBook) -> tuple[Checkpoint, str] | None:
    """Return the last checkpoint that a key of ours signed while it might, and its note; None where nothing ever was.

    It is remembered and published apart from each other, so that one can be lost; the larger counts, once it is shown
    to go on from the other. Inconsistent where either is not ours, or the two contradict each other.
    """
    noted, published = shelf.recall(), shelf.tiles.get(CHECKPOINT)
    memory = _ours(noted, public, book)
    shown = _ours(published, public, book)
    if memory is None and (noted is not None or (published is not None and shown is None)):
        where = "notary's memory" if noted is not None else "published checkpoint"
        raise Inconsistent(
            f"the {where} is damaged or signed by a key that is not this log's; restore it from a backup. Nothing is "
            "signed until then, because nobody can say what was signed before"
        )
    if memory is None or shown is None:
        return memory or shown
    if memory[0].size == shown[0].size and memory[0] != shown[0]:
        raise Inconsistent(f"two checkpoints of {memory[0].size} entries are signed, with different roots or names")
    return shown if shown[0].size >= memory[0].size else memory


class Notary:
    """Owns the tiles and the log's key. Single-threaded: its organ calls it from one task.

    `book` says by which keys this log might be signed at which size; without it, by `signer` alone. `second`, if there
    is one, signs beside the first.
    """

    def __init__(
        self,
        shelf: Shelf,
        signer: Signer,
        env: str,
        book: KeyBook | None = None,
        second: SecondSigner | None = None,
    ) -> None:
        self.shelf, self.signer, self.env, self.second = shelf, signer, env, second
        self.signed: Checkpoint | None = None
        self.note = ""
        self._torn = False  #: an append broke off, so the writer is not what it says
        self._scrubbed = 0  #: the next full tile to look at
        self._replaced: list[str] = []  #: partial tiles that the next checkpoint does not need
        self._obsolete: list[str] = []  #: partial tiles that the last one does not need
        last = last_signed(shelf, signer.public, book or KeyBook())
        self.writer = TileWriter(shelf.tiles)
        if last is None:
            return
        self.signed, self.note = last
        self.writer = self._resumed(self.signed)
        if shelf.recall() != self.note:  # lost, or put back from a backup
            self._hold_step(self.signed)
            shelf.remember(self.note)
        self.settle()

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
        leaves = [leaf_of(entry) for entry in entries]
        self._torn = True
        self.writer.extend(leaves)
        self._torn = False

    def mend(self) -> None:
        """Go back to the last checkpoint if an append broke off, for instance on a full disk."""
        if self._torn:
            self.writer = self._resumed(self.signed) if self.signed else TileWriter(self.shelf.tiles)
            self._torn = False

    def check_last(self, entry: Entry) -> None:
        """Raise Inconsistent unless this is the very entry that the tree's last leaf was made of."""
        if leaf_hash(leaf_of(entry)) != self.writer.last:
            raise Inconsistent(f"entry {entry.index} is not the one that was read before: the log was rewritten")

    def compare(self, start: int, entries: Sequence[Entry]) -> int:
        """Raise Inconsistent unless the signed ones among these entries are those of the tiles, from `start` on.

        Return where to go on: after the last of them, or at the beginning again.
        """
        end = min(self.signed.size if self.signed else 0, start + len(entries))
        tiles = Tiles(self.shelf.tiles, self.signed.size if self.signed else 0)
        for index, known, entry in zip(range(start, end), tiles.leaf_hashes(start, end), entries, strict=False):
            if entry.index != index or leaf_hash(leaf_of(entry)) != known:
                raise Inconsistent(f"entry {index} is not the one that was signed: it is gone or was rewritten")
        if self.signed is None or end >= self.signed.size:
            return 0
        if not entries:
            raise Inconsistent(f"entry {start} was signed and cannot be read any more")
        return end

    def sign(self, book: KeyBook, time_s: int) -> Checkpoint | None:
        """Sign the tree as it stands and publish it; None while the log knows no such key, or a later epoch.

        KeyEnded where the key was replaced or revoked; Inconsistent where another notary signed beside this one. The
        order makes a crash harmless: tiles first, then the signature is remembered, then others see it.
        """
        own = book.keys.get(self.signer.key_id)
        if own is not None and own.last is not None and own.last < self.size:
            raise KeyEnded(
                f"the notary's key {own.key_id} was replaced or revoked by entry {own.last} and signs no more than "
                f"{own.last} entries, there are {self.size}; start the notary again with a key that the log's root "
                "introduced: `nimmerverse up` makes one where the root's keys are"
            )
        known = {key.key_id for key in book.log_keys_at(self.size)}
        if book.fingerprint is None or self.signer.key_id not in known or self.size <= max(book.epochs, default=-1):
            return None
        assert not self._torn, "a torn tree is mended before anything is signed"
        noted = remembered(self.shelf)
        if noted is not None and noted.size > self.size:
            raise Inconsistent(
                f"the notary's memory holds {noted.size} entries, {self.size} would be signed: another notary signs on "
                "this shelf, or the memory was replaced; let one notary alone sign, and start it again"
            )
        self._replaced += self.writer.seal()
        checkpoint = Checkpoint(
            origin_of(self.env, book.fingerprint, book.epoch_at(self.size)), self.size, self.writer.root()
        )
        signed = checkpoint.signed(self.signer, time_s)
        if self.second is not None:
            signed = signed.with_lines([sign_second(checkpoint.origin, checkpoint, self.second, time_s)])
        if noted != self.signed:
            self._hold_step(checkpoint)
        note = str(signed)
        self.shelf.remember(note)
        self.signed, self.note = checkpoint, note
        self._obsolete, self._replaced = self._obsolete + self._replaced, []
        self.settle()
        return checkpoint

    def settle(self) -> None:
        """Let readers see the last checkpoint if they do not yet; the partial tiles it makes obsolete go.

        Nothing happens where the memory holds another one: an older one would turn back what readers saw.
        """
        if self.signed is None or remembered(self.shelf) not in (None, self.signed):
            return
        if self.shelf.tiles.get(CHECKPOINT) != self.note.encode():
            self.shelf.tiles.put(CHECKPOINT, self.note.encode())
        while self._obsolete:
            self.shelf.tiles.remove(self._obsolete[-1])
            self._obsolete.pop()

    def add_lines(self, checkpoint: Checkpoint, lines: Sequence[NoteSignature]) -> None:
        """Publish the last checkpoint with more signatures; nothing if another one was signed meanwhile.

        The memory is asked too: witnesses answer late, and another notary may have gone on from this one's shelf.
        """
        if self.signed != checkpoint or remembered(self.shelf) != checkpoint or not lines:
            return
        note = Note.parse(self.note)
        new = {(line.name, line.key_id) for line in lines}
        kept = [line for line in note.signatures if (line.name, line.key_id) not in new]
        self.note = str(Note(note.text, (*kept, *lines)))
        self.settle()

    def prove_growth(self, old: int, new: int) -> list[bytes]:
        """Return the proof that the first `old` leaves are the beginning of the first `new`, which were signed."""
        assert self.signed is not None, "only what was signed is proven"
        assert new <= self.signed.size, f"{new} leaves were never signed"
        return consistency_proof(Tiles(self.shelf.tiles, self.signed.size).node, old, new)

    def scrub(self) -> None:
        """Look at the next few full tiles, round and round; TilesLost where one is not what was signed."""
        full = (self.signed.size if self.signed else 0) // WIDTH
        tiles = Tiles(self.shelf.tiles, full * WIDTH)
        for _ in range(min(full, SCRUBBED_TILES)):
            self._scrubbed %= full
            try:
                wrong = _wrong_with(tiles, self._scrubbed)
            except LogFault as missing:
                wrong = str(missing)
            if wrong:
                raise TilesLost(f"the tiles are damaged: {wrong}")
            self._scrubbed += 1

    def prove(self, index: int) -> ProofFile:
        """Return the proof that an entry is under the last checkpoint; Refused B013 while it is not."""
        if self.signed is None or index >= self.signed.size:
            size = self.signed.size if self.signed else 0
            raise Refused(Refusal("B013", f"the last checkpoint covers {size} entries, {index} is not among them"))
        tiles = Tiles(self.shelf.tiles, self.signed.size)
        path = inclusion_proof(tiles.node, index, self.signed.size)
        try:
            verify_inclusion(index, self.signed.size, tiles.node(0, index), path, self.signed.root)
        except BadProof as bad:
            raise TilesLost(f"the tiles prove nothing of entry {index}: {bad}") from bad
        return ProofFile(index, tuple(path), self.note)

    def _hold_step(self, new: Checkpoint) -> None:
        """Raise TilesLost unless the tiles prove that what is remembered is the beginning of a checkpoint."""
        old = remembered(self.shelf)
        if old is None or old.size == 0:
            return
        try:
            proof = consistency_proof(Tiles(self.shelf.tiles, new.size).node, old.size, new.size)
            verify_consistency(old.size, new.size, proof, old.root, new.root)
        except (BadProof, LogFault) as bad:
            raise TilesLost(
                f"the tiles do not prove that {new.size} entries go on from the {old.size} in the notary's memory, "
                f"which another notary may have signed: {bad}"
            ) from bad

    def _resumed(self, last: Checkpoint) -> TileWriter:
        tiles, begun = Tiles(self.shelf.tiles, last.size), last.size - last.size % WIDTH
        try:
            writer = TileWriter.resume(self.shelf.tiles, last.size)
            same = begun == last.size or leaf_hashes(tiles.bundle_at(begun // WIDTH)) == tiles.leaf_hashes(
                begun, last.size
            )
        except LogFault as missing:
            raise TilesLost(
                f"the tiles of the last checkpoint ({last.size} entries) are not all there: {missing}"
            ) from None
        if not same or writer.root() != last.root:
            raise TilesLost(f"the tiles do not have the root that was signed at {last.size} entries")
        return writer


def _wrong_with(tiles: Tiles, tile: int) -> str:
    """Say what is wrong with a full tile: its hashes are those of its entries, and its parents hold its root."""
    hashes = tiles.leaf_hashes(tile * WIDTH, (tile + 1) * WIDTH)
    if hashes != leaf_hashes(tiles.bundle_at(tile)):
        return f"the hashes of tile {tile} are not those of its entries"
    level, place = 0, tile
    while tiles.size >> (HEIGHT * (level + 1)):
        if root_of_hashes(hashes) != tiles.node(HEIGHT * (level + 1), place):
            return f"the root of tile {level}/{place} is not what the tile above it says"
        level, (place, last) = level + 1, divmod(place, WIDTH)
        if last != WIDTH - 1:  # the tile above it is looked at with its last child
            break
        hashes = [tiles.node(HEIGHT * level, place * WIDTH + one) for one in range(WIDTH)]
    return ""


def _ours(raw: bytes | str | None, public: bytes, book: KeyBook) -> tuple[Checkpoint, str] | None:
    """Return the checkpoint of a note that our key or a former one signed, None where none did or there is no note.

    Inconsistent where only keys did that might not sign so many entries any more, or not yet. A key of ours that the
    log does not know might sign any size: what a cut log forgot is told apart by its entries.
    """
    keys = {key.public: key for key in book.keys.values() if key.part == NOTARY_PART}
    wrong = ""
    for one in {public, *keys} if raw is not None else ():
        with contextlib.suppress(BadNote):
            found = open_checkpoint(raw or b"", one)
            if one not in keys or keys[one].valid_at(found.checkpoint.size):
                return found.checkpoint, str(found.note)
            wrong = f"a checkpoint of {found.checkpoint.size} entries is signed by the key {keys[one].key_id}"
    if wrong:
        raise Inconsistent(
            f"{wrong}, which was not entitled to that many: somebody else has this key. Keep a copy of the tiles' "
            "folder and of the notary's, then restore both from a backup; nothing is signed until then"
        )
    return None
