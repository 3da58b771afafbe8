"""One organd per home: a lock, and a file that says where it answers."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from shared.errors import InUse
from shared.files import open_private, private_folder, write_private
from shared.home import CLOCK_STEP_S, born_s

_LOCK, _FILE = "organd.lock", "organd.json"


class Place:
    """The one organd of a home, as others find it."""

    def __init__(self, home: Path) -> None:
        self.folder = home
        self._descriptor: int | None = None

    @contextmanager
    def taken(self) -> Generator[Callable[[str], None]]:
        """Hold the place. What is yielded says where models answer, and keeps it until `leave`. Raises InUse."""
        private_folder(self.folder)
        descriptor = open_private(self.folder / _LOCK, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise InUse(f"another organd serves the models of {self.folder}; ask that one, or end it first") from None
        self._descriptor = descriptor
        said = list[str]()
        with ExitStack() as undo:
            undo.callback(self.leave)
            yield said.append
            pid = os.getpid()
            write_private(self.folder / _FILE, json.dumps({"url": said[0], "pid": pid, "born_s": born_s(pid)}))
            undo.pop_all()

    def leave(self) -> None:
        """Nobody answers here any more."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            (self.folder / _FILE).unlink(missing_ok=True)
            os.close(descriptor)


def where(home: Path) -> str | None:
    """Return where the models of a home answer, None where nobody serves them."""
    try:
        known = json.loads((home / _FILE).read_text())
        alive = abs(born_s(int(known["pid"])) - float(known["born_s"])) < CLOCK_STEP_S
        return str(known["url"]) if alive else None
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return None
