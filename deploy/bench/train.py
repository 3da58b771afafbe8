"""`bench train`: what a sample costs where workers train as replicas and vote, beside the bare loop in one process.

The network is the tour's. A short and a long run are measured, and the difference of the least of each taken, so that
neither Python's start nor the last measurement counts. Every worker trains every sample: several gain certainty, not
speed. So what is told is what one of several spends on a sample beside one alone, in processor time, because more
workers than cores wait for each other.
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
BENCH_STEPS = constant(200, "steps", "ZER-10")  # at most; a sample of far fewer drowns in starting
SHORT_STEPS = constant(10, "steps", "ZER-10")
BENCH_TRAILS = constant(2_000, "trails", "ZER-10")
TRAIN_ROUNDS = constant(3, "rounds", "ZER-10")
DATASET = "0" * 64


@dataclass(frozen=True, slots=True)
class TrainFigure:
    """So many workers, each of which trains every sample."""

    workers: int
    samples: int  #: of one worker
    cpu_us: float  #: of processor time, for each sample of each worker
    per_cpu_s: float  #: samples in a second of processor time of all workers together; one that all train is one
    to_loop: float  #: what one of them spends, over the bare loop
    to_one: float  #: the same, over a worker that is alone


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
        bench = _Bench(world, crew, folder)
        taken: dict[int, list[tuple[float, float]]] = {workers: [] for workers in (0, *replicas)}
        for _ in range(TRAIN_ROUNDS):
            for workers, rounds in taken.items():
                rounds.append((await bench.run(workers, SHORT_STEPS), await bench.run(workers, SHORT_STEPS + steps)))
        samples = SMALL["batch"] * steps
        least = {workers: [min(one) for one in zip(*rounds, strict=True)] for workers, rounds in taken.items()}
        us = {n: (long_s - short_s) / max(n, 1) / samples * 1e6 for n, (short_s, long_s) in least.items()}
        return [
            TrainFigure(n, samples, us[n], 1e6 / us[n] / n, us[n] / us[0], us[n] / us[replicas[0]]) for n in replicas
        ]


class _Bench:
    """The same job again and again, each time with other steps and workers."""

    def __init__(self, world: RealWorld, crew: ProcessCrew, folder: Path) -> None:
        self.world, self.crew, self.folder, self.runs = world, crew, folder, 0

    async def run(self, workers: int, steps: int) -> float:
        """Return the processor seconds of one run: of all workers, or of the bare loop where there is none."""
        self.runs += 1
        place = self.folder / str(self.runs)
        private_folder(place)
        if not workers:
            return await asyncio.to_thread(self._loop, steps, place)
        before_s = _children_s()
        spec = _spec(workers, steps)
        run = Run("bench", spec, self.folder / "data", place, self.crew, OwnCourt("bench"), self.world)
        await run.carry_out()
        return _children_s() - before_s

    def _loop(self, steps: int, out: Path) -> float:
        import torch

        from shared.boundary.training.descent import Watch
        from shared.boundary.training.training import train

        torch.set_num_threads(1)
        raw = (self.folder / "data" / f"{DATASET}{SUFFIX}").read_bytes().splitlines()
        lines = (msgspec.json.decode(line)["text"].encode() for line in raw)
        trails = read_lines(lines, "the bench", TASK)
        began_s = self.world.cpu_s()
        train(plan_of(_spec(1, steps), trails.digest, b""), TASK, trails, b"", Watch(out, lambda _: None, self.world))
        return self.world.cpu_s() - began_s


def table(figures: Sequence[TrainFigure]) -> str:
    """Return the figures for people."""
    lines = [
        "every worker trains every sample: several gain certainty, not speed",
        "workers  µs CPU/sample of each  samples/CPU-s of all  × the bare loop  × one worker alone",
    ]
    lines += [
        f"{f.workers:>7}  {f.cpu_us:>21.1f}  {f.per_cpu_s:>20,.0f}  {f.to_loop:>15.2f}  {f.to_one:>18.2f}"
        for f in figures
    ]
    return "\n".join(lines)


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
