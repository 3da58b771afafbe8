"""What every engine of models does: processes of llama.cpp, and what a simulation runs on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from organs.organd.devices import Processor
from organs.organd.leases import FileLeases
from organs.organd.ports import BadRequest, Completion, Device, Engine, Held, Leases, Models, Worker, WorkerDied
from organs.organd.process import Processes
from organs.organd.registry import Registry
from organs.organd.simulated import SimDevices, SimEngine, SimLeases, SimModels
from shared.world import RealWorld, SimWorld, simulate
from tests.gguf_models import write_bert, write_gemma


class Made(NamedTuple):
    """An engine with what it needs."""

    engine: Engine
    models: Models
    leases: Leases
    device: Device

    async def start(self, name: str) -> tuple[Held, Worker]:
        """Start a worker."""
        held = await self.models.checked(name)
        lease = await self.leases.take(self.device)
        assert lease is not None
        return held, await self.engine.start(held, self.device, lease)


Body = Callable[[Made], Coroutine[Any, Any, None]]
Play = Callable[[Body], None]


def simulated(body: Body) -> None:
    """Play on the simulated engine."""

    async def whole() -> None:
        world = SimWorld("dev", 7)
        devices = SimDevices(world)
        made = Made(SimEngine(world, devices), SimModels("says", embeds="embeds"), SimLeases(), devices.cards[0])
        await body(made)

    simulate(whole)


def real(folder: Path) -> Play:
    """Play on processes of llama.cpp."""

    def play(body: Body) -> None:
        world = RealWorld("dev")
        models = Registry(folder / "models", world)
        models.add(write_gemma(folder / "g.gguf"), "says")
        models.add(write_bert(folder / "b.gguf"), "embeds")
        runtime = folder / "run"
        runtime.mkdir(mode=0o700)
        device = Processor(slots=1, leased=True).device
        asyncio.run(body(Made(Processes(runtime, world), models, FileLeases(runtime), device)))  # type: ignore[arg-type]

    return play


@pytest.fixture(params=["simulated", "real"])
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Play:
    """Each engine."""
    return simulated if request.param == "simulated" else real(tmp_path)


@pytest.mark.spec("NIM-16")
def test_a_worker_answers_until_it_is_ended(play: Play) -> None:
    """Pieces end with a reason and counts, the same question gets the same answer, and the end is told for good."""

    async def body(made: Made) -> None:
        held, worker = await made.start("says")
        asked = Completion("hello", options={"max_tokens": 8, "temperature": 0, "cache_prompt": False})
        pieces = [piece async for piece in worker.complete(asked)]
        assert [""] * (len(pieces) - 1) == [piece.done_reason for piece in pieces[:-1]]
        assert pieces[-1].done_reason in ("stop", "length")
        assert (True, 8) == (pieces[-1].prompt_tokens > 0, pieces[-1].tokens)
        again = "".join([piece.text async for piece in worker.complete(asked)])
        assert again == "".join(piece.text for piece in pieces)
        turns = Completion(messages=[{"role": "user", "content": "hello"}], options={"max_tokens": 2})
        assert [piece async for piece in worker.complete(turns)][-1].done_reason
        held_to = Completion("x", schema={"const": {}}, options={"max_tokens": 8})
        assert {} == msgspec.json.decode("".join([piece.text async for piece in worker.complete(held_to)]))
        with pytest.raises(BadRequest, match="exceeds the available context"):
            _ = [piece async for piece in worker.complete(Completion("x " * 50_000, options={"max_tokens": 1}))]
        assert held.facts.context == worker.context
        assert worker.pid > 0
        assert worker.memory_bytes() > 0
        await worker.end()
        await worker.end()
        assert "SIGKILL" in await worker.ended()
        with pytest.raises(WorkerDied):
            _ = [piece async for piece in worker.complete(asked)]

    play(body)


@pytest.mark.spec("NIM-16")
def test_a_worker_embeds(play: Play) -> None:
    """One vector of length one for each text, in order."""

    async def body(made: Made) -> None:
        _, worker = await made.start("embeds")
        found = await worker.embed(["a b", "c", "a b"], truncate=True)
        assert found.vectors[0] == found.vectors[2] != found.vectors[1]
        assert found.prompt_tokens > 0
        for vector in found.vectors:
            assert pytest.approx(1.0, abs=1e-5) == sum(number * number for number in vector)
        with pytest.raises(BadRequest, match="too large"):
            await worker.embed(["a b " * 5_000], truncate=False)
        assert 1 == len((await worker.embed(["a b " * 5_000], truncate=True)).vectors)
        await worker.end()

    play(body)
