"""Leases on a real bus when things die: an organd in mid-answer, one that is frozen, the link, the server."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from deploy.soak.proxy import Proxy
from organs.organd.devices import Processor
from organs.organd.leases import Lasting
from organs.organd.ports import FENCE_S, Facts, Held, LoadFailed
from organs.organd.process import LOAD_S, Processes
from organs.organd.registry import Registry
from shared.bus import Bucket
from shared.bus.bucket import bucket_permissions
from shared.subjects.models import LEASES
from shared.world import RealWorld
from tests.faults.leased_program import TTL_S
from tests.gguf_models import write_gemma
from tests.ground import ENV, PATIENCE_S, NatsGround, play_nats, until
from tests.organds import SAYS, asked

PROGRAM = Path(__file__).with_name("leased_program.py")
ROOT = PROGRAM.parents[2]
BODY = b'{"model":"tiny","prompt":"x","stream":false,"options":{"num_predict":3}}'
KEY = "here.cpu"  #: of the device that they want
NO_ROOM = "another process holds the lease of cpu"


@dataclass
class Organd:
    """A process with an organd that has a home, a runtime folder and a bus identity of its own, as another user has."""

    process: asyncio.subprocess.Process
    link: Proxy | None
    url: str

    async def ask(self) -> tuple[int, Any]:
        """Ask its model something."""
        return await asyncio.to_thread(asked, f"{self.url}/api/generate", BODY, "POST")

    async def leaves(self) -> str:
        """When its model leaves: that is put off for as long as somebody uses it."""
        _, answer = await asyncio.to_thread(asked, f"{self.url}/api/ps", None, "GET")
        [model] = answer["models"]
        return model["expires_at"]

    async def answered(self, within_s: float) -> None:
        """Ask until it is answered; whatever is asked before that is refused by type, and later nothing is."""
        end_s = time.monotonic() + within_s
        while True:
            asked_s = time.monotonic()
            status, answer = await self.ask()
            if status == 200:
                return
            assert (503, True) == (status, NO_ROOM in answer["error"]), answer
            assert asked_s < end_s, f"refused after {within_s:g} s: {answer}"
            await asyncio.sleep(0.05)

    def worker(self) -> psutil.Process:
        """The process that its model is loaded in."""
        [worker] = psutil.Process(self.process.pid).children()
        return worker

    async def end(self) -> None:
        """End it in good order, or at least end it."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
        await self.process.wait()
        if self.link:
            await self.link.close()


class Here:
    """A bus with the leases' bucket, and organds on it."""

    def __init__(self, ground: NatsGround) -> None:
        self.ground = ground
        self.organds: list[Organd] = []

    async def organd(self) -> Organd:
        """Start one more, with the permissions that its declaration gives it and no others."""
        name = f"organd{len(self.organds)}"
        folder = self.ground.folder / name
        folder.mkdir()
        Registry(folder / "models", RealWorld(ENV)).add(write_gemma(folder / "g.gguf"), SAYS)
        await (await self.ground.wire(name, tuple(bucket_permissions(LEASES, ENV)), ())).close()
        return await self.start(name)

    async def start(self, name: str) -> Organd:
        """Start what lives under a name."""
        link = await Proxy.to(lambda: self.ground.server.port) if self.ground.links else None
        url = link.url if link else self.ground.server.url
        folder, nkey = self.ground.folder / name, self.ground.folder / f"{name}.nk"
        command = (sys.executable, str(PROGRAM), str(folder), url, str(nkey))
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, env=environment)
        assert process.stdout is not None
        self.organds.append(Organd(process, link, (await process.stdout.readline()).decode().strip()))
        return self.organds[-1]


def live(body: Callable[[Here], Coroutine[Any, Any, None]], folder: Path, *, links: bool = True) -> None:
    """Run a body, and leave no process behind."""

    async def whole(ground: NatsGround) -> None:
        here = Here(ground)
        await ground.create_bucket(TTL_S)
        try:
            await body(here)
        finally:
            for organd in here.organds:
                await organd.end()

    play_nats(whole, folder, links=links)


@pytest.mark.spec("NIM-16", "NIM-23")
def test_an_organd_killed_in_the_middle_leaves_its_device_to_another(tmp_path: Path) -> None:
    """Its worker dies with it, another user's organd is refused by type until the lease is over, and answered then."""

    async def body(here: Here) -> None:
        one, other = await here.organd(), await here.organd()
        assert 200 == (await one.ask())[0]
        worker = one.worker()
        worker.suspend()
        asking = asyncio.create_task(one.ask())
        status, answer = await other.ask()
        assert (503, True) == (status, NO_ROOM in answer["error"])
        one.process.kill()
        with pytest.raises(OSError):  # noqa: PT011 - the connection broke, however that is said
            await asking
        await until(lambda: not worker.is_running())
        await other.answered(TTL_S + 2)

    live(body, tmp_path)


