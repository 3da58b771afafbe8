"""The two steps in which a generation of a vault comes into force and the others go."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Final

from shared.files import storing, sync_folder
from shared.keys.files import write_file
from shared.vault.format import HEADER_NAME

_GENERATION: Final = re.compile(r"g[0-9]+")


def replace_header(folder: Path, data: bytes) -> None:
    """Let vault.json hold `data`, in one step; the former file, which held a key, is overwritten before it goes."""
    path = folder / HEADER_NAME
    with storing(path):
        former = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW) if os.path.lexists(path) else None
    try:
        write_file(path, data, temporary=f".{path.name}.tmp", replace=True)
        if former is not None:
            with storing(
                path
            ):  # a flash drive may keep the former block all the same; it is one more step, not the proof
                os.pwrite(former, bytes(os.fstat(former).st_size), 0)
                os.fsync(former)
    finally:
        if former is not None:
            os.close(former)


def sweep(folder: Path, current: str) -> None:
    """Remove every generation but the current one: what a rotation replaced, or what a crash left unfinished."""
    with storing(folder):
        stale = [entry for entry in folder.iterdir() if _GENERATION.fullmatch(entry.name) and entry.name != current]
        for entry in stale:
            shutil.rmtree(entry)
        if stale:
            sync_folder(folder)
