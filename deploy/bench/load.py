"""The load of `bench attention`: faint waves at an even rate, from a process of its own.

    python -m deploy.bench.load URL NKEY_FILE

It publishes until its input ends, then prints how many waves a second it published. What it is late with it makes up
for, so that the rate is the one that was asked for or the figure says that it was not.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from deploy.host import OPERATOR
from shared.bus import Wire
from shared.bus.connecting import connect
from shared.codec import encode
from shared.constant import constant
from shared.envelope import rfc3339
from shared.message import AnyWaveFields
from shared.world import RealWorld, World, new_id, now_ms

ENV = "dev"
LOAD_PER_S = constant(1_000, "waves/s", "NIM-07")
BURST = constant(10, "waves", "NIM-07")
LOAD_DOMAINS = ("light", "network", "vision", "speech", "motor", "position")
LOAD_SOURCES = constant(8, "sources", "NIM-07")
LOAD_PPM = constant(120_000, "ppm", "NIM-07")


class Load:
    """A load in a process of its own, and what it published."""

    def __init__(self, process: Process) -> None:
        self._process, self.per_s = process, 0.0

    async def end(self) -> None:
        """End it, and take down how many waves a second it published."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        out, _ = await self._process.communicate()
        self.per_s = float(out or 0)


@asynccontextmanager
async def loaded(url: str, nkey: Path) -> AsyncGenerator[Load]:
    """Put a load on a server for as long as the block runs; `per_s` is known after it."""
    words = (sys.executable, "-m", "deploy.bench.load", url, str(nkey))
    process = await asyncio.create_subprocess_exec(*words, stdin=PIPE, stdout=PIPE)
    load = Load(process)
    try:
        assert process.stdout is not None
        await process.stdout.readline()  # it publishes
        yield load
    finally:
        await load.end()


async def publish(wire: Wire, world: World, ended: asyncio.Event) -> float:
    """Publish waves until `ended`, and return how many a second that were."""
    start_s, felt = world.elapsed_s(), 0
    while not ended.is_set():
        for n in range(felt, felt + BURST):
            await _feel(wire, world, f"load-{n % LOAD_SOURCES}", LOAD_DOMAINS[n % len(LOAD_DOMAINS)])
        felt += BURST
        await world.sleep(max(start_s + felt / LOAD_PER_S - world.elapsed_s(), 0))
    return felt / (world.elapsed_s() - start_s)


async def _feel(wire: Wire, world: World, cell: str, domain: str) -> None:
    headers = {"ce-id": new_id(world).hex(), "ce-time": rfc3339(now_ms(world))}
    wave = encode(AnyWaveFields(domain, LOAD_PPM, domain, 1))
    await wire.publish(f"{ENV}.bench.cells.{cell}.wave", wave, headers)


async def _main(url: str, nkey: str) -> None:
    wire, ended = await connect(url, OPERATOR, nkey=Path(nkey), private_inbox=False), asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)  # its end is the word to stop
    sys.stdout.write("publishing\n")
    sys.stdout.flush()
    per_s = await publish(wire, RealWorld(ENV), ended)
    await wire.close()
    sys.stdout.write(f"{per_s}\n")


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