@pytest.mark.spec("NIM-16")
def test_a_frozen_organd_is_fenced(tmp_path: Path) -> None:
    """Its guard ends the worker, though both are frozen; another takes the device; the first one wakes and says so."""

    async def body(here: Here) -> None:
        one, other = await here.organd(), await here.organd()
        assert 200 == (await one.ask())[0]
        worker, idle = one.worker(), await one.leaves()
        worker.suspend()
        asking = asyncio.create_task(one.ask())
        async with asyncio.timeout(PATIENCE_S):
            while await one.leaves() == idle:
                await asyncio.sleep(0.01)
        one.process.send_signal(signal.SIGSTOP)
        await until(lambda: worker.status() in ("zombie", "dead"))
        await other.answered(TTL_S + 2)
        one.process.send_signal(signal.SIGCONT)
        status, answer = await asking
        assert (503, True) == (status, "left its device while it was asked" in answer["error"]), answer
        status, answer = await one.ask()
        assert (503, True) == (status, NO_ROOM in answer["error"]), answer
        other.process.terminate()
        assert 0 == await other.process.wait()
        assert 200 == (await one.ask())[0]

    live(body, tmp_path)


@pytest.mark.spec("NIM-16", "NIM-23")
def test_an_organd_that_is_cut_off_gives_its_device_up(tmp_path: Path) -> None:
    """Its worker is ended before its lease is over on the bus; it is refused by type, and works again afterwards."""

    async def body(here: Here) -> None:
        one, other = await here.organd(), await here.organd()
        assert one.link is not None
        assert 200 == (await one.ask())[0]
        worker = one.worker()
        one.link.cut()
        assert 200 == (await one.ask())[0]
        await until(lambda: not worker.is_running())
        assert 503 == (await other.ask())[0]
        status, answer = await one.ask()
        assert (503, True) == (status, "nobody says who holds the lease" in answer["error"]), answer
        await other.answered(TTL_S + 2)
        await one.link.join()
        other.process.terminate()
        await other.process.wait()
        async with asyncio.timeout(PATIENCE_S):
            while (await one.ask())[0] != 200:
                await asyncio.sleep(0.05)

    live(body, tmp_path)


@pytest.mark.spec("NIM-16", "X-07")
def test_leases_outlive_the_server(tmp_path: Path) -> None:
    """Killed and started again, it knows who holds what: the same worker goes on, and nobody else gets the device."""

    async def body(here: Here) -> None:
        one, other = await here.organd(), await here.organd()
        assert 200 == (await one.ask())[0]
        worker = one.worker()
        here.ground.kill()
        bucket = Bucket(here.ground.admin, ENV, LEASES)
        await until(lambda: here.ground.restarts == 1 and here.ground.admin.connected)
        first = (await bucket.get(KEY)).revision
        async with asyncio.timeout(TTL_S * 2):
            while (await bucket.get(KEY)).revision < first + 2 * TTL_S:  # it is older than its time by then
                await asyncio.sleep(0.1)
        assert 200 == (await one.ask())[0]
        assert worker.pid == one.worker().pid
        assert 503 == (await other.ask())[0]

    live(body, tmp_path, links=False)


@pytest.mark.spec("NIM-16")
def test_the_next_organd_of_the_same_user_need_not_wait(tmp_path: Path) -> None:
    """Whoever holds the local lock of the one that was killed knows that nothing of it is left."""

    async def body(here: Here) -> None:
        one = await here.organd()
        assert 200 == (await one.ask())[0]
        worker = one.worker()
        one.process.kill()
        await one.process.wait()
        await until(lambda: not worker.is_running())
        again = await here.start("organd0")
        assert 200 == (await again.ask())[0]

    live(body, tmp_path)


@pytest.mark.spec("NIM-16")
def test_a_load_ends_with_its_lease(tmp_path: Path) -> None:
    """Also while llama.cpp waits for the disk and lets nothing else in its process run, the guard ends it in time."""
    stuck = tmp_path / "stuck.gguf"
    os.mkfifo(stuck)  # whoever opens it waits for a writer that never comes

    class Ending(Lasting):
        token = 1

    async def body() -> None:
        world = RealWorld(ENV)
        lease = Ending()
        lease.until_s = world.elapsed_s()
        facts = Facts("gemma3", 256, 32, 1, "F32", embeds=False)
        with pytest.raises(LoadFailed, match="killed by SIGKILL"):
            await Processes(tmp_path, world).start(
                Held("stuck:latest", stuck, "", 0, 0, facts), Processor().device, lease
            )
        assert FENCE_S <= world.elapsed_s() - lease.until_s < LOAD_S

    asyncio.run(body())
