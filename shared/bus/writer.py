"""One writer lane per part and class: what waits is coalesced into one sealed block, one append in flight.

A synced stream takes about as many entries per second whatever their size, one fsync each; a block of a hundred events
costs one signature and one fsync.
"""

from __future__ import annotations

import asyncio

from shared.bus.ledger import Context, Draft, Ledger, Receipt
from shared.codec import encode
from shared.constant import constant
from shared.envelope.envelope import MAX_EVIDENCE_BYTES
from shared.errors import Refusal, Refused

MAX_BLOCK = constant(100, "events", "BIZ-01")
MAX_BLOCK_BYTES = constant(48_000, "bytes", "BIZ-01")
MAX_WAITING = constant(10_000, "events", "X-12")


class Writer:
    """Coalesces the decisions of one subject. The queue belongs to `put`, the sealing to one task."""

    def __init__(self, bus: Ledger, context: Context | None = None) -> None:
        self.bus, self.context = bus, context
        self._waiting: list[tuple[Draft, int, asyncio.Future[Receipt]]] = []
        self._work: asyncio.Task[None] | None = None

    async def put(self, draft: Draft) -> Receipt:
        """Return the decision's admitted position; Refused B008 when too much waits already."""
        if len(self._waiting) >= MAX_WAITING:
            raise Refused(
                Refusal("B008", f"{len(self._waiting)} decisions wait to be written, at most {MAX_WAITING} may")
            )
        if len(draft.evidence) > MAX_EVIDENCE_BYTES:  # here, so that it does not take its neighbours' block along
            raise Refused(
                Refusal("B003", f"evidence has {len(draft.evidence)} bytes, at most {MAX_EVIDENCE_BYTES} may")
            )
        done: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self._waiting.append((draft, len(encode(draft.decision)) + len(draft.evidence) + 64, done))
        if self._work is None or self._work.done():
            self._work = asyncio.get_running_loop().create_task(self._write())
        return await done

    async def _write(self) -> None:
        while self._waiting:
            block = self._take()
            try:
                receipts = await self.bus.append_block([draft for draft, _, _ in block], self.context)
            except Exception as failure:  # noqa: BLE001 - whoever waits learns it, also a broken assertion
                for _, _, done in block:
                    if not done.done():
                        done.set_exception(failure)
                continue
            for (_, _, done), receipt in zip(block, receipts, strict=True):
                if not done.done():
                    done.set_result(receipt)

    def _take(self) -> list[tuple[Draft, int, asyncio.Future[Receipt]]]:
        """Take from the front what fits into one block; the first always does."""
        size, count = 0, 0
        for _, needs, _ in self._waiting[:MAX_BLOCK]:
            size += needs
            if count and size > MAX_BLOCK_BYTES:
                break
            count += 1
        block, self._waiting = self._waiting[:count], self._waiting[count:]
        return block
