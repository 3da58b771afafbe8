"""A writer part as a process of its own: `writer_program.py NAME STYLE FIRST END`, on the home of the settings.

It appends the events FIRST to END one after another, always with the same ids, whatever is killed meanwhile, and prints
`n index offset` for each acknowledged one. It joins the bus as every part does: granted by the steward.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from shared.bus import Bus, Draft, Receipt, Writer, stream_name
from shared.bus.connecting import connect
from shared.bus.wire import inbox_prefix
from shared.config import load
from shared.envelope import derive_event_id
from shared.errors import Refusal, Unreachable, Unresolved
from shared.home import Keys, Running, nkey_path
from shared.message import Decision
from shared.settings import Settings
from shared.subjects.system import Granted, GrantRequest
from shared.world import RealWorld

OPERATOR = "operator"
PATIENCE_S = 3.0
POLL_S = 0.02
BATCH = 5
BLOCK = 50


class Stored(Decision, subject="trial.writer.event.{who}.stored"):
    """What a writer writes."""

    who: str
    n: int


def draft(name: str, n: int) -> Draft:
    """The n-th event of a writer: the same in every process."""
    return Draft(Stored(name, n), derive_event_id(name.encode(), "writer", "stored", n))


class Joined:
    """A writer and its bus, joined again whenever the link is gone."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.name, self.settings, self.world = name, settings, RealWorld(settings.env)
        self.keys = Keys(settings, self.world)
        self.signer = self.keys.signer(name, "trial")

    async def join(self) -> None:
        """Be granted and connect, as often as it takes."""
        while True:
            running = Running.read(self.settings)
            if running is not None:
                try:
                    await self._join(running.url)
                except (Unreachable, ConnectionError):
                    pass
                else:
                    return
            await asyncio.sleep(POLL_S)

    async def settle(self, append: Callable[[], Awaitable[Sequence[Receipt]]]) -> Sequence[Receipt]:
        """Append until there are receipts: the same event ids make it safe."""
        while True:
            try:
                return await append()
            except (Unresolved, Unreachable):
                if not self.bus.wire.connected:
                    with suppress(OSError):  # nats-py may still want to write on a link that is gone
                        await self.bus.wire.close()
                    await self.join()

    async def _join(self, url: str) -> None:
        seed = nkey_path(self.settings, OPERATOR)
        operator = Bus(self.world, await connect(url, OPERATOR, nkey=seed, private_inbox=False), OPERATOR, "1", [])
        try:
            answer = await operator.request(self._grant(), timeout_s=PATIENCE_S)
        finally:
            await operator.wire.close()
        if isinstance(answer, Refusal):
            raise Unreachable(str(answer))
        assert isinstance(answer, Granted)
        wire = await connect(url, self.name, nkey=nkey_path(self.settings, self.name))
        self.bus = Bus(self.world, wire, self.name, "1", [self.signer])
        self.bus.deadline_s = PATIENCE_S

    def _grant(self) -> GrantRequest:
        env = self.settings.env
        mine = Stored(self.name, 0).subject(env)
        return GrantRequest(
            part=self.name,
            version="1",
            owner="trial",
            nkey=self.keys.nkey(self.name),
            key_id=self.signer.key_id,
            public=self.signer.public,
            publish=[mine, f"$JS.API.DIRECT.GET.{stream_name('log', env)}"],
            subscribe=[f"{inbox_prefix(self.name)}.>"],
            answers=False,
            grants=[mine],
            scored=[],
            consumers={},
            traces=[],
            transitions=[],
        )


async def write(name: str, style: str, first: int, end: int) -> None:
    """Append the events in one style: one by one, in atomic batches, or in sealed blocks."""
    joined = Joined(name, load(os.environ, {}, socket.gethostname()).settings)
    await joined.join()
    size = {"single": 1, "batch": BATCH, "sealed": BLOCK}[style]
    for start in range(first, end, size):
        drafts = [draft(name, n) for n in range(start, min(start + size, end))]

        async def append(drafts: Sequence[Draft] = drafts) -> Sequence[Receipt]:
            if style != "sealed":
                return await joined.bus.append_many(drafts)
            writer = Writer(joined.bus)
            return await asyncio.gather(*(writer.put(each) for each in drafts))

        receipts = await joined.settle(append)
        lines = [f"{start + place} {receipt.index} {receipt.offset}\n" for place, receipt in enumerate(receipts)]
        sys.stdout.write("".join(lines))
        sys.stdout.flush()
    await joined.bus.drain()


if __name__ == "__main__":
    asyncio.run(write(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
