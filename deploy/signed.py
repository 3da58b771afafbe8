"""What is known of a log's signing, wherever it is kept: every checkpoint that a log to go on with must fit.

The notary's memory and its published checkpoint are kept apart, so that one can be lost; earlier restores moved others
aside, a backup has its own, and an operator may hold one from a witness or an auditor. None is more believed than the
log's key makes it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from organs.notary import FolderShelf
from shared.audit import Report
from shared.bus import Bus
from shared.envelope import KeyBook, leaf_of
from shared.errors import Exit, LogFault
from shared.home import place
from shared.log.checkpoint import Checkpoint, epoch_of, open_checkpoint, origin_of
from shared.log.note import BadNote, Note
from shared.log.store import FolderTiles
from shared.log.tiles import CHECKPOINT, Tiles
from shared.log.tree import consistency_proof, leaf_hashes, nodes_of, root_from
from shared.settings import Settings

Kept = Literal["home", "backup", "given"]


class NotThatLog(LogFault):
    """A backup that is damaged, of another log, or does not fit what was signed."""

    exit = Exit.TAMPERED


@dataclass(frozen=True, slots=True)
class Claim:
    """A checkpoint that the log must fit: its note, the epoch it is of, where it was kept, and the tiles beside it."""

    note: str
    checkpoint: Checkpoint
    epoch: int
    kept: Kept
    tiles: FolderTiles | None = None

    @property
    def age(self) -> tuple[int, int]:
        """Of two claims the one with the larger age was signed later."""
        return self.epoch, self.checkpoint.size

    def named_in(self, report: Report) -> dict[str, Any] | None:
        """Return the first epoch of the log that names this claim's end as lost; None where none does."""
        size = self.checkpoint.size
        later = [e for e in report.epochs if e["epoch"] > self.epoch and e["last_missing"] >= size - 1]
        return next((epoch for epoch in later if epoch["index"] < size), None)


def claims_on(settings: Settings, backup: Path | None, given: str | None, book: KeyBook) -> list[Claim]:
    """Return every checkpoint known; NotThatLog where one is of another log, or is of a later epoch than this one."""
    assert book.fingerprint is not None
    env, fingerprint, epoch = settings.env, book.fingerprint, len(book.epochs) + 1
    found = list[Claim]()
    for where, note, tiles, sure in _notes(settings, backup, given):
        try:
            checkpoint = Checkpoint.parse(Note.parse(note).text)
        except BadNote as bad:
            if where == "home":  # a damaged one says nothing
                continue
            raise NotThatLog(f"the checkpoint of the {where} one cannot be read: {bad}; nothing was changed") from None
        signed_in = epoch_of(checkpoint.origin, env, fingerprint)
        if signed_in is None and not sure:
            continue
        if signed_in is None:
            ours = origin_of(env, fingerprint, 1)
            raise NotThatLog(f"a checkpoint that is known is of {checkpoint.origin}, the log is {ours}")
        if signed_in > epoch:
            raise NotThatLog(
                f"epoch {signed_in} of the log was signed, this one ends in epoch {epoch} and would use its "
                "name again; give a backup that was made since"
            )
        claim = Claim(note, checkpoint, signed_in, where, tiles)
        if where == "given" and not is_signed(claim, book):
            raise NotThatLog(
                f"the checkpoint of {checkpoint.size} entries that was given is not signed by the log's key"
            )
        found.append(claim)
    return found


def is_signed(claim: Claim, book: KeyBook) -> bool:
    """Say whether a key of the log that the log itself knows signed it."""
    for key in book.log_keys_at(claim.checkpoint.size):
        with contextlib.suppress(BadNote):
            open_checkpoint(claim.note, key.public, claim.checkpoint.origin)
            return True
    return False


async def hold_to_tiles(bus: Bus, claim: Claim, end: int) -> bool:
    """Hold the log's first `end` entries against the tiles of a claim; NotThatLog names the first that differs.

    False, and nothing is said of any entry, where its tiles are not here or do not lead to the root that was signed.
    """
    if claim.tiles is None:
        return False
    tiles = Tiles(claim.tiles, claim.checkpoint.size)
    try:
        if not tiles.lead_to(claim.checkpoint.root):
            return False
    except LogFault:
        return False
    start = 0
    while start < end:
        read = (await bus.entries(start))[: end - start]
        hashes = leaf_hashes([leaf_of(entry) for entry in read])
        for entry, here, there in zip(read, hashes, tiles.leaf_hashes(start, start + len(read)), strict=True):
            if here != there:
                raise NotThatLog(f"entry {entry.index} is not the one that was signed; restore another backup instead")
        start += len(read)
    return True


async def goes_on_from(bus: Bus, claims: Sequence[Claim], entries: int) -> tuple[str, list[bytes]]:
    """Return the newest note that these entries can be shown to go on from, and the proof; an empty one if none can.

    What goes beyond them is shown by its own tiles, what does not by the entries.
    """
    hashes = list[bytes]()
    while len(hashes) < entries:
        hashes += leaf_hashes([leaf_of(entry) for entry in await bus.entries(len(hashes))])
    node = nodes_of(hashes[:entries])
    for claim in sorted(claims, key=lambda claim: claim.age, reverse=True):
        size = claim.checkpoint.size
        if not is_signed(claim, bus.prefix.keys):
            continue
        if 0 < size <= entries and root_from(node, size) == claim.checkpoint.root:
            return claim.note, consistency_proof(node, size, entries)
        if size > entries and claim.tiles is not None and await hold_to_tiles(bus, claim, entries):
            return claim.note, consistency_proof(Tiles(claim.tiles, size).node, entries, size)
    return "", []


def _notes(
    settings: Settings, backup: Path | None, given: str | None
) -> Iterator[tuple[Kept, str, FolderTiles | None, bool]]:
    """Yield every note: where it was kept, its text, its tiles, and whether it must be of this log."""
    aside = sorted(place(settings).glob("replaced-*"))
    for folder in (place(settings), *aside, *([backup] if backup is not None else [])):
        where: Kept = "backup" if folder == backup else "home"
        shelf = FolderShelf(folder / "tiles", folder / "notary")
        published = shelf.tiles.get(CHECKPOINT)
        for note in {shelf.recall(), None if published is None else published.decode(errors="replace")} - {None}:
            yield where, note or "", shelf.tiles, folder not in aside
    if given is not None:
        yield "given", given, None, True
