"""Both crews, worker processes and simulated ones: the same words, the same checkpoints, the same outcome."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from organs.trainer.backends import Backends
from organs.trainer.data import Materials
from organs.trainer.frames import Finished, Stepped, Voted
from organs.trainer.memory import SimCrew
from organs.trainer.port import Attempt, Begun, Crew, Ended, Word
from organs.trainer.processes import ProcessCrew
from organs.trainer.repeating import Repeating
from shared.artifacts import FolderStore, MemoryStore
from shared.subjects.training import JobSpec
from shared.training.jobs import PPM
from shared.training.record import RunRecord
from shared.world import RealWorld, SimWorld, World, simulate
from tests.trainings import changed, line_spec, pairs, stored

Body = Callable[[Crew, World, Path], Coroutine[Any, Any, None]]
CREWS = ("processes", "simulated")


def on_crew(kind: str, folder: Path, body: Body) -> None:
    """Run a body on one of the crews."""
    if kind == "processes":
        world = RealWorld("dev")
        asyncio.run(body(ProcessCrew(Backends(folder), world), world, folder))
        return

    async def whole() -> None:
        world = SimWorld("dev", 1)
        await body(SimCrew(world), world, folder)

    simulate(whole)


async def _materials(folder: Path, world: World) -> tuple[Materials, JobSpec]:
    store = MemoryStore() if isinstance(world, SimWorld) else FolderStore(folder / "artifacts", world)
    await store.prepare()
    return Materials(store, None), line_spec(await stored(store, pairs()))


async def _words(crew: Crew, attempt: Attempt) -> list[Word]:
    team = await crew.start(attempt)
    words: list[Word] = []
    try:
        while sum(isinstance(said, Ended) for _, said in words) < len(team.keys):
            words.append(await team.hear())
            if isinstance(words[-1][1], Voted):
                await team.agreed(words[-1][1].step)
    finally:
        await team.end()
    assert [] == list(team.pids)
    return words


@pytest.mark.spec("ILL-02")
@pytest.mark.parametrize("kind", CREWS)
def test_every_worker_steps_votes_finishes_and_ends_in_that_order(kind: str, tmp_path: Path) -> None:
    """Each of two workers votes on all ten checkpoints, then says what it left, then ends well; both say the same."""

    async def body(crew: Crew, world: World, folder: Path) -> None:
        materials, spec = await _materials(folder, world)
        await materials.fetch(spec, folder / "data")
        words = await _words(crew, Attempt("job", 1, spec, folder / "data", folder, None, PPM))
        left: list[Finished] = []
        for worker in ("worker-0", "worker-1"):
            said = [each for name, each in words if name == worker]
            assert list(range(5, 51, 5)) == [each.step for each in said if isinstance(each, Voted)]
            assert any(isinstance(each, Stepped) for each in said)
            assert isinstance(said[-2], Finished)
            assert isinstance(said[-1], Ended)
            assert said[-1].well
            left.append(said[-2])
        assert left[0] == left[1]

    on_crew(kind, tmp_path, body)


@pytest.mark.spec("ILL-13")
def test_many_workers_leave_what_one_process_leaves(tmp_path: Path) -> None:
    """One worker inside this process and each of two worker processes have the same at every checkpoint."""
    votes: list[set[tuple[int, str]]] = []

    for kind, workers in (("simulated", 1), ("processes", 2)):

        async def body(crew: Crew, world: World, folder: Path, workers: int = workers) -> None:
            materials, spec = await _materials(folder, world)
            await materials.fetch(spec, folder / "data")
            attempt = Attempt("job", 1, changed(spec, workers=workers), folder / "data", folder, None, PPM)
            votes.append(
                {(said.step, said.digest) for _, said in await _words(crew, attempt) if isinstance(said, Voted)}
            )

        (tmp_path / kind).mkdir()
        on_crew(kind, tmp_path / kind, body)
    assert votes[0] == votes[1] != set()


@pytest.mark.spec("ILL-02", "COL-08")
@pytest.mark.parametrize("kind", CREWS)
def test_who_goes_on_from_a_checkpoint_leaves_the_same(kind: str, tmp_path: Path) -> None:
    """A team that begins with the checkpoint of step 25 votes on the rest alone, and for the same digests."""

    async def body(crew: Crew, world: World, folder: Path) -> None:
        materials, spec = await _materials(folder, world)
        await materials.fetch(spec, folder / "data")
        votes: list[dict[int, str]] = []
        begun: Begun | None = None
        for place in ("first", "second"):
            words = await _words(crew, Attempt("job", 1, spec, folder / "data", folder / place, begun, PPM))
            voted = [said for worker, said in words if worker == "worker-0" and isinstance(said, Voted)]
            votes.append({said.step: said.digest for said in voted})
            if begun is None:
                begun = await _kept(crew, materials, spec, folder, votes[0][25])
        assert {step: digest for step, digest in votes[0].items() if step > 25} == votes[1]

    on_crew(kind, tmp_path, body)


async def _kept(crew: Crew, materials: Materials, spec: JobSpec, folder: Path, digest: str) -> Begun:
    """The checkpoint of step 25, taken from a team before anybody says that it need not be kept."""
    team = await crew.start(Attempt("job", 1, spec, folder / "data", folder / "kept", None, PPM))
    try:
        while True:
            _, said = await team.hear()
            if isinstance(said, Voted) and said.step < 25:
                await team.agreed(said.step - 5)
            if isinstance(said, Voted) and said.step == 25:
                path = folder / "taken.safetensors"
                shutil.copyfile(said.file, path)
                assert digest == said.digest
                return Begun(path, digest, 25)
    finally:
        await team.end()


@pytest.mark.spec("ILL-04")
def test_both_crews_leave_the_same_bytes(tmp_path: Path) -> None:
    """What a simulated crew leaves is what worker processes leave: simulations are about the real thing."""
    found: list[RunRecord] = []

    async def body(crew: Crew, world: World, folder: Path) -> None:
        materials, spec = await _materials(folder, world)
        found.append(await Repeating(spec, crew, materials, folder / "run", world).go())

    for kind in CREWS:
        (tmp_path / kind).mkdir()
        on_crew(kind, tmp_path / kind, body)
    real, simulated = found
    assert (real.checkpoints, real.weights, real.curve) == (simulated.checkpoints, simulated.weights, simulated.curve)
