"""What it costs to ask a model through organd, beside llama.cpp asked directly, in one run and on the same model."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from organs.organd import OrgandOrgan
from organs.organd.ports import Held
from shared.constant import constant
from shared.ollama import OllamaClient
from shared.settings import Settings
from shared.world import RealWorld

BENCH_TOKENS = constant(8, "tokens", "NIM-16")
BENCH_LOADS = constant(5, "loads", "NIM-16")
PROMPT = "hello"


@dataclass(frozen=True, slots=True)
class Measured:
    """Medians: how long a call, the first piece and a load take, and what memory a worker holds."""

    direct_ms: float
    organd_ms: float
    first_piece_ms: float
    load_ms: float
    worker_mb: float

    @property
    def overhead_ms(self) -> float:
        """What organd adds to one call."""
        return self.organd_ms - self.direct_ms


async def measure(settings: Settings, name: str, calls: int) -> Measured:
    """Ask a model of this home, which nobody else may be serving now."""
    world = RealWorld(settings.env)
    async with _serving(settings, world) as organ, OllamaClient(await organ.serve()) as client:
        held = await organ.models.checked(name)
        options = {"num_predict": BENCH_TOKENS, "temperature": 0}

        async def once() -> None:
            await client.generate(held.name, PROMPT, options=options)

        async def load() -> None:
            await client.generate(held.name, "", keep_alive=0)
            await client.generate(held.name, "")

        await once()
        loads = [await _ms(world, load) for _ in range(BENCH_LOADS)]
        asked = [await _ms(world, once) for _ in range(calls)]
        pieces = [await _ms(world, lambda: _first_piece(client.url, held.name)) for _ in range(calls)]
        [slot] = organ.supervisor.loaded()
        memory = psutil.Process(slot.pid).memory_info().rss / 1e6
    direct = await _direct(world, held, calls)
    return Measured(direct, median(asked), median(pieces), median(loads), memory)


@asynccontextmanager
async def _serving(settings: Settings, world: RealWorld) -> AsyncGenerator[OrgandOrgan]:
    organ = OrgandOrgan.build(settings, world)
    try:
        yield organ
    finally:
        await organ.close()


async def _first_piece(url: str, name: str) -> None:
    """Ask for an answer in pieces, and leave with the first."""
    import aiohttp

    body = {"model": name, "prompt": PROMPT, "options": {"num_predict": 1, "temperature": 0}}
    async with aiohttp.ClientSession() as session, session.post(f"{url}/api/generate", json=body) as answer:
        await answer.content.readline()


async def _direct(world: RealWorld, held: Held, calls: int) -> float:
    """Ask llama.cpp in this process, without organd, and return the median in milliseconds."""
    llama: Any = importlib.import_module("xllamacpp")
    with tempfile.TemporaryDirectory() as folder:
        params = llama.CommonParams()
        params.model.path, params.n_ctx, params.n_parallel = str(held.path), held.facts.context, 1
        params.hostnames = [str(Path(folder) / "direct.sock")]
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
        params.verbosity, params.warmup = -1, False
        server = llama.Server(params)
        body = {"max_tokens": BENCH_TOKENS, "temperature": 0, "cache_prompt": False}
        asked = {"messages": [{"role": "user", "content": PROMPT}], **body}

        async def once() -> None:
            server.handle_chat_completions(asked)

        await once()
        return median([await _ms(world, once) for _ in range(calls)])


async def _ms(world: RealWorld, work: Callable[[], Awaitable[None]]) -> float:
    before_s = world.elapsed_s()
    await work()
    return (world.elapsed_s() - before_s) * 1000
