"""The simulated adapter of the records port: the same behaviour, in memory."""

from __future__ import annotations

from collections.abc import Sequence

from organs.records.port import DecisionRow, OutOfOrder, digest_of


class MemoryRecords:
    """Rows in a list, in log order."""

    def __init__(self) -> None:
        self.rows: list[DecisionRow] = []
        self.next = 0

    async def open(self) -> None:
        return

    async def close(self) -> None:
        return

    async def next_index(self) -> int:
        return self.next

    async def apply(self, index: int, rows: Sequence[DecisionRow]) -> bool:
        if index < self.next:
            return False
        if index > self.next:
            raise OutOfOrder(f"the view expects entry {self.next}, entry {index} came")
        self.rows += rows
        self.next += 1
        return True

    async def newest(self, limit: int) -> list[DecisionRow]:
        return self.rows[::-1][:limit]

    async def digest(self) -> str:
        return digest_of(self.rows, self.next)

    async def drop(self) -> None:
        self.rows, self.next = [], 0
