"""What the log says of a decision that was heard.

A server tells a decision to whoever listens before it stores it, and also one that it then refuses to store. And two
of one lane may be stored by the time the first is looked up.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from shared.bus import Bus, Delivery
from shared.constant import constant
from shared.envelope import Verdict
from shared.errors import Unreachable
from shared.message import lane_of

STORED_S = constant(5.0, "s", "X-05")
STORED_LOOK_S = constant(0.02, "s", "X-05")
UNASKED = constant(4_096, "verdicts", "X-05")  #: that were read beside those that were asked for
EXPECTED: Final = "Nats-Expected-Last-Subject-Sequence"


class Stored:
    """The verdicts of decisions that one bus hears, each told once."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self._unasked = dict[bytes, Verdict]()

    async def verdict(self, heard: Delivery) -> Verdict | None:
        """Return the verdict of a decision; None for a repetition, and for one that the log does not take."""
        lane, give_up_s = lane_of(heard.subject), self.bus.world.elapsed_s() + STORED_S
        assert lane is not None
        while True:
            with suppress(Unreachable):  # it may be back in time
                self._unasked |= {verdict.entry.raw: verdict for verdict in await self.bus.follow(lane)}
            found = self._unasked.pop(heard.data, None)
            if found is not None or self._passed(heard, lane) or self.bus.world.elapsed_s() >= give_up_s:
                self._forget()
                return found
            await self.bus.world.sleep(STORED_LOOK_S)

    def _passed(self, heard: Delivery, lane: str) -> bool:
        """Say whether an entry stands where this one was to stand."""
        return EXPECTED in heard.headers and self.bus.prefix.lane(lane).last >= int(heard.headers[EXPECTED])

    def _forget(self) -> None:
        for raw in list(self._unasked)[: max(len(self._unasked) - UNASKED, 0)]:
            del self._unasked[raw]
