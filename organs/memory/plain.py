"""The simulated adapter of memory: the same behaviour in a dictionary."""

from __future__ import annotations

from collections.abc import Sequence

from organs.memory.port import Mark, Row, checked, checked_vector, ordered
from shared.subjects.memory import MemoryKind


class PlainPassages:
    """Rows by their ids, every one of them looked at."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.read = Mark()

    async def open(self) -> Mark:
        return self.read

    async def close(self) -> None:
        return

    async def apply(self, put: Sequence[Row], remove: Sequence[str], mark: Mark) -> None:
        fresh = {row.id: checked(row) for row in put}
        for one in remove:
            self.rows.pop(one, None)
        self.rows |= fresh
        self.read = mark

    async def erase(self, person: str, mark: Mark) -> int:
        gone = [one for one, row in self.rows.items() if row.person == person]
        await self.apply([], gone, mark)
        return len(gone)

    async def renew(self, rows: Sequence[Row], mark: Mark) -> None:
        self.rows, self.read = {row.id: checked(row) for row in rows}, mark

    async def mark(self) -> Mark:
        return self.read

    async def nearest(self, vector: bytes, limit: int, kinds: Sequence[MemoryKind] = ()) -> list[tuple[Row, int]]:
        checked_vector(vector)
        return ordered((row for row in self.rows.values() if not kinds or row.kind in kinds), vector, limit)

    async def page(self, after: str, limit: int, source: str = "") -> list[Row]:
        found = sorted(one for one, row in self.rows.items() if one > after and source in ("", row.source))
        return [self.rows[one] for one in found[:limit]]

    async def of_kinds(self, kinds: Sequence[MemoryKind]) -> list[Row]:
        return [row for _, row in sorted(self.rows.items()) if row.kind in kinds]

    async def find(self, ids: Sequence[str]) -> list[Row]:
        return [self.rows[one] for one in sorted(set(ids)) if one in self.rows]

    async def count(self) -> int:
        return len(self.rows)
