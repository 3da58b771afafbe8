"""An organd of its own whose lease is on a bus: `leased_program.py FOLDER URL NKEY`; says where it answers."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from organs.organd.bus_leases import BusLeases, Terms, holder_of
from organs.organd.devices import Processor
from organs.organd.leases import FileLeases
from organs.organd.process import Processes
from organs.organd.registry import Registry
from organs.organd.rest import Rest
from organs.organd.service import Service
from organs.organd.supervisor import Supervisor
from shared.bus import Bucket
from shared.bus.connecting import connect
from shared.subjects.models import LEASES
from shared.world import RealWorld

TERMS = Terms(renew_s=0.5, again_s=0.2, call_s=1.0, hold_s=4.0)
TTL_S = 7.0


async def main(folder: Path, url: str, nkey: Path) -> None:
    """Serve until SIGTERM."""
    world, stopping = RealWorld("dev"), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    wire = await connect(url, nkey.stem, nkey=nkey)
    models, runtime = Registry(folder / "models", world), folder / "run"
    runtime.mkdir(mode=0o700, exist_ok=True)
    leases = BusLeases(FileLeases(runtime), Bucket(wire, world.env, LEASES), world, holder_of("here", world), TERMS)
    supervisor = Supervisor(models, Processor(1, leased=True), Processes(runtime, world), leases, world)
    rest = Rest(Service(supervisor, models, world), None)
    await rest.open(0)
    sys.stdout.write(f"{rest.url}\n")
    sys.stdout.flush()
    await stopping.wait()
    await rest.close()
    await supervisor.close()
    await wire.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
