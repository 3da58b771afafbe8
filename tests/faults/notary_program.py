"""A notary as a process of its own: `notary_program.py URL NKEY SEED FOLDER`, signing at every beat until SIGTERM."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from organs.notary import FolderShelf, NotaryOrgan
from shared.bus import Bus
from shared.bus.connecting import connect
from shared.keys import LocalSigner
from shared.part import Runner
from shared.world import RealWorld
from tests.ground import ENV

BEAT_S = 0.005


class Hasty(RealWorld):
    """The real World, where every wait for the clock is over at the next beat."""

    def elapsed_s(self) -> float:
        return super().elapsed_s() * 100_000


async def main(url: str, nkey: Path, seed: str, folder: Path) -> None:
    """Notarise until SIGTERM; say when it has opened."""
    signer = LocalSigner(bytes.fromhex(seed))
    wire = await connect(url, "notary", nkey=nkey)
    world = Hasty(ENV)
    organ = NotaryOrgan(FolderShelf(folder / "tiles", folder / "memory"), world)
    runner = Runner(organ, Bus(world, wire, "notary", "1", [signer]), beat_s=BEAT_S, handshake=False)
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    await runner.start()
    sys.stdout.write("notarising\n")
    sys.stdout.flush()
    while not stopping.is_set():
        runner.raise_if_broken()
        try:
            async with asyncio.timeout(0.05):
                await stopping.wait()
        except TimeoutError:
            continue
    await runner.stop()


if __name__ == "__main__":
    url, nkey, seed_file, folder = sys.argv[1:]
    asyncio.run(main(url, Path(nkey), Path(seed_file).read_text(), Path(folder)))
