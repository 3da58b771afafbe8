"""Buckets: the newest value of each key, gone a while after it was last written.

    bucket   {name}_{env}                     as `nats kv ls` shows it
    stream   KV_{name}_{env}                  one entry per subject, `max_age` after the last write none
    subject  $KV.{name}_{env}.{key}

That is how NATS itself keeps key-value buckets, so its own tools read them by hand. The environment stands in the
bucket's name, as it does in a stream's: `$KV.` is a prefix of the server's protocol, as `$JS.` is. A revision is the
sequence of a write in the stream: it grows over all keys, and outlives the server.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.envelope.keybook import covers
from shared.log.entry import Entry

if TYPE_CHECKING:
    from shared.bus.wire import Wire


@dataclass(frozen=True, slots=True)
class Value:
    """What a key holds: nothing where it was deleted or its time is over; the revision is 0 where nothing is known."""

    data: bytes
    revision: int


class Bucket:
    """One bucket of an environment, in the hands of one part. Every write is a compare-and-set on the key."""

    def __init__(self, wire: Wire, env: str, name: str) -> None:
        self.wire = wire
        self.stream, self._prefix = bucket_stream(name, env), f"$KV.{name}_{env}"

    async def get(self, key: str) -> Value:
        """Return what a key holds now. Raises Unreachable, NotPermitted."""
        entry = await self.wire.last(self.stream, self._subject(key))
        return Value(b"", 0) if entry is None else Value(entry.raw, entry.index + 1)

    async def put(self, key: str, data: bytes, revision: int, timeout_s: float) -> int:
        """Write a key whose newest revision is `revision` and return the new one.

        Raises Refused B007 where it moved, Unresolved where no answer came, Unreachable, NotPermitted, StorageFault.
        """
        assert data, "an empty value is a deleted one"
        return await self.wire.swap(self._subject(key), data, revision - 1, timeout_s) + 1

    async def delete(self, key: str, revision: int, timeout_s: float) -> int:
        """Take away the value whose revision is `revision`; what is raised is as for `put`."""
        return await self.wire.swap(self._subject(key), b"", revision - 1, timeout_s) + 1

    def _subject(self, key: str) -> str:
        return f"{self._prefix}.{key}"


@dataclass
class SimBucket:
    """A simulated server's bucket: each key's newest entry until it is too old."""

    patterns: tuple[str, ...]
    age_s: float
    stored: int = 0
    entries: dict[str, Entry] = field(default_factory=dict[str, Entry])

    def last(self, pattern: str, now_ns: int) -> Entry | None:
        """Return the newest entry of the keys that match."""
        self.entries = {s: e for s, e in self.entries.items() if now_ns < e.time_ns + round(self.age_s * 1e9)}
        found = [entry for subject, entry in self.entries.items() if covers(pattern, subject)]
        return max(found, key=lambda entry: entry.index, default=None)

    def swap(self, subject: str, data: bytes, last: int, now_ns: int) -> int | None:
        """Store a value and return its index, None where the key's newest entry is another one."""
        newest = self.last(subject, now_ns)
        if last != (-1 if newest is None else newest.index):
            return None
        self.entries[subject] = Entry(self.stored, subject, now_ns, data)
        self.stored += 1
        return self.stored - 1


def bucket_stream(name: str, env: str) -> str:
    """Return the name of the stream under a bucket."""
    return f"KV_{name}_{env}"


def bucket_subjects(name: str, env: str) -> str:
    """Return the subjects of a bucket's keys."""
    return f"$KV.{name}_{env}.>"


def bucket_permissions(name: str, env: str) -> list[str]:
    """Return what a part publishes to that reads and writes a bucket: its keys, and asking for the newest value."""
    return [bucket_subjects(name, env), f"$JS.API.DIRECT.GET.{bucket_stream(name, env)}"]
