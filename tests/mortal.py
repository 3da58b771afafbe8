"""Parts that die at a chosen step, as by kill -9, on a simulated server."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine, Generator, Mapping, Sequence
from typing import Any, cast

from shared.bus import Bus
from shared.bus.sim import SimWire
from shared.bus.wire import READ_BATCH
from shared.keys import LocalSigner
from shared.log.entry import Entry
from shared.part import Part, Runner
from tests.ground import SimGround
from tests.parts import NEVER_S, Stage

FOREVER = 10**9


class Life:
    """The steps a part may still take, over all its tasks. After the last one it is gone, as by kill -9."""

    owner: contextvars.ContextVar[Life | None] = contextvars.ContextVar("owner", default=None)

    def __init__(self, steps: int) -> None:
        self.steps, self.taken = steps, 0
        self.wires: list[SimWire] = []

    @property
    def over(self) -> bool:
        """Whether the part is dead."""
        return self.taken >= self.steps

    def step(self) -> bool:
        """Take one step if there is one left; with the last one every link is cut first."""
        if self.over:
            for wire in self.wires:
                wire.linked = False
            return False
        self.taken += 1
        return True

    def run(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start work that belongs to this life, and with it whatever that starts."""
        context = contextvars.copy_context()
        context.run(self.owner.set, self)
        return asyncio.get_running_loop().create_task(work, context=context)


def mortal_tasks(
    loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], context: contextvars.Context | None = None
) -> asyncio.Task[Any]:
    """Make tasks whose steps are counted where they belong to a life."""
    owner = (context or contextvars.copy_context()).get(Life.owner)
    counted = work if owner is None else _Counted(owner, work)
    return asyncio.Task(cast("Coroutine[Any, Any, Any]", counted), loop=loop, context=context)


class _Counted(Coroutine[Any, Any, Any]):
    """Work of a life: every time the loop goes on with it, a step is taken; with the last one it is gone."""

    def __init__(self, owner: Life, work: Coroutine[Any, Any, Any]) -> None:
        self.owner, self.work = owner, work

    def send(self, value: Any, /) -> Any:  # noqa: ANN401 - as a coroutine's own
        self._step()
        return self.work.send(value)

    def throw(self, *error: Any) -> Any:  # noqa: ANN401 - as a coroutine's own
        self._step()
        return self.work.throw(*error)

    def close(self) -> None:
        self.work.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self.work.__await__()

    def _step(self) -> None:
        if not self.owner.step():
            self.work.close()
            raise asyncio.CancelledError


class SteppedWire(SimWire):
    """A wire that stops to breathe before and after whatever reaches the server, so that a part can die there."""

    async def publish(
        self, subject: str, data: bytes, headers: Mapping[str, str] | None = None, reply: str = ""
    ) -> None:
        await asyncio.sleep(0)
        await super().publish(subject, data, headers, reply)
        await asyncio.sleep(0)

    async def confirm(self, subject: str) -> None:
        await asyncio.sleep(0)
        await super().confirm(subject)
        await asyncio.sleep(0)

    async def append(self, batch: Sequence[tuple[str, bytes]], lane: str, last: int, timeout_s: float) -> int:
        await asyncio.sleep(0)
        index = await super().append(batch, lane, last, timeout_s)
        await asyncio.sleep(0)
        return index

    async def read(self, stream: str, start: int, pattern: str = "", limit: int = READ_BATCH) -> list[Entry]:
        await asyncio.sleep(0)
        entries = await super().read(stream, start, pattern, limit)
        await asyncio.sleep(0)
        return entries


class Theatre(Stage):
    """A stage whose parts may be mortal."""

    def __init__(self, ground: SimGround) -> None:
        super().__init__(ground)
        asyncio.get_running_loop().set_task_factory(mortal_tasks)  # pyright: ignore[reportArgumentType] - it makes tasks
        self.sim = ground
        self.count = 0

    async def carry_mortal(self, part: Part, signer: LocalSigner, life: Life) -> Runner:
        """Start a part with a life of its own."""
        self.count += 1
        wire = SteppedWire(self.sim.server, part.name, (">",), (">",))
        life.wires.append(wire)
        bus = Bus(self.sim.world.fork(f"{part.name}/{self.count}"), wire, part.name, part.version, [signer])
        runner = Runner(part, bus, beat_s=NEVER_S, handshake=False)
        starting = life.run(runner.start())
        await asyncio.wait([starting])
        if not life.over:
            starting.result()
        return runner
