"""A whole organism to try: the steward and parts, on a simulated server or on a real one, without PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.host import EmbeddedHost
from deploy.load import BUILT_IN, find_part
from deploy.organism import Organism
from deploy.sim_host import SimHost, Trouble
from organs.records import MemoryRecords, RecordsOrgan
from shared.bus import Bus
from shared.config import load
from shared.home import Keys
from shared.keys.sealed import CHEAP
from shared.part import Part
from shared.world import RealWorld, SimWorld, World, simulate
from tests.ground import ENV, SEED

SITE = "here"
BEAT_MS = "50"


@dataclass
class Living:
    """An organism, the place it lives in, and a person who may ask it things."""

    host: EmbeddedHost | SimHost
    organism: Organism
    operator: Bus

    @property
    def world(self) -> World:
        """The person's own World."""
        return self.operator.world


Life = Callable[[Living], Coroutine[Any, Any, None]]
Make = Callable[[World], Sequence[Part]]


def all_parts(world: World) -> list[Part]:
    """Every built-in part with simulated adapters: what they sense and keep is beside the point here."""
    base = world if isinstance(world, SimWorld) else SimWorld(ENV, SEED)
    parts = [find_part(name) for name in BUILT_IN if name != "organs.records"]
    return [*(part.simulate(base.fork(part.name)) for part in parts), RecordsOrgan(MemoryRecords())]


def live_sim(life: Life, make: Make = all_parts, seed: int = SEED) -> None:
    """Let an organism live on a simulated server."""

    async def whole() -> None:
        world = SimWorld(ENV, seed)
        host = SimHost(world, Trouble())
        organism = Organism(host, load({}, {"env": ENV, "site": SITE, "home": "/nonexistent"}, SITE))
        await _live(host, organism, life, make(world))

    simulate(whole)


def live_nats(life: Life, folder: Path, make: Make = all_parts, settings: Mapping[str, str] | None = None) -> None:
    """Let an organism live on a real server of its own, with these settings besides."""

    async def whole() -> None:
        chosen = {"env": ENV, "site": SITE, "home": str(folder), "beat_ms": BEAT_MS}
        loaded = load({}, {**chosen, "database_url": "postgresql://nobody@nowhere/nothing", **(settings or {})}, SITE)
        world = RealWorld(ENV)
        Keys(loaded.settings, world, CHEAP)
        host = EmbeddedHost(loaded.settings)
        await host.start()
        try:
            await _live(host, Organism(host, loaded), life, make(world))
        finally:
            await host.stop()

    asyncio.run(whole())


async def _live(host: EmbeddedHost | SimHost, organism: Organism, life: Life, parts: Sequence[Part]) -> None:
    try:
        await organism.start(parts)
        operator = Bus(host.world("operator"), await host.wire("operator"), "operator", "1", [])
        await life(Living(host, organism, operator))
        await operator.drain()
    finally:
        await organism.stop()
