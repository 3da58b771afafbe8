"""One record of the log as every reader sees it."""

from __future__ import annotations

import msgspec

from shared.constant import constant

MAX_LEAF_BYTES = constant(65_535, "bytes", "X-04")  #: what a tile's entry bundle can hold
MAX_STORED_BYTES = constant(61_440, "bytes", "X-04")  #: a stored message, headers included; subject and leaf fit beside


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A stored record: its index in the epoch, delivery subject, broker time and envelope bytes.

    `index` is the stream sequence minus one; `time_ns` the broker's own stamp, in nanoseconds. The leaf that the log's
    tree commits to is made of all of it (shared/envelope/leaf.py).
    """

    index: int
    subject: str
    time_ns: int
    raw: bytes


class Position(msgspec.Struct, frozen=True):
    """Where an event stands in the log: its entry, and its place within the entry."""

    index: int
    offset: int = 0

    @classmethod
    def parse(cls, text: str) -> Position | None:
        """Return the position of `17`, `17,2` or `(17, 2)`; None where the text is none."""
        words = text.strip("() ").split(",")
        if len(words) > len(("index", "offset")) or not all(word.strip().isdecimal() for word in words):
            return None
        return cls(*(int(word) for word in words))
