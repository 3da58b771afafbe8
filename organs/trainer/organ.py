"""The trainer organ: carries out the jobs that the log decided on, with worker processes that may die at any moment.

It knows nothing that the log does not: which jobs there are, where each stands and what was agreed on last is read from
it when the organ opens, so a trainer that was killed goes on where its workers last agreed.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import weakref
from collections.abc import Collection
from pathlib import Path
from typing import ClassVar

from organs.trainer.asking import Asking
from organs.trainer.backends import Backends
from organs.trainer.carrying import Bench, Carrying
from organs.trainer.data import Materials
from organs.trainer.known import Known, fold, fold_added, moved_policy
from organs.trainer.memory import SimCrew
from organs.trainer.permission import Permission
from organs.trainer.port import Crew
from organs.trainer.power import Power
from organs.trainer.processes import ProcessCrew
from shared.artifacts import ArtifactStore, MemoryStore, store_of
from shared.config import Settings
from shared.constant import constant
from shared.errors import Fault, Refused
from shared.home import place
from shared.journal import record
from shared.message import Request
from shared.part import Garden
from shared.part.organ import Organ, OwnLog
from shared.subjects.artifacts import RegisterArtifact
from shared.subjects.consensus import ProposalStatus
from shared.subjects.datasets import DatasetStatus
from shared.subjects.energy import PowerWindowDecided, PowerWindowRequest
from shared.subjects.policy import CheckPolicy, PolicyMoved
from shared.subjects.system import Tick
from shared.subjects.training import (
    CountVotes,
    JobMoved,
    JobProgressed,
    JobSubmitted,
    JudgeJob,
    MoveJob,
    RecordRun,
    RegisterWorkers,
)
from shared.vault import people_of
from shared.world import SimWorld, World

LEAVE_S = constant(3.0, "s", "ILL-02")  # for workers to reach a checkpoint when the trainer is told to stop


class TrainerOrgan(Organ):
    """Starts workers, has their votes counted, keeps what they agree on. Owns the tasks that carry jobs out."""

    name: ClassVar[str] = "trainer"
    version: ClassVar[str] = "1.0.0"
    garden: ClassVar[Garden] = "real"
    cost_ulf: ClassVar[int] = constant(1_000_000, "micro-lifeforce", "ILL-02")
    asks: ClassVar[tuple[type[Request], ...]] = (
        JudgeJob,
        MoveJob,
        RegisterWorkers,
        CountVotes,
        RecordRun,
        RegisterArtifact,
        DatasetStatus,
        ProposalStatus,
        PowerWindowRequest,
        CheckPolicy,
    )

    def __init__(  # noqa: PLR0913 - its ports
        self,
        world: World,
        site: str,
        folder: Path | None,
        *,
        metered: bool,
        store: ArtifactStore,
        crew: Crew,
        materials: Materials,
    ) -> None:
        """`folder` is where jobs have theirs; None has one made for this life alone. `metered`: see Power."""
        self.world, self.site, self.folder, self.metered = world, site, folder, metered
        self.store, self.crew, self.materials = store, crew, materials
        self.known: dict[str, Known] = {}
        self.added = set[str]()  #: the added policies that are in use
        self._carrying: dict[str, Carrying] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._own: weakref.finalize[..., TrainerOrgan] | None = None  #: removes a folder made for this life

    @classmethod
    def build(cls, settings: Settings, world: World) -> TrainerOrgan:
        home, store = place(settings), store_of(settings, world)
        crew = ProcessCrew(Backends(settings.home / "backends"), world)
        materials = Materials(store, people_of(settings, world))
        return cls(
            *(world, settings.site, home / "training" / "jobs"),
            metered=settings.metered,
            store=store,
            crew=crew,
            materials=materials,
        )

    @classmethod
    def simulate(cls, world: SimWorld) -> TrainerOrgan:
        store = MemoryStore()
        materials = Materials(store, None)
        return cls(world, "here", None, metered=False, store=store, crew=SimCrew(world), materials=materials)

    def again(self, world: SimWorld) -> TrainerOrgan:
        folder = None if self._own is not None else self.folder  # what was made for one life ends with it
        return TrainerOrgan(
            *(world, self.site, folder),
            metered=self.metered,
            store=self.store,
            crew=self.crew,
            materials=self.materials,
        )

    def workers(self) -> Collection[int]:
        teams = [carrying.run.team for carrying in self._carrying.values() if carrying.run is not None]
        return [pid for team in teams if team is not None for pid in team.pids]

    async def open(self, log: OwnLog) -> None:
        """Read where every job stands, and go on with those that have not ended."""
        await self.store.prepare()
        if self.folder is None:
            self.folder = Path(tempfile.mkdtemp())
            self._own = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        asking = Asking(log, self.world)
        self.power = Power(asking, self.site, metered=self.metered)
        permission = Permission(asking, self.crew, log.env, self.added)
        ports = (asking, self.store, self.crew, self.materials, permission, self.power)
        self.bench = Bench(*ports, self.world, self.folder)
        async for verdict in log.replay():
            fold(self.known, verdict)
            fold_added(self.added, verdict)
        for known in self.known.values():
            if not known.ended:
                self._begin(known)

    async def close(self) -> None:
        """Ask the workers to stop at a checkpoint, wait a moment, and end whatever is left of them."""
        runs = {job: each.run for job, each in self._carrying.items() if each.run is not None and each.run.team}
        stopping = [self._tasks[job] for job in runs]
        for task in self._tasks.values():
            if task not in stopping:
                task.cancel()  # before it takes the seat of one that stops
        for run in runs.values():
            await run.stop()
        if stopping:
            await asyncio.wait(stopping, timeout=LEAVE_S)
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await self.store.close()
        if self._own is not None:
            self._own()
            self.folder, self._own = None, None

    async def on_submitted(self, submitted: JobSubmitted) -> None:
        """Begin with a job that is new."""
        if submitted.job not in self.known:
            self.known[submitted.job] = Known(submitted.job, submitted.spec)
            self._begin(self.known[submitted.job])

    async def on_moved(self, moved: JobMoved) -> None:
        """Take note of where a job stands; one that was cancelled is ended here, its workers too."""
        known = self.known.get(moved.job)
        if known is None or known.ended:
            return
        known.moved(moved)
        task = self._tasks.get(moved.job)
        if moved.state == "cancelled" and task is not None:
            task.cancel()

    async def on_policy(self, moved: PolicyMoved) -> None:
        """Take note of which added policies have to be asked."""
        moved_policy(self.added, moved)

    async def on_window(self, decided: PowerWindowDecided) -> None:
        """Look again at the power of every job, where the window changed by itself."""
        if decided.site == self.site and not decided.purpose:
            self.power.turn()

    async def on_tick(self, tick: Tick) -> list[JobProgressed]:
        """Say how far the jobs are."""
        runs = [carrying.run for carrying in self._carrying.values() if carrying.run and carrying.run.team]
        return [
            JobProgressed(
                run.job,
                run.attempt,
                run.live.step,
                run.spec.steps,
                run.live.loss_micro,
                run.live.samples_per_s,
                run.live.pace_ppm,
            )
            for run in runs
        ]

    def _begin(self, known: Known) -> None:
        task = asyncio.get_running_loop().create_task(self._carry(known))
        self._tasks[known.job] = task
        task.add_done_callback(lambda _: self._tasks.pop(known.job, None))

    async def _carry(self, known: Known) -> None:
        """Carry one job out."""
        self._carrying[known.job] = carrying = Carrying(self.bench, known)
        try:
            await carrying.go()
        except asyncio.CancelledError:
            if known.ended:
                carrying.forget()
            raise
        except (Fault, Refused) as trouble:  # the log itself cannot be told; the next start finds the job as it was
            record(self.name, "job_left", job=known.job, detail=str(trouble))
        finally:
            del self._carrying[known.job]
