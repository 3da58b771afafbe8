"""One record of the log as every reader sees it."""

from __future__ import annotations

from dataclasses import dataclass

from shared.constant import constant

MAX_LEAF_BYTES = constant(65_535, "bytes", "X-04")


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored record: its index in the epoch, delivery subject, broker time and envelope bytes.

    `index` is the stream sequence minus one; `time_ns` the broker's own stamp, in nanoseconds.
    """

    index: int
    subject: str
    time_ns: int
    raw: bytes

    @property
    def leaf(self) -> bytes:
        """The leaf the log's tree commits to: u64 big-endian broker time, then the envelope."""
        return self.time_ns.to_bytes(8, "big") + self.raw


@dataclass(frozen=True, slots=True)
class Position:
    """Where an event stands in the log: its entry, and its place within the entry."""

    index: int
    offset: int
