"""Costs are measured: own steps, threads, workers, energy, bytes, elapsed time; and a part without lifeforce rests."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import pytest

from deploy.load import BUILT_IN, ON_REQUEST, find_part
from shared.bus import Bus
from shared.errors import Refusal
from shared.machine import Machine, SimMachine, ThisMachine
from shared.part import Runner
from shared.part.meter import Meter, Spending, in_thread, lifeforce, metered, own_cpu_s
from shared.part.rest import BELIEVED_S
from shared.subjects.system import LifeforceTold
from shared.world import RealWorld, SimWorld, simulate
from tests.ground import SimGround
from tests.parts import Ask, BenchCell, Said

BURN_S = 0.05


def burn() -> None:
    """Use some processor time."""
    until = time.thread_time() + BURN_S
    while time.thread_time() < until:
        pass


def zone(folder: Path, name: str, energy_uj: int, range_uj: int = 1_000) -> Path:
    """A counter of energy as Linux shows it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "energy_uj").write_text(f"{energy_uj}\n")
    (folder / "max_energy_range_uj").write_text(f"{range_uj}\n")
    return folder


@pytest.mark.spec("NIM-10")
def test_the_formula() -> None:
    """A second of one core is one lifeforce; ten joules are one, 100 MB are one, 100 seconds of waiting are one; what
    the machine does not report is not in it.
    """
    one = 1_000_000
    assert one == lifeforce(1_000_000, None, 0, 0) == lifeforce(0, 10_000_000, 0, 0)
    assert one == lifeforce(0, None, 100_000_000, 0) == lifeforce(0, None, 0, 100_000_000)
    assert 4 * one == lifeforce(1_000_000, 10_000_000, 100_000_000, 100_000_000)


@pytest.mark.spec("NIM-10")
def test_energy_is_read_where_linux_reports_it(tmp_path: Path) -> None:
    """Packages and the memory beside them add up, cores and the whole board are not counted twice, and a counter that
    began again goes on.
    """
    package = zone(tmp_path / "intel-rapl:0", "package-0", 900)
    zone(tmp_path / "intel-rapl:0:0", "core", 500)
    zone(tmp_path / "intel-rapl:0:1", "dram", 30)
    zone(tmp_path / "intel-rapl:1", "psys", 5_000)
    machine = ThisMachine(tmp_path)
    assert 930 == machine.energy_uj()
    zone(package, "package-0", 100)
    assert 1_130 == machine.energy_uj()


@pytest.mark.spec("NIM-10")
def test_energy_that_nobody_reports_is_unknown_not_zero(tmp_path: Path) -> None:
    """Without counters, and where one of them cannot be read, the energy is None."""
    assert None is ThisMachine(tmp_path).energy_uj()
    package = zone(tmp_path / "intel-rapl:0", "package-0", 900)
    zone(tmp_path / "intel-rapl:1", "package-1", 900)
    machine = ThisMachine(tmp_path)
    (package / "energy_uj").unlink()
    assert None is machine.energy_uj()


@pytest.mark.spec("NIM-10", "X-08")
@pytest.mark.parametrize("machine", [ThisMachine(), SimMachine(), SimMachine(40)])
def test_a_machine_says_what_work_costs(machine: Machine) -> None:
    """Both adapters: what was used never falls, and of a process that is not there nothing is said."""
    first, second = (machine.busy_us(), machine.energy_uj()), (machine.busy_us(), machine.energy_uj())
    assert first[0] <= second[0]
    assert (first[1] is None) == (second[1] is None)
    assert (first[1] or 0) <= (second[1] or 0)
    assert None is machine.worked_us(2**22 + 1)


@pytest.mark.spec("NIM-10")
def test_only_own_steps_count() -> None:
    """Of two parts in one process that work in turn each has its own processor time, also what it did in a thread."""
    world = RealWorld("dev")
    busy, idle = Spending(), Spending()

    async def work(*, hard: bool) -> str:
        for _ in range(3):
            if hard:
                burn()
            await asyncio.sleep(0)
        if hard:
            assert own_cpu_s(world) >= 3 * BURN_S
        else:
            assert own_cpu_s(world) < BURN_S
        if hard:
            with ThreadPoolExecutor(1) as pool:
                await in_thread(burn, pool)
                await in_thread(burn)
        return "done"

    async def both() -> tuple[str, str]:
        return await asyncio.gather(
            asyncio.ensure_future(_awaited(metered(work(hard=True), busy, world))),
            asyncio.ensure_future(_awaited(metered(work(hard=False), idle, world))),
        )

    assert ["done", "done"] == list(asyncio.run(both()))
    assert busy.cpu_ns >= 5 * BURN_S * 1e9
    assert idle.cpu_ns < BURN_S * 1e9


