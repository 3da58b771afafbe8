"""A writer as a process of its own, on the home of the settings: `python -m deploy.soak.writer NAME STYLE END FILE`.

It appends its events up to END one after another, always with the same ids, whatever is killed meanwhile, and writes
`n index offset` into FILE for each acknowledged one; started again, it goes on behind what FILE says. It joins the bus
as every part does: granted by the steward. `--through URL` leads to the bus where that is not what the organism tells,
`--per-s N` slows it down. Whatever it is told instead of an acknowledgement is told on standard error.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from deploy.host import OPERATOR
from shared.bus import Bus, Draft, Receipt, Writer, stream_name
from shared.bus.connecting import connect
from shared.bus.wire import inbox_prefix
from shared.config import load
from shared.constant import constant
from shared.envelope import derive_event_id
from shared.errors import Refusal, StorageFault, Unreachable, Unresolved
from shared.home import Keys, Running, nkey_path
from shared.message import Decision
from shared.settings import Settings
from shared.subjects.system import Granted, GrantRequest
from shared.world import RealWorld

OWNER = "soak"
WRITER_PATIENCE_S = constant(3.0, "s", "X-07")
JOIN_LOOK_S = constant(0.02, "s", "X-07")
INSTEAD = "not acknowledged: "
SIZES = {"single": 1, "batch": 5, "sealed": 50}  #: how many events are appended at once, by style


class Stored(Decision, subject="soak.writer.event.{who}.stored"):
    """What a writer writes."""

    who: str
    n: int


@dataclass(frozen=True, slots=True)
class Told:
    """An acknowledgement: the writer's n-th event stands there."""

    n: int
    index: int
    offset: int


def draft(name: str, n: int) -> Draft:
    """Return the n-th event of a writer: the same in every process."""
    return Draft(Stored(name, n), derive_event_id(name.encode(), "writer", "stored", n))


def told(file: Path) -> list[Told]:
    """Return what a writer was told, in order."""
    if not file.exists():
        return []
    whole, _, _ = file.read_text().rpartition("\n")
    return [Told(*map(int, line.split())) for line in whole.splitlines()]


def faults(log: Path) -> Counter[str]:
    """Return how often a writer was told which fault instead of an acknowledgement, by the fault's name."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return Counter(line.removeprefix(INSTEAD).partition(":")[0] for line in lines if line.startswith(INSTEAD))


class Joined:
    """A writer and its bus, joined again whenever the link is gone."""

    def __init__(self, name: str, settings: Settings, through: str) -> None:
        self.name, self.settings, self.through = name, settings, through
        self.world = RealWorld(settings.env)
        self.keys = Keys(settings, self.world)
        self.signer = self.keys.signer(name, OWNER)

    async def join(self) -> None:
        """Be granted and connect, as often as it takes."""
        while True:
            running = Running.read(self.settings)
            if running is not None:
                try:
                    await self._join(self.through or running.url)
                except (Unreachable, ConnectionError):
                    pass
                else:
                    return
            await self.world.sleep(JOIN_LOOK_S)

    async def settle(self, append: Callable[[], Awaitable[Sequence[Receipt]]]) -> Sequence[Receipt]:
        """Append until there are receipts: the same event ids make it safe."""
        while True:
            try:
                return await append()
            except (StorageFault, Unresolved, Unreachable) as fault:
                sys.stderr.write(f"{INSTEAD}{type(fault).__name__}: {fault}\n")
                sys.stderr.flush()
                if isinstance(fault, StorageFault):
                    await self.world.sleep(WRITER_PATIENCE_S / 10)
                elif not self.bus.wire.connected:
                    with suppress(OSError):  # nats-py may still want to write on a link that is gone
                        await self.bus.wire.close()
                    await self.join()

    async def _join(self, url: str) -> None:
        seed = nkey_path(self.settings, OPERATOR)
        operator = Bus(self.world, await connect(url, OPERATOR, nkey=seed, private_inbox=False), OPERATOR, "1", [])
        try:
            answer = await operator.request(self._grant(), timeout_s=WRITER_PATIENCE_S)
        finally:
            await operator.wire.close()
        if isinstance(answer, Refusal):
            raise Unreachable(str(answer))
        assert isinstance(answer, Granted)
        wire = await connect(url, self.name, nkey=nkey_path(self.settings, self.name))
        self.bus = Bus(self.world, wire, self.name, "1", [self.signer])
        self.bus.deadline_s = WRITER_PATIENCE_S

    def _grant(self) -> GrantRequest:
        env = self.settings.env
        mine = Stored(self.name, 0).subject(env)
        return GrantRequest(
            part=self.name,
            version="1",
            owner=OWNER,
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


async def write(joined: Joined, style: str, end: int, file: Path, per_s: float) -> None:
    """Append the events in one style: one by one, in atomic batches, or in sealed blocks."""
    size = SIZES[style]
    await joined.join()
    with file.open("a") as out:
        for start in range(len(told(file)), end, size):
            drafts = [draft(joined.name, n) for n in range(start, min(start + size, end))]

            async def append(drafts: Sequence[Draft] = drafts) -> Sequence[Receipt]:
                if style != "sealed":
                    return await joined.bus.append_many(drafts)
                writer = Writer(joined.bus)
                return await asyncio.gather(*(writer.put(each) for each in drafts))

            receipts = await joined.settle(append)
            out.write("".join(f"{start + place} {one.index} {one.offset}\n" for place, one in enumerate(receipts)))
            out.flush()
            if per_s:
                await joined.world.sleep(len(drafts) / per_s)
    await joined.bus.drain()


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("style", choices=SIZES)
    parser.add_argument("end", type=int)
    parser.add_argument("file", type=Path)
    parser.add_argument("--through", default="")
    parser.add_argument("--per-s", type=float, default=0.0)
    args = parser.parse_args()
    joined = Joined(args.name, load(os.environ, {}, socket.gethostname()).settings, args.through)

    async def whole() -> None:
        writing = asyncio.create_task(write(joined, args.style, args.end, args.file, args.per_s))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, writing.cancel)
        with suppress(asyncio.CancelledError):  # what is not acknowledged by then is not written down
            await writing

    asyncio.run(whole())


if __name__ == "__main__":
    _main()
