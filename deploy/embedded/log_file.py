"""A server's log file: kept small, and read for the line that says why the server stopped."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from shared.errors import ServerFailed, StorageFault
from shared.files import storage_fault

if TYPE_CHECKING:
    from pathlib import Path

#: A log larger than this at a start is set aside; one older log is kept.
ROTATE_BYTES = 8 * 2**20
_TAIL_BYTES = 64 * 2**10
_TELLING = re.compile(r"FATAL|PANIC|\[FTL\]|\[ERR\]|error|failed", re.IGNORECASE)
_STORAGE = re.compile(r"no space left on device|read-only file system|disk quota exceeded", re.IGNORECASE)


def rotate(log: Path) -> None:
    """A fresh log where the old one grew too large."""
    if log.exists() and log.stat().st_size > ROTATE_BYTES:
        log.replace(log.with_name(f"{log.name}.old"))


def lines_since(log: Path, start: int) -> list[str]:
    """The whole lines written after byte `start`, from the last 64 KiB at most."""
    if not log.exists():
        return []
    with log.open("rb") as file:
        file.seek(max(start, log.stat().st_size - _TAIL_BYTES))
        text = file.read().decode(errors="replace")
    return [line.strip() for line in text.splitlines() if line.strip()]


def telling_line(lines: list[str]) -> str:
    """The last line that names a failure, else the last line."""
    if not lines:
        return "nothing was logged"
    return next((line for line in reversed(lines) if _TELLING.search(line)), lines[-1])


def failure(name: str, log: Path, start: int) -> ServerFailed | StorageFault:
    """Why a server did not start, told by what it logged after byte `start`."""
    lines = lines_since(log, start)
    for line in lines:
        if _STORAGE.search(line):
            return storage_fault(log.parent, f"{name} says: {line}")
    return ServerFailed(f"{name} did not start; it says: {telling_line(lines)} (its whole log is {log}).")
