"""Who of one user may use a device: a locked file in this user's runtime folder, and a number that only grows.

A lease is a lock that its worker inherits: it lasts until the last process that holds it is gone, so a device is free
exactly when its memory can be. The number in the file is the fencing token. It goes to the worker as part of the only
key that the worker accepts, so a supervisor that lost its lease cannot use a worker of the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import stat
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from organs.organd.ports import Device, Lease, LeaseLost, Worker
from shared.errors import ConfigFault, Damaged
from shared.files import open_private, private_folder, storing

_DIGITS = 20
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Lasting:
    """What is the same for every lease that lasts until it is let go."""

    descriptors: tuple[int, ...] = ()
    lock: str = ""
    until_s: float | None = None
    ended: str = ""

    def renewed(self, tell: Callable[[float], None]) -> None:
        """It has no end that could be put off."""

    async def lost(self) -> str:
        return await asyncio.get_running_loop().create_future()

    async def let_go(self) -> None:
        """Nothing is held."""


class FileLeases:
    """Leases among the processes of one Unix user."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def take(self, device: Device) -> FileLease | None:
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


class FileLease(Lasting):
    """One held lease."""

    def __init__(self, token: int, descriptor: int) -> None:
        self.token, self.descriptors = token, (descriptor,)
        self.lock = _name(descriptor)

    async def let_go(self) -> None:
        for descriptor in self.descriptors:
            with contextlib.suppress(OSError):
                os.close(descriptor)


class NoLease(Lasting):
    """The right to a device that everybody shares."""

    token = 0


async def first_of(*waits: Coroutine[Any, Any, str]) -> str:
    """Return the first answer; the other waits are given up."""
    tasks = [asyncio.get_running_loop().create_task(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task for task in tasks if task in done).result()
    finally:
        for task in tasks:
            task.cancel()


async def while_leased(lease: Lease, start: asyncio.Task[Worker]) -> Worker:
    """Return a worker once it is started; LeaseLost where its lease is lost first. Who gets none gives `start` up."""
    lost = asyncio.get_running_loop().create_task(lease.lost())
    try:
        await asyncio.wait((start, lost), return_when=asyncio.FIRST_COMPLETED)
        if not start.done():
            raise LeaseLost(lost.result())
        return start.result()
    finally:
        lost.cancel()


async def given_up(start: asyncio.Task[Worker]) -> int:
    """End a start, and the worker that it may have led to; return that one's process, 0 where nothing is left of it."""
    start.cancel()
    await asyncio.wait((start,))
    if start.cancelled() or start.exception() is not None:
        return 0
    worker = start.result()
    await worker.end()
    return worker.pid


def runtime_folder() -> Path:
    """Return this user's folder for sockets and locks, made where it is missing; ConfigFault where it is another's."""
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    folder = Path(given) / "nimmerverse" if given else Path("/tmp") / f"nimmerverse-{os.getuid()}"  # noqa: S108
    private_folder(folder)
    seen = folder.lstat()
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.getuid():
        raise ConfigFault(f"{folder} belongs to somebody else: remove it, or set XDG_RUNTIME_DIR to a folder of yours")
    return folder


def _name(descriptor: int) -> str:
    """Return which file this is, as nobody else's is called: kernel, file system, file. Empty where none can say."""
    seen = os.fstat(descriptor)
    try:
        return f"{_BOOT.read_text().strip()}:{seen.st_dev}:{seen.st_ino}"
    except OSError:
        return ""


def _counted(descriptor: int, path: Path) -> int:
    """Return the next number of a lease, after it is on disk."""
    raw = os.pread(descriptor, _DIGITS + 1, 0)
    if raw and not raw.isdigit():
        raise Damaged(f"{path} holds no number: remove it while no models are loaded")
    token = int(raw or b"0") + 1
    os.pwrite(descriptor, b"%d" % token, 0)
    os.fsync(descriptor)
    return token
