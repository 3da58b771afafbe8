"""Where tiles lie: in a folder, each file written whole and durably; or in memory, for the simulated log."""

from __future__ import annotations

import os
from pathlib import Path
from shutil import rmtree

from shared.errors import LogFault
from shared.files import open_private, private_folder, storing, sync_folder


class FolderTiles:
    """Tiles as files under a folder that only this user may read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, path: str) -> bytes | None:
        place = self.folder / path
        try:
            return place.read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            raise LogFault(f"{place} cannot be read ({error.strerror}): let this user read it") from error

    def put(self, path: str, data: bytes) -> None:
        place = self.folder / path
        draft = place.with_name(place.name + ".draft")
        made = [each for each in place.parents if not each.exists()]
        private_folder(place.parent)
        descriptor = open_private(draft, os.O_WRONLY | os.O_TRUNC)
        with storing(place):
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(place)
            for folder in (place.parent, *(each.parent for each in made)):
                sync_folder(folder)

    def remove(self, path: str) -> None:
        place = self.folder / path
        with storing(place):
            if place.is_dir() and not place.is_symlink():
                rmtree(place)
            else:
                place.unlink(missing_ok=True)


class MemoryTiles:
    """Tiles in a dictionary."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def get(self, path: str) -> bytes | None:
        return self.files.get(path)

    def put(self, path: str, data: bytes) -> None:
        self.files[path] = data

    def remove(self, path: str) -> None:
        for gone in [one for one in self.files if one == path or one.startswith(f"{path}/")]:
            del self.files[gone]


class NoTiles:
    """Keeps nothing: for a root alone."""

    def get(self, path: str) -> bytes | None:
        return None

    def put(self, path: str, data: bytes) -> None:
        return

    def remove(self, path: str) -> None:
        return
