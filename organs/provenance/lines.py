"""Bytes of a file or of a pipe as lines and blocks, from a byte on, in bounded memory."""

from __future__ import annotations

import os
import select
from pathlib import Path
from typing import Final

from organs.provenance.post import MAX_LINE_BYTES, too_large
from shared.constant import constant
from shared.errors import ConfigFault, Refusal, Refused

READ_BLOCK_BYTES = constant(262_144, "bytes", "COL-03")
FLUSH_S = constant(30.0, "s", "COL-03")  # so long a partial batch waits for more, where a pipe gives nothing
_STANDARD_INPUT: Final = 0


class Bytes:
    """An open file or standard input; `offset` is the byte that is given next. Used by one thread at a time."""

    def __init__(self, path: Path | None, offset: int) -> None:
        """Open a file at a byte; of standard input (None) what comes before it is read and passed over."""
        self.name = "standard input" if path is None else path.name
        self.offset = offset
        self.size: int | None = None
        self._rest, self._at, self._ended = b"", 0, False
        self._descriptor = _STANDARD_INPUT if path is None else _open(path)
        if path is None:
            self._pass_over(offset)
            return
        self.size = os.fstat(self._descriptor).st_size
        if self.size < offset:
            raise Refused(
                Refusal("C003", f"{self.name} ends at byte {self.size}, but was taken in up to {offset}; it is another")
            )
        os.lseek(self._descriptor, offset, os.SEEK_SET)

    def close(self) -> None:
        """Close it; standard input stays as it is."""
        if self._descriptor != _STANDARD_INPUT:
            os.close(self._descriptor)

    def line(self) -> bytes | None:
        """Return the next line with its end, b"" where the source has ended, None where nothing came in time. C005."""
        while True:
            end = self._rest.find(b"\n", self._at)
            if end >= 0:
                return self._given(end + 1)
            if len(self._rest) - self._at > MAX_LINE_BYTES:
                raise too_large(self.place(), len(self._rest) - self._at, MAX_LINE_BYTES)
            if self._ended:
                return self._given(len(self._rest))
            if not self.more():
                return None

    def held(self) -> memoryview:
        """Return what was read and is not given yet."""
        return memoryview(self._rest)[self._at :]

    def give(self, size: int) -> bytes:
        """Return that many of the held bytes, and go on after them."""
        return self._given(self._at + size)

    def more(self) -> bool:
        """Read on; False where a pipe gives nothing in time. At the end nothing more is held."""
        if self.size is None and not select.select([self._descriptor], [], [], FLUSH_S)[0]:
            return False
        block = os.read(self._descriptor, READ_BLOCK_BYTES)
        self._ended = not block
        self._rest, self._at = self._rest[self._at :] + block, 0
        return True

    @property
    def ended(self) -> bool:
        """Whether everything was read; something may be held yet."""
        return self._ended

    def place(self) -> str:
        """Say where the next byte stands, as a person finds it."""
        return f"{self.name}, byte {self.offset}{self._line_number()}"

    def _line_number(self) -> str:
        """Return the number of the line that is next, counted only now that somebody asks."""
        if self.size is None:
            return ""
        left, number = self.offset, 1
        while left > 0:
            block = os.pread(self._descriptor, min(READ_BLOCK_BYTES, left), self.offset - left)
            if not block:
                return ""
            number += block.count(b"\n")
            left -= len(block)
        return f" (line {number})"

    def _given(self, end: int) -> bytes:
        given = self._rest[self._at : end]
        self._at = end
        self.offset += len(given)
        return given

    def _pass_over(self, left: int) -> None:
        while left > 0:
            block = os.read(self._descriptor, min(READ_BLOCK_BYTES, left))
            if not block:
                raise Refused(Refusal("C003", f"{self.name} ends {left} bytes before where it was taken in up to"))
            left -= len(block)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigFault(f"{path} cannot be read ({error.strerror}); give a file of posts, or - for a pipe") from error