async def _awaited(work: metered[str]) -> str:
    return await work


@pytest.mark.spec("NIM-10", "X-07")
def test_what_is_metered_can_fail_and_be_cancelled() -> None:
    """An error, a time limit and a cancellation pass through as if nobody measured."""
    world = RealWorld("dev")

    async def fails() -> None:
        await asyncio.sleep(0)
        raise ValueError("as asked")

    async def main() -> None:
        with pytest.raises(ValueError, match="as asked"):
            await metered(fails(), Spending(), world)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await metered(asyncio.sleep(60), Spending(), world)
        task = asyncio.ensure_future(_awaited(metered(_forever(), Spending(), world)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


async def _forever() -> str:
    await asyncio.Event().wait()
    return ""


@pytest.mark.spec("NIM-10")
def test_workers_and_energy_are_the_parts_own() -> None:
    """A worker counts from its start to its end, and stays counted; of the energy a part has its share of the work."""

    async def main() -> None:
        world = SimWorld("dev", 1)
        machine = world.machine = SimMachine(10)
        meter = Meter(world, alone=False)
        for worked_us, busy_us, workers in ((300, 1_000, (7,)), (500, 2_000, (7,)), (0, 3_000, ())):
            machine.worked, machine.busy = ({7: worked_us} if workers else {}), busy_us
            meter.look(workers)
        measured = meter.read(0)
        assert (500, 5_000) == (measured.cpu_us, measured.energy_uj)
        machine.watts = None
        meter.look(())
        assert None is meter.read(0).energy_uj

    simulate(main)


@pytest.mark.spec("NIM-10")
def test_what_a_process_used_before_its_part_was_at_work_is_nobodys_cost() -> None:
    """A part that is alone in its process is charged all of it from the moment on at which it works: no imports."""
    world = RealWorld("dev")
    assert world.cpu_s() > 0.2, "this process has imported much"
    meter = Meter(world, alone=True)
    meter.begin()
    assert meter.read(0).cpu_us < 100_000
    until = world.cpu_s() + 0.15
    while world.cpu_s() < until:
        pass
    assert meter.read(0).cpu_us >= 150_000


class Resting(BenchCell):
    """A part that may rest."""

    rests: ClassVar[bool] = True


def told(*, resting: bool) -> LifeforceTold:
    """The thalamus's word."""
    return LifeforceTold(resting, 0, 7, 0)


@pytest.mark.spec("NIM-10", "NIM-23")
def test_a_part_that_may_rest_rests_and_says_why() -> None:
    """While there is no lifeforce it refuses requests by name and says in its heartbeat that it rests; it wakes when
    it is told so, and where nobody has told it anything for longer than a beat.
    """

    async def main() -> None:
        ground = SimGround()
        bus = Bus(ground.world.fork("cell"), await ground.wire("bench"), "bench", "1", [])
        runner = Runner(Resting(), bus, handshake=False)
        await runner.start()
        asker = Bus(ground.world, await ground.wire("asker"), "asker", "1", [])
        assert isinstance(await asker.request(Ask("one")), Said)
        for how in ("told", "forgotten"):
            await asker.emit(told(resting=True))
            await ground.world.sleep(1)
            no = await asker.request(Ask(f"two {how}"))
            assert isinstance(no, Refusal)
            assert ("B014", True) == (no.code, runner.pulse(1).resting)
            assert "the balance of beat 7 is 0 ulf" in no.detail
            if how == "told":
                await asker.emit(told(resting=False))
            await ground.world.sleep(1 if how == "told" else BELIEVED_S + 10)
            assert isinstance(await asker.request(Ask(f"three {how}")), Said)
        await runner.stop()

    simulate(main)


@pytest.mark.spec("NIM-10", "NIM-13")
def test_what_keeps_safe_never_rests() -> None:
    """Only what explores, remembers and speaks may rest: never a reflex, a gate, collision avoidance, the way home, the
    motors, the account itself, or whatever keeps the log.
    """
    parts = [find_part(name) for name in (*BUILT_IN, *ON_REQUEST)]
    assert {"cognition", "boundary", "memory", "exploration"} == {cls.name for cls in parts if cls.rests}
