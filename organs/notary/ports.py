"""The notary's port: where the tiles lie, and, apart from them, what it signed last."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from shared.config import Settings
from shared.files import private_folder, write_private
from shared.home import place
from shared.log.store import FolderTiles, MemoryTiles
from shared.log.tiles import TileKeeper

MEMORY = "last-checkpoint"


class Shelf(Protocol):
    """Tiles, and the notary's memory of what it signed: it must outlive the bus's server and a lost tile folder."""

    @property
    def tiles(self) -> TileKeeper: ...

    def recall(self) -> str | None:
        """Return the last signed checkpoint's note, None before the first."""
        ...

    def remember(self, note: str) -> None:
        """Keep a signed note, durably, before anybody else sees it. Raises StorageFault."""
        ...


def tiles_folder(settings: Settings) -> Path:
    """Return where an environment's tiles lie: a log folder that any reader of C2SP tlog-tiles understands."""
    return place(settings) / "tiles"


def notary_folder(settings: Settings) -> Path:
    """Return where the notary keeps what it signed."""
    return place(settings) / "notary"


class FolderShelf:
    """Tiles in one folder, the memory in another."""

    def __init__(self, tiles: Path, memory: Path) -> None:
        self.tiles = FolderTiles(tiles)
        self._memory = memory

    @classmethod
    def of(cls, settings: Settings) -> FolderShelf:
        """Return the shelf of an environment."""
        return cls(tiles_folder(settings), notary_folder(settings))

    def recall(self) -> str | None:
        path = self._memory / MEMORY
        return path.read_text() if path.exists() else None

    def remember(self, note: str) -> None:
        private_folder(self._memory)
        write_private(self._memory / MEMORY, note)


class MemoryShelf:
    """The same in memory; it outlives a simulated crash."""

    def __init__(self) -> None:
        self.tiles = MemoryTiles()
        self.note: str | None = None

    def recall(self) -> str | None:
        return self.note

    def remember(self, note: str) -> None:
        self.note = note
