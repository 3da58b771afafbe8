"""The lock that lets one process, and the servers it started, own a data folder."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shlex
import sys
from typing import TYPE_CHECKING, NamedTuple, Self

from shared.errors import InUse
from shared.files import open_private, private_folder, storing

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

#: How long an orphaned server may take to end after its parent was killed, s.
ORPHAN_PATIENCE_S = 10.0
_POLL_S = 0.02
_COMMAND_LIMIT_CHARS = 500


class Owner(NamedTuple):
    """Who holds a folder: the process id (0 while it is still being written) and its command line."""

    pid: int
    command: str

    @property
    def alive(self) -> bool:
        """Whether that process still runs; an owner still writing its name does."""
        if self.pid == 0:
            return True
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


class FolderLock:
    """An exclusive lock on a folder, held through an open file called LOCK.

    A server that inherits `descriptor` keeps the folder locked until it has really ended, even when the process that
    started it is gone: two servers on one store lose acknowledged messages.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / "LOCK"
        self._descriptor: int | None = None

    def __repr__(self) -> str:
        return f"FolderLock({str(self.folder)!r}, {'held' if self.held else 'free'})"

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._descriptor is not None

    @property
    def descriptor(self) -> int:
        """The open file that carries the lock, to be inherited by servers."""
        assert self._descriptor is not None, "the folder is not locked"
        return self._descriptor

    def take(self) -> None:
        """Make the folder (0700) and lock it; raises InUse with the owner's pid and command, or StorageFault."""
        if not self._taken():
            owner = self._owner()
            raise InUse(
                f"{self.folder} is in use by process {owner.pid} ({owner.command}); stop it or choose another folder."
            )

    async def acquire(self, patience_s: float = ORPHAN_PATIENCE_S) -> None:
        """Like `take`, but where the owner was killed, wait until the servers it left behind have ended."""
        try:
            async with asyncio.timeout(patience_s):
                while self._orphaned():
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise InUse(
                f"{self.folder} is still held by a server of process {self._owner().pid}, which has ended; "
                "stop that server or choose another data folder."
            ) from None
        self.take()

    def release(self) -> None:
        """Let the folder go; without effect when it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _orphaned(self) -> bool:
        if self._taken():
            self.release()
            return False
        return not self._owner().alive

    def _taken(self) -> bool:
        assert self._descriptor is None, "the folder is locked already"
        private_folder(self.folder)
        descriptor = open_private(self._path, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        with storing(self._path):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n{_command_line()}\n".encode(), 0)
        return True

    def _owner(self) -> Owner:
        with storing(self._path):
            pid, _, command = self._path.read_text(encoding="utf-8", errors="replace").partition("\n")
        return Owner(int(pid) if pid.isdecimal() else 0, command.strip() or "name not written yet")

    def __enter__(self) -> Self:
        self.take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _command_line() -> str:
    return " ".join(shlex.join(sys.orig_argv).split())[:_COMMAND_LIMIT_CHARS]
