"""What the log says of a decision that was heard.

A server tells a decision to whoever listens before it stores it, and also one that it then refuses to store. Whoever
published it says behind which entry of its lane it is to stand, so it is looked for at that place.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from shared.bus import Bus, Delivery
from shared.bus.nats import BATCH, COMMIT, EXPECTED
from shared.constant import constant
from shared.envelope import Verdict
from shared.errors import Unreachable, Unresolved
from shared.log.entry import Entry
from shared.message import lane_of

STORED_S = constant(5.0, "s", "X-05")  #: from when a decision was heard, while there is a link
STORED_LOOK_S = constant(0.02, "s", "X-05")
BATCHES = constant(1_000, "batches", "X-12")  #: that may be open at once
_NOWHERE: Final = -1
_DIGITS: Final = 18


class Stored:
    """The verdicts of decisions that one bus hears."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self._batches = dict[str, int]()  #: where the next decision of an atomic batch stands

    async def verdict(self, heard: Delivery, heard_s: float) -> Verdict | None:
        """Return the verdict of a decision, heard at `heard_s` of the World; None for one that the log does not take.

        While the link is down nothing is known of it, and this waits.
        """
        start = self._start(heard)
        verdict = None if start == _NOWHERE else await self._looked_up(heard, start, heard_s + STORED_S)
        self._note(heard, _NOWHERE if verdict is None else verdict.entry.index + 1)
        return verdict

    async def _looked_up(self, heard: Delivery, start: int | None, give_up_s: float) -> Verdict | None:
        world = self.bus.world
        while True:
            with suppress(Unreachable, Unresolved):
                entry = await self._entry(lane_of(heard.subject) or "", start)
                if entry is not None and entry.raw == heard.data:
                    return await self.bus.judge(entry)
                if world.elapsed_s() >= give_up_s or (entry is not None and start is not None):
                    return None
            if not self.bus.wire.connected:
                give_up_s = max(give_up_s, world.elapsed_s() + STORED_S)
            elif world.elapsed_s() >= give_up_s + STORED_S:
                return None  # there is a link, and nobody says what the log holds
            await world.sleep(STORED_LOOK_S)

    async def _entry(self, lane: str, start: int | None) -> Entry | None:
        """Return the first entry of a lane from an index on; the last one where nobody said from which."""
        if start is None:
            return await self.bus.wire.last(self.bus.log, f"{lane}.>")
        return next(iter(await self.bus.wire.read(self.bus.log, start, f"{lane}.>", 1)), None)

    def _start(self, heard: Delivery) -> int | None:
        said, batch = heard.headers.get(EXPECTED, ""), heard.headers.get(BATCH)
        if said.isdecimal() and len(said) <= _DIGITS:
            return int(said)
        return None if batch is None else self._batches.get(batch, _NOWHERE)

    def _note(self, heard: Delivery, start: int) -> None:
        """Remember where the next of a batch stands, until its last was heard."""
        batch = heard.headers.get(BATCH)
        if batch is None:
            return
        self._batches.pop(batch, None)
        if COMMIT not in heard.headers:
            self._batches[batch] = start
        if len(self._batches) > BATCHES:
            del self._batches[next(iter(self._batches))]
