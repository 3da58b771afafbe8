"""Where an auditor reads a log from: the live stream, or a folder of tiles. Nothing that a source gives is believed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Protocol

import msgspec

from shared.envelope import Sealed, leaf_of
from shared.envelope.leaf import entry_and_sealed, sealed_in
from shared.errors import LogFault
from shared.log.checkpoint import Checkpoint
from shared.log.entry import Entry
from shared.log.note import BadNote, Note
from shared.log.store import FolderTiles
from shared.log.tiles import CHECKPOINT, WIDTH, Tiles, TileStore


class Stored(msgspec.Struct, frozen=True):
    """An entry as a source gives it: with its leaf, and its envelope where it holds one."""

    entry: Entry
    leaf: bytes
    sealed: Sealed | None


class BadLeaf(LogFault):
    """A stored leaf that no entry has; `index` is where it stands."""

    def __init__(self, index: int, why: str) -> None:
        super().__init__(f"leaf {index}: {why}")
        self.index = index


class Source(Protocol):
    """One log, read in order."""

    @property
    def name(self) -> str:
        """What people are told the log was read from."""
        ...

    @property
    def tiles(self) -> TileStore | None:
        """The log's tiles, where there are any."""
        ...

    def checkpoint(self) -> bytes | None:
        """Return the newest checkpoint's note, None where there is none."""
        ...

    def remembered(self) -> list[bytes]:
        """Return other checkpoints of this log that were kept apart from it: it must go on from each."""
        ...

    def batches(self) -> AsyncIterator[list[Stored]]:
        """Yield every entry in stored order; BadLeaf or LogFault where one cannot be read."""
        ...


class FolderSource:
    """A log folder as the notary keeps it, or a copy of one, or anything else that holds tiles."""

    def __init__(self, store: TileStore, name: str) -> None:
        self.tiles, self.name = store, name

    @classmethod
    def at(cls, folder: Path) -> FolderSource:
        """Return the log in a folder."""
        return cls(FolderTiles(folder), str(folder))

    def checkpoint(self) -> bytes | None:
        try:
            return self.tiles.get(CHECKPOINT)
        except LogFault:  # not for this user: as if it were not there
            return None

    def remembered(self) -> list[bytes]:
        return []

    async def batches(self) -> AsyncIterator[list[Stored]]:
        size = _size_of(self.checkpoint())
        tiles = Tiles(self.tiles, size)
        for tile in range(-(-size // WIDTH)):
            yield [read_leaf(tile * WIDTH + place, leaf) for place, leaf in enumerate(tiles.bundle_at(tile))]


class LiveSource:
    """The stream itself, with the tiles and the memory that the notary keeps of it, where they can be read."""

    def __init__(
        self,
        read: Callable[[int], Awaitable[list[Entry]]],
        name: str,
        tiles: TileStore | None = None,
        remembered: list[bytes] | None = None,
    ) -> None:
        self._read, self.name, self.tiles = read, name, tiles
        self._remembered = remembered or []

    def checkpoint(self) -> bytes | None:
        return self.tiles.get(CHECKPOINT) if self.tiles is not None else None

    def remembered(self) -> list[bytes]:
        return self._remembered

    async def batches(self) -> AsyncIterator[list[Stored]]:
        start = 0
        while entries := await self._read(start):
            yield [_stored(entry) for entry in entries]
            start = max(start, entries[-1].index) + 1


def read_leaf(index: int, leaf: bytes) -> Stored:
    """Return the entry of a stored leaf; BadLeaf where it has none."""
    try:
        entry, sealed = entry_and_sealed(index, leaf)
    except ValueError as why:
        raise BadLeaf(index, str(why)) from None
    return Stored(entry, leaf, sealed)


def _stored(entry: Entry) -> Stored:
    sealed = sealed_in(entry.raw)
    return Stored(entry, leaf_of(entry, sealed), sealed)


def _size_of(note: bytes | None) -> int:
    """Return the size a checkpoint speaks of, proven or not; 0 where it says none."""
    try:
        return Checkpoint.parse(Note.parse(note).text).size if note is not None else 0
    except BadNote:
        return 0
