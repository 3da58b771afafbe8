"""Where tiles lie: in a folder, each file written whole and durably; or in memory, for the simulated log."""

from __future__ import annotations

import os
from pathlib import Path

from shared.files import private_folder, storing, sync_folder


class FolderTiles:
    """Tiles as files under a folder that only this user may read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, path: str) -> bytes | None:
        try:
            return (self.folder / path).read_bytes()
        except OSError:  # not there, or not a file that may be read: the reader names what it misses
            return None

    def put(self, path: str, data: bytes) -> None:
        place = self.folder / path
        draft = place.with_name(place.name + ".draft")
        private_folder(place.parent)
        with storing(place):
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(place)
            sync_folder(place.parent)

    def remove(self, path: str) -> None:
        with storing(self.folder / path):
            (self.folder / path).unlink(missing_ok=True)


class MemoryTiles:
    """Tiles in a dictionary."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def get(self, path: str) -> bytes | None:
        return self.files.get(path)

    def put(self, path: str, data: bytes) -> None:
        self.files[path] = data

    def remove(self, path: str) -> None:
        self.files.pop(path, None)


class NoTiles:
    """Keeps nothing: for a root alone."""

    def get(self, path: str) -> bytes | None:
        return None

    def put(self, path: str, data: bytes) -> None:
        return

    def remove(self, path: str) -> None:
        return
