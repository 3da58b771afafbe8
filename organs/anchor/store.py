"""Where proofs are kept: in a folder, or in memory."""

from __future__ import annotations

import asyncio
from pathlib import Path

from organs.anchor.ports import checked_name
from shared.errors import StorageFault
from shared.files import private_folder, storing, sync_folder, write_private

FOLDERS = ("proofs", "anchors", "waiting", "paths", "rounds")
_DRAFT = ".draft"


class FileProofStore:
    """Files that only their owner reads, each replaced in one step; what a crash left half-written is never read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def open(self) -> None:
        await asyncio.to_thread(self._make)

    async def put(self, name: str, content: bytes) -> None:
        await asyncio.to_thread(write_private, self.folder / checked_name(name), content)

    async def get(self, name: str) -> bytes | None:
        return await asyncio.to_thread(self._read, self.folder / checked_name(name))

    async def names(self, folder: str) -> list[str]:
        found = await asyncio.to_thread(lambda: list((self.folder / folder).glob("*")))
        return sorted(f"{folder}/{path.name}" for path in found if path.suffix != _DRAFT)

    async def remove(self, name: str) -> None:
        await asyncio.to_thread(self._remove, self.folder / checked_name(name))

    def _make(self) -> None:
        private_folder(self.folder)
        for folder in FOLDERS:
            private_folder(self.folder / folder)

    def _read(self, path: Path) -> bytes | None:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            found = f"{path} cannot be read ({error.strerror}); give it back to this user or take it away."
            raise StorageFault(found) from error

    def _remove(self, path: Path) -> None:
        with storing(path):
            path.unlink(missing_ok=True)
            sync_folder(path.parent)


class MemoryProofStore:
    """The simulated adapter: the same behaviour, in a dictionary."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    async def open(self) -> None:
        return

    async def put(self, name: str, content: bytes) -> None:
        self.kept[checked_name(name)] = content

    async def get(self, name: str) -> bytes | None:
        return self.kept.get(checked_name(name))

    async def names(self, folder: str) -> list[str]:
        return sorted(name for name in self.kept if name.startswith(f"{folder}/"))

    async def remove(self, name: str) -> None:
        self.kept.pop(checked_name(name), None)
