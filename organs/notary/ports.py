"""The notary's port: where the tiles lie, and, apart from them, what it signed last."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Protocol

from shared.errors import InUse
from shared.files import open_private, private_folder, write_private
from shared.home import place
from shared.log.store import FolderTiles, MemoryTiles
from shared.log.tiles import TileKeeper
from shared.settings import Settings

MEMORY = "last-checkpoint"
LOCK = "LOCK"


class Shelf(Protocol):
    """Tiles, and the notary's memory of what it signed: it must outlive the bus's server and a lost tile folder."""

    @property
    def tiles(self) -> TileKeeper: ...

    def hold(self) -> None:
        """Keep every other notary off this shelf until `release` or the process's end; InUse where one holds it."""
        ...

    def release(self) -> None:
        """Let the shelf go; nothing happens where it is not held."""
        ...

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
        self._held: int | None = None  #: the open file that carries the lock

    @classmethod
    def of(cls, settings: Settings) -> FolderShelf:
        """Return the shelf of an environment."""
        return cls(tiles_folder(settings), notary_folder(settings))

    def hold(self) -> None:
        private_folder(self._memory)
        descriptor = open_private(self._memory / LOCK, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise InUse(f"another notary signs on {self._memory}; one alone may, so stop it first") from None
        self._held = descriptor

    def release(self) -> None:
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def recall(self) -> str | None:
        path = self._memory / MEMORY
        return path.read_text("utf-8", "replace") if path.exists() else None

    def remember(self, note: str) -> None:
        private_folder(self._memory)
        write_private(self._memory / MEMORY, note)


class MemoryShelf:
    """The same in memory; it outlives a simulated crash."""

    def __init__(self) -> None:
        self.tiles = MemoryTiles()
        self.note: str | None = None

    def hold(self) -> None:
        """Nothing: nobody else has this memory."""

    def release(self) -> None:
        """Nothing."""

    def recall(self) -> str | None:
        return self.note

    def remember(self, note: str) -> None:
        self.note = note
