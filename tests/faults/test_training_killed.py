"""Workers and the trainer are killed in the middle of a run: what comes of it is the same, byte for byte."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import psutil
import pytest

from deploy.attach import living
from deploy.host import OPERATOR
from deploy.load import find_part
from organs.trainer.backends import Backends
from organs.trainer.carrying import record_of
from organs.trainer.data import Materials
from organs.trainer.processes import ProcessCrew
from organs.trainer.repeating import OwnCourt, Repeating
from organs.trainer.run import Run, RunFailed
from shared.artifacts import ArtifactStore, FolderStore, read, store_of
from shared.bus import Bus
from shared.config import load
from shared.errors import Refused
from shared.files import private_folder
from shared.home import Keys, nkey_path
from shared.keys.sealed import CHEAP
from shared.subjects.datasets import RegisterDataset
from shared.subjects.system import Decided
from shared.subjects.training import CheckpointVoted, JobSpec, JobStated, JobStatus, SubmitJob, WorkerVote
from shared.training.jobs import ENDED, job_of
from shared.training.record import MAX_RECORD_BYTES, RunRecord, read_record
from shared.world import RealWorld
from tests.commands import Home, Living
from tests.trainings import boundary_spec, changed, facts, line_spec, pairs, stored, trail_lines

WORLD = RealWorld("dev")
PATIENCE_S = 60.0
TRAINER = "organs.trainer"


class KillingCourt(OwnCourt):
    """Sends a signal to a worker when the votes on some steps are counted."""

    def __init__(self, job: str, run: Run, kills: dict[int, signal.Signals]) -> None:
        super().__init__(job)
        self.run, self.kills = run, kills
        self.begun: list[str] = []
        self.stopped = 0

    async def running(self, attempt: int, step: int, keys: object, reason: str) -> None:
        """Take down why an attempt began."""
        self.begun.append(reason)
        await super().running(attempt, step, keys, reason)  # type: ignore[arg-type]

    async def count(self, step: int, votes: Sequence[WorkerVote]) -> CheckpointVoted:
        """Kill one that lives, then count."""
        assert self.run.team is not None
        if step in self.kills:
            number = self.kills.pop(step)
            for pid in list(self.run.team.pids)[-1:]:
                os.kill(pid, number)
        return await super().count(step, votes)

    async def preempted(self, attempt: int, step: int) -> None:
        """Take down that the workers stopped as they were told."""
        self.stopped += 1


async def _repeated(spec: JobSpec, store: ArtifactStore, folder: Path) -> RunRecord:
    """What a run leaves when nobody disturbs it."""
    return await Repeating(spec, ProcessCrew(Backends(folder), WORLD), Materials(store, None), folder, WORLD).go()


async def _killed(
    spec: JobSpec, store: ArtifactStore, folder: Path, kills: dict[int, signal.Signals]
) -> tuple[RunRecord, KillingCourt]:
    """What it leaves when workers are killed as the votes on these steps are counted."""
    private_folder(folder)
    data = await Materials(store, None).fetch(spec, folder / "data")
    run = Run("job", spec, folder / "data", folder, ProcessCrew(Backends(folder), WORLD), OwnCourt("job"), WORLD)
    run.court = court = KillingCourt("job", run, dict(kills))
    outcome = await run.carry_out()
    assert outcome is not None
    return record_of(run, outcome, data), court


def _store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "artifacts", WORLD)


@pytest.mark.spec("ILL-02", "COL-08", "ILL-04")
def test_a_worker_killed_at_any_checkpoint_changes_no_bit(tmp_path: Path) -> None:
    """Kill -9 at the first, at a middle and at the last checkpoint leaves the same record.

    A worker waits once five of its checkpoints are not agreed on, so the first two kills find a living one, each in an
    attempt of its own; when the votes on the last are counted, all may be done.
    """

    async def main() -> None:
        store = _store(tmp_path)
        await store.prepare()
        spec = line_spec(await stored(store, pairs()), steps=150, hyperparameters={"keep_every": 10})
        calm = await _repeated(spec, store, tmp_path / "calm")
        kills: dict[int, signal.Signals] = {10: signal.SIGKILL, 60: signal.SIGKILL, 150: signal.SIGKILL}
        wild, court = await _killed(spec, store, tmp_path / "wild", kills)
        assert calm == wild
        assert {} == court.kills
        assert all("killed by SIGKILL" in reason for reason in court.begun[1:])
        assert 3 <= len(court.begun) <= 4

    asyncio.run(main())


@pytest.mark.spec("ILL-02", "COL-08", "ILL-04")
def test_a_checkpoint_that_is_agreed_on_again_stands_once(tmp_path: Path) -> None:
    """Workers that died after their last vote are followed by others that vote on it again: the record has it once."""

    async def main() -> None:
        store = _store(tmp_path)
        await store.prepare()
        spec, folder = line_spec(await stored(store, pairs()), steps=20), tmp_path / "run"
        private_folder(folder)
        data = await Materials(store, None).fetch(spec, folder / "data")
        run = Run("job", spec, folder / "data", folder, ProcessCrew(Backends(folder), WORLD), OwnCourt("job"), WORLD)
        outcome = await run.carry_out()
        assert outcome is not None
        assert run.begun is not None
        votes: dict[str, str] = {"worker-0": run.begun.digest, "worker-1": run.begun.digest}
        again = CheckpointVoted("job", 20, run.begun.digest, 2, 2, 1_000_000, True, votes, [])  # noqa: FBT003 - agreed
        await run.agree(20, again, dict.fromkeys(votes, str(run.begun.path)))
        assert outcome.checkpoints == tuple(run.checkpoints)
        assert record_of(run, outcome, data).checkpoints == outcome.checkpoints

    asyncio.run(main())


@pytest.mark.spec("ILL-02", "COL-08", "ILL-04")
@pytest.mark.slow
def test_a_killed_worker_of_a_boundary_model_changes_no_bit(tmp_path: Path) -> None:
    """The real network, killed with -9 at its second checkpoint: weights and model are the same."""

    async def main() -> None:
        store = _store(tmp_path)
        await store.prepare()
        spec = boundary_spec(await stored(store, trail_lines(), "trails"), steps=35)
        calm = await _repeated(spec, store, tmp_path / "calm")
        wild, court = await _killed(spec, store, tmp_path / "wild", {10: signal.SIGKILL})
        assert (2, calm) == (len(court.begun), wild)

    asyncio.run(main())


@pytest.mark.spec("ILL-02")
def test_a_preempted_worker_keeps_its_checkpoint_and_the_run_goes_on(tmp_path: Path) -> None:
    """SIGTERM to a worker: it stops at a checkpoint and says so; what it had is gone on from, to the same record."""

    async def main() -> None:
        store = _store(tmp_path)
        await store.prepare()
        spec = line_spec(await stored(store, pairs()), steps=2_000, workers=1, hyperparameters={"keep_every": 1})
        spec = changed(spec, steps=60)
        calm = await _repeated(spec, store, tmp_path / "calm")
        wild, court = await _killed(spec, store, tmp_path / "wild", {5: signal.SIGTERM})
        assert (1, calm) == (court.stopped, wild)

    asyncio.run(main())


@pytest.mark.spec("COL-08", "COL-09")
def test_a_replica_that_computes_otherwise_is_found(tmp_path: Path) -> None:
    """One worker reads other data than the other: they never agree, and the run fails with what each saw."""

    class Bent(ProcessCrew):
        """Gives the second worker other data, as a silent fault of its machine would."""

        async def _join(self, team, attempt, rank, port) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
            data = attempt.data if rank == 0 else attempt.data.with_name("bent")
            from dataclasses import replace

            await super()._join(team, replace(attempt, data=data), rank, port)

    async def main() -> None:
        store = _store(tmp_path)
        await store.prepare()
        spec = line_spec(await stored(store, pairs()))
        await Materials(store, None).fetch(spec, tmp_path / "data")
        (tmp_path / "bent").mkdir()
        for file in (tmp_path / "data").iterdir():
            (tmp_path / "bent" / file.name).write_bytes(file.read_bytes().replace(b'"text":"0.5 ', b'"text":"0.25 '))
        run = Run("job", spec, tmp_path / "data", tmp_path, Bent(Backends(tmp_path), WORLD), OwnCourt("job"), WORLD)
        with pytest.raises(RunFailed, match=r"no agreement on step \d+: 1 of 2"):
            await run.carry_out()

    asyncio.run(main())


@pytest.mark.spec("ILL-02")
def test_a_recipe_that_refuses_ends_the_run_at_once(tmp_path: Path) -> None:
    """What no other attempt would help against is not tried again: a dataset of another kind is T006."""

    async def main() -> None:
        store = _store(tmp_path)
        await store.prepare()
        spec = line_spec(await stored(store, ["no numbers"]))
        with pytest.raises((RunFailed, Refused), match="T006"):
            await _repeated(spec, store, tmp_path / "run")

    asyncio.run(main())


class Trainer:
    """The trainer as a process of its own, which can be killed."""

    def __init__(self, home: Home, stack: ExitStack) -> None:
        nkey = nkey_path(load(home.environ, {}, "here").settings, "trainer")
        self.home = Home(home.folder, {**home.settings, "nats_nkey": str(nkey)}, (sys.executable, "-m", TRAINER))
        self.stack = stack
        self.process: Living | None = None

    async def start(self) -> None:
        """Start it, and return when it works."""
        self.process = self.stack.enter_context(self.home.living())
        await asyncio.to_thread(self.process.said, lambda line: " works in " in line)

    async def kill(self) -> None:
        """Kill it as the kernel does; its workers end with it."""
        assert self.process is not None
        workers = psutil.Process(self.process.pid).children()
        self.process.process.kill()
        await asyncio.to_thread(self.process.end)
        _, left = await asyncio.to_thread(psutil.wait_procs, workers, timeout=PATIENCE_S)
        assert [] == left


@pytest.mark.spec("ILL-02", "COL-07", "ILL-04")
@pytest.mark.parametrize("kills", [[40], pytest.param([1, 40, 120], marks=pytest.mark.slow)], ids=["once", "thrice"])
def test_a_trainer_killed_again_and_again_leaves_the_same_record(tmp_path: Path, kills: list[int]) -> None:
    """Kill -9 of the trainer while its workers vote: they end with it, the next trainer reads the log and goes on from
    what was agreed on, and the recorded run is the one that nobody disturbed.
    """
    home = Home.at(tmp_path / "home").without_records().set(beat_ms="500", energy_meter="none")
    loaded = load(home.environ, {}, "here")
    Keys(loaded.settings, WORLD, CHEAP)

    async def main(stack: ExitStack) -> None:
        store = store_of(loaded.settings, WORLD)
        await store.prepare()
        dataset = await stored(store, pairs())
        spec = line_spec(dataset, steps=200, hyperparameters={"keep_every": 1})
        calm = await _repeated(spec, store, tmp_path / "calm")
        parts = ("nerves.training", "organs.datasets", "organs.artifacts")
        async with AsyncExitStack() as organism_stack:
            host, organism = await organism_stack.enter_async_context(living(loaded, parts))
            await organism.grant(find_part("organs.trainer.organ").build(loaded.settings, host.world("trainer")))
            trainer = Trainer(home.set(nats_url=host.url), stack)
            await trainer.start()
            bus = Bus(host.world(OPERATOR), await host.wire(OPERATOR), OPERATOR, "1", [])
            known = await store.stat(dataset)
            about = facts("pairs", records=64)
            registered = await bus.request(RegisterDataset(dataset, known.sha256, known.size, about))
            assert isinstance(registered, Decided), registered
            submitted = await bus.request(SubmitJob(spec, "me"))
            assert isinstance(submitted, Decided), submitted
            for step in kills:
                await _reached(bus, spec, step)
                await trainer.kill()
                await trainer.start()
            stated = await _reached(bus, spec, 201)
            assert ("completed", 1 + len(kills)) == (stated.state, stated.attempt), stated
            assert calm == read_record(await read(store, stated.record, MAX_RECORD_BYTES))
            await bus.drain()
            await asyncio.to_thread(stack.close)

    with ExitStack() as stack:
        asyncio.run(main(stack))


async def _reached(bus: Bus, spec: JobSpec, step: int) -> JobStated:
    """Return where a job stands once it is so far, or has ended."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            stated = await bus.request(JobStatus(job_of(spec, "me")))
            if isinstance(stated, JobStated) and (stated.step >= step or stated.state in ENDED):
                return stated
            await asyncio.sleep(0.05)
