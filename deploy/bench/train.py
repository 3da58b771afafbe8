"""`bench train`: what a sample costs where workers train as replicas and vote, beside the bare loop in one process.

The network is the tour's. A short and a long run are measured, and their difference taken, so that neither Python's
start nor the last measurement counts. Efficiency is what one worker spends on a sample over what each of several
does: 1 is linear, and it is told in processor time, because more workers than cores wait for each other.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from deploy.tour_model import SMALL
from organs.trainer.backends import Backends
from organs.trainer.boundary_recipe import RECIPE, plan_of
from organs.trainer.processes import ProcessCrew
from organs.trainer.records import SUFFIX
from organs.trainer.repeating import OwnCourt
from organs.trainer.run import Run
from shared.boundary.task import TASK
from shared.boundary.training.trails import made_up, read_lines, written
from shared.constant import constant
from shared.errors import Refusal, Refused
from shared.files import private_folder
from shared.subjects.training import JobSpec
from shared.world import RealWorld

REPLICAS = (1, 2, 4, 8)
BENCH_STEPS = constant(200, "steps", "ZER-10")  # at most: with eight workers that is minutes
SHORT_STEPS = constant(10, "steps", "ZER-10")
BENCH_TRAILS = constant(2_000, "trails", "ZER-10")
DATASET = "0" * 64
KIB = 1024


@dataclass(frozen=True, slots=True)
class TrainFigure:
    """So many workers, each of which trains every sample."""

    workers: int
    samples: int  #: of one worker
    cpu_us: float  #: of processor time, for each sample of each worker
    per_cpu_s: float  #: samples in a second of processor time
    ratio: float  #: to the bare loop
    efficiency: float  #: against linear
    peak_mib: float  #: of the largest worker


async def measure_train(world: RealWorld, steps: int, replicas: Sequence[int] = REPLICAS) -> list[TrainFigure]:
    """Train for `steps` with each number of workers, and alone. Refused T002 where PyTorch is not installed."""
    with TemporaryDirectory(prefix="nimmerverse-bench-") as name:
        folder = Path(name)
        crew = ProcessCrew(Backends(folder / "backends"), world)
        missing = crew.missing("torch")
        if missing:
            raise Refused(Refusal("T002", missing))
        data = folder / "data"
        await asyncio.to_thread(_write, data)
        bench = _Bench(world, crew, folder, SMALL["batch"] * steps)
        alone_us = await asyncio.to_thread(bench.alone, steps)
        figures: list[TrainFigure] = []
        for workers in replicas:
            cpu_us = await bench.team(workers, steps)
            first_us = figures[0].cpu_us if figures else cpu_us
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / KIB
            rates = (1e6 / cpu_us, cpu_us / alone_us, first_us / cpu_us)
            figures.append(TrainFigure(workers, bench.samples, cpu_us, *rates, peak))
        return figures


class _Bench:
    """The same job again and again, each time with other steps and workers."""

    def __init__(self, world: RealWorld, crew: ProcessCrew, folder: Path, samples: int) -> None:
        self.world, self.crew, self.folder, self.samples = world, crew, folder, samples

    async def team(self, workers: int, steps: int) -> float:
        """Return the microseconds of processor time that each worker spends on a sample."""
        short, long = [await self._run(workers, more) for more in (SHORT_STEPS, SHORT_STEPS + steps)]
        return (long - short) / workers / self.samples * 1e6

    def alone(self, steps: int) -> float:
        """Return the microseconds of processor time that a sample takes in the bare loop."""
        import torch

        torch.set_num_threads(1)
        self._loop(1)  # whatever is loaded once is loaded now
        short, long = [self._loop(more) for more in (SHORT_STEPS, SHORT_STEPS + steps)]
        return (long - short) / self.samples * 1e6

    async def _run(self, workers: int, steps: int) -> float:
        """Return the processor seconds of every worker of one run."""
        spec, place = _spec(workers, steps), self.folder / f"{workers}-{steps}"
        private_folder(place)
        before_s = _children_s()
        run = Run("bench", spec, self.folder / "data", place, self.crew, OwnCourt("bench"), self.world)
        await run.carry_out()
        return _children_s() - before_s

    def _loop(self, steps: int) -> float:
        from shared.boundary.training.descent import Watch
        from shared.boundary.training.training import train

        spec, out = _spec(1, steps), self.folder / f"alone-{steps}"
        private_folder(out)
        raw = (self.folder / "data" / f"{DATASET}{SUFFIX}").read_bytes().splitlines()
        lines = (msgspec.json.decode(line)["text"].encode() for line in raw)
        trails = read_lines(lines, "the bench", TASK)
        began_s = self.world.cpu_s()
        train(plan_of(spec, trails.digest, b""), TASK, trails, b"", Watch(out, lambda _: None, self.world))
        return self.world.cpu_s() - began_s


def table(figures: Sequence[TrainFigure]) -> str:
    """Return the figures for people."""
    head = "workers  µs CPU/sample  samples/CPU-s  to the loop  of linear      peak"
    return "\n".join(
        [
            head,
            *(
                f"{f.workers:>7}  {f.cpu_us:>13.1f}  {f.per_cpu_s:>13,.0f}  {f.ratio:>10.2f}×  {f.efficiency:>8.1%}"
                f"  {f.peak_mib:>4.0f} MiB"
                for f in figures
            ),
        ]
    )


def _spec(workers: int, steps: int) -> JobSpec:
    return JobSpec(
        family="boundary",
        recipe=RECIPE.name,
        backend="torch",
        datasets=[DATASET],
        base="",
        hyperparameters=SMALL,
        seed=1,
        steps=steps,
        workers=workers,
        heavy=False,
        reason="bench",
        proposal="",
    )


def _write(data: Path) -> None:
    private_folder(data)
    lines = written(made_up(TASK, BENCH_TRAILS, seed=1).all).decode().splitlines()
    rows = (msgspec.json.encode({"text": line}) + b"\n" for line in lines)
    (data / f"{DATASET}{SUFFIX}").write_bytes(b"".join(rows))


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
