"""Copies of a log in which one byte is flipped: none of them may be accepted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from deploy.soak.plan import Strike

Copied = Literal["tiles", "bundle", "backup"]
COPIES: tuple[Copied, ...] = get_args(Copied)


@dataclass(frozen=True, slots=True)
class Flipped:
    """A copy with a flipped byte: what of, where the byte is, whether it was refused and in what words."""

    what: str
    where: str
    refused: bool
    words: str


def flip(files: Sequence[Path], strike: Strike) -> tuple[Path, int]:
    """Flip a bit of one byte, any byte of these files being as likely; return the file and the byte's place."""
    sizes = [path.stat().st_size for path in files]
    at = int(strike.draw * sum(sizes))
    for path, size in zip(files, sizes, strict=True):
        if at < size:
            raw = bytearray(path.read_bytes())
            raw[at] ^= 1 << int(strike.draw * 1e6) % 8
            path.write_bytes(raw)
            return path, at
        at -= size
    raise AssertionError("the files are empty")
