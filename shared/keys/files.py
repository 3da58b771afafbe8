"""Private files: readable by their owner alone, written whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from shared.errors import KeyFault
from shared.files import OPEN_TO_OTHERS, storing, sync_folder

#: A source of random bytes: the number wanted in, exactly so many out. The World provides it.
Entropy: TypeAlias = Callable[[int], bytes]

FOLDER_MODE = 0o700
FILE_MODE = 0o600
MAX_BYTES = 65_536  #: no key or passphrase file is larger; a larger one is not ours


def draw(entropy: Entropy, count: int) -> bytes:
    """Exactly `count` random bytes."""
    drawn = entropy(count)
    assert len(drawn) == count, f"the entropy source gave {len(drawn)} bytes instead of {count}"
    return drawn


def read_file(path: Path, *, private: bool = True) -> bytes:
    """The bytes of a regular file; KeyFault when it is absent, too large, or (if private) open to others."""
    follow = os.O_NOFOLLOW if private else 0
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | follow)
        try:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                raise KeyFault(f"{path} is not a regular file: put the file itself there.")
            if private:
                _refuse_open(path, mode)
            data = _read_all(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise KeyFault(_unreadable(path, error)) from error
    if len(data) > MAX_BYTES:
        raise KeyFault(f"{path} is larger than {MAX_BYTES} bytes, so it was not written here: restore the right one.")
    return data


def check_folder(folder: Path) -> None:
    """Refuse a folder that is absent or open to others."""
    try:
        status = folder.stat()
    except OSError as error:
        raise KeyFault(_unreadable(folder, error)) from error
    if not stat.S_ISDIR(status.st_mode):
        raise KeyFault(f"{folder} is not a folder: name the folder that holds the keyring.")
    _refuse_open(folder, status.st_mode)


def make_folder(folder: Path) -> None:
    """Create the folder 0700 if it is absent."""
    with storing(folder):
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)


def write_file(path: Path, data: bytes, *, temporary: str, replace: bool) -> bool:
    """Write the whole file 0600, durably; False, and nothing changed, when it exists and must not be replaced.

    `temporary` names the file beside it that carries the bytes meanwhile. Two writers never share one.
    """
    beside = path.with_name(temporary)
    with storing(path):
        beside.unlink(missing_ok=True)
        try:
            _write_new(beside, data)
            if replace:
                beside.replace(path)
            else:
                os.link(beside, path)
        except FileExistsError:
            return False
        finally:
            beside.unlink(missing_ok=True)
        sync_folder(path.parent)
    return True


@contextmanager
def locked(folder: Path) -> Generator[None, None, None]:
    """Hold the folder against other writers; released when the process dies."""
    with storing(folder):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read_all(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        return file.read(MAX_BYTES + 1)


def _write_new(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, FILE_MODE)
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def _refuse_open(path: Path, mode: int) -> None:
    if mode & OPEN_TO_OTHERS:
        wanted = FOLDER_MODE if stat.S_ISDIR(mode) else FILE_MODE
        raise KeyFault(
            f"{path} is open to other users (mode {stat.S_IMODE(mode):04o}, expected {wanted:04o}): "
            f"run `chmod {wanted:o} {path}`, and rotate its keys if others may have read them."
        )


def _unreadable(path: Path, error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return f"{path} is missing: restore it, or create it anew."
    if error.errno == errno.ELOOP:
        return f"{path} is a symbolic link: put the file itself there."
    return f"{path} cannot be read ({error.strerror}): give its owner, this user, permission to read it."
