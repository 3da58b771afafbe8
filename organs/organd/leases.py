"""Who may use a device: a locked file in this user's runtime folder, and a number that only grows.

A lease is a lock that its worker inherits: it lasts until the last process that holds it is gone, so a device is free
exactly when its memory can be. The number in the file is the fencing token. It goes to the worker as part of the only
key that the worker accepts, so a supervisor that lost its lease cannot use a worker of the next one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
from pathlib import Path

from organs.organd.ports import Device
from shared.errors import ConfigFault, Damaged
from shared.files import open_private, private_folder, storing

_DIGITS = 20


class FileLeases:
    """Leases among the processes of one Unix user."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def take(self, device: Device) -> FileLease | None:
        """Return the lease of a device, or None while another process holds it. Damaged where its number is none."""
        private_folder(self.folder)
        path = self.folder / (re.sub(r"[^A-Za-z0-9-]", "_", device.id) + ".lease")
        descriptor = open_private(path, os.O_RDWR)
        with contextlib.ExitStack() as undo:
            undo.callback(os.close, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return None
            with storing(path):
                token = _counted(descriptor, path)
            undo.pop_all()
        return FileLease(token, descriptor)


class FileLease:
    """One held lease."""

    def __init__(self, token: int, descriptor: int) -> None:
        self.token = token
        self._descriptor = descriptor

    @property
    def descriptors(self) -> tuple[int, ...]:
        return (self._descriptor,)

    def let_go(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._descriptor)


class NoLease:
    """The right to a device that everybody shares."""

    token, descriptors = 0, ()

    def let_go(self) -> None:
        """Nothing is held."""


def runtime_folder() -> Path:
    """Return this user's folder for sockets and locks, made where it is missing; ConfigFault where it is another's."""
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    folder = Path(given) / "nimmerverse" if given else Path("/tmp") / f"nimmerverse-{os.getuid()}"  # noqa: S108
    private_folder(folder)
    seen = folder.lstat()
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.getuid():
        raise ConfigFault(f"{folder} belongs to somebody else: remove it, or set XDG_RUNTIME_DIR to a folder of yours")
    return folder


def _counted(descriptor: int, path: Path) -> int:
    """Return the next number of a lease, after it is on disk."""
    raw = os.pread(descriptor, _DIGITS + 1, 0)
    if raw and not raw.isdigit():
        raise Damaged(f"{path} holds no number: remove it while no models are loaded")
    token = int(raw or b"0") + 1
    os.pwrite(descriptor, b"%d" % token, 0)
    os.fsync(descriptor)
    return token
