"""The witness's port: the last checkpoint it cosigned of each log, which nothing but a larger one may replace."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from shared.errors import StorageFault
from shared.files import private_folder, write_private
from shared.keys.files import locked


class WitnessMemory(Protocol):
    """What a witness must never forget, by origin."""

    def alone(self) -> AbstractContextManager[None]:
        """Keep every other witness on this memory out, whatever thread or process it runs in."""
        ...

    def recall(self, origin: str) -> str | None:
        """Return the note that was cosigned last, None before the first. Raises StorageFault."""
        ...

    def remember(self, origin: str, note: str) -> None:
        """Keep a note, durably, before its cosignature leaves. Raises StorageFault."""
        ...


class FolderMemory:
    """A folder with a file per origin, and a lock that other processes honour."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def alone(self) -> Generator[None]:
        private_folder(self.folder)
        with locked(self.folder):
            yield

    def recall(self, origin: str) -> str | None:
        path = self._path(origin)
        try:
            return path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise StorageFault(f"{path} cannot be read ({error}); restore it, or cosign with a new key") from error

    def remember(self, origin: str, note: str) -> None:
        write_private(self._path(origin), note)

    def _path(self, origin: str) -> Path:
        return self.folder / hashlib.sha256(origin.encode()).hexdigest()


class MemoryMemory:
    """The same in memory; it outlives a simulated crash."""

    def __init__(self) -> None:
        self.notes: dict[str, str] = {}
        self._lock = threading.Lock()

    @contextmanager
    def alone(self) -> Generator[None]:
        with self._lock:
            yield

    def recall(self, origin: str) -> str | None:
        return self.notes.get(origin)

    def remember(self, origin: str, note: str) -> None:
        self.notes[origin] = note
