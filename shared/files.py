"""Private files: folders and files that only their owner may read, written whole or not at all."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from shared.errors import ConfigFault, StorageFault

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

#: Mode bits that let anybody but the owner in.
OPEN_TO_OTHERS = 0o077


@contextmanager
def storing(path: Path) -> Generator[None]:
    """The operating system's refusal to write `path`, told as a StorageFault."""
    try:
        yield
    except OSError as error:
        raise storage_fault(path, error.strerror or str(error)) from error


def storage_fault(path: Path, found: str) -> StorageFault:
    """The one sentence for a place that cannot be written."""
    return StorageFault(
        f"{path} cannot be written ({found}); free some space or choose a data folder this user may write."
    )


def private_folder(folder: Path) -> None:
    """A folder of mode 0700, made with its missing ancestors.

    An existing empty folder is closed to others; a filled one that is open to others is refused, because closing it
    could lock out whoever uses it. Raises StorageFault or ConfigFault.
    """
    with storing(folder):
        for missing in reversed([each for each in (folder, *folder.parents) if not each.exists()]):
            missing.mkdir(mode=0o700, exist_ok=True)
        mode = stat.S_IMODE(folder.stat().st_mode)
        if not mode & OPEN_TO_OTHERS:
            return
        if any(folder.iterdir()):
            raise ConfigFault(
                f"{folder} has mode {mode:o} and holds files, expected 700; run `chmod 700 {folder}` or choose another."
            )
        folder.chmod(0o700)


def open_private(path: Path, flags: int) -> int:
    """A file descriptor on `path`, created 0600 where it is missing; never through a symbolic link."""
    with storing(path):
        return os.open(path, flags | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def write_private(path: Path, content: str | bytes) -> None:
    """`content` in `path`, mode 0600, replaced in one step and on disk when this returns. Raises StorageFault."""
    draft = path.with_name(f"{path.name}.draft")
    descriptor = open_private(draft, os.O_WRONLY | os.O_TRUNC)
    with storing(path):
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """The names in `folder` on disk, so that a rename survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
