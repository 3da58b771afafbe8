"""Repeating a run from its record: the same workers' code, a folder of its own, and nobody decides but the bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from organs.trainer.carrying import record_of
from organs.trainer.data import Materials
from organs.trainer.port import Crew
from organs.trainer.recipes import recipe_of
from organs.trainer.run import Live, Run
from shared.constant import constant
from shared.errors import ConfigFault, Refusal, Refused
from shared.files import private_folder
from shared.subjects.training import CheckpointVoted, JobSpec, WorkerVote
from shared.training.jobs import check_spec, job_of
from shared.training.record import RunRecord
from shared.training.votes import count
from shared.world import World

REPEATER = constant("reproduce", "identity", "ILL-04")
#: What `--alter` may change besides a hyperparameter.
_WHOLE = ("seed", "steps", "workers")


class OwnCourt:
    """Counts votes as the log's nerve does, and keeps nothing."""

    def __init__(self, job: str) -> None:
        self.job, self._keys = job, dict[str, bytes]()

    async def running(self, attempt: int, step: int, keys: Mapping[str, bytes], reason: str) -> None:
        self._keys = dict(keys)

    async def count(self, step: int, votes: Sequence[WorkerVote]) -> CheckpointVoted:
        counted, void = count(self.job, step, self._keys, votes)
        tally = counted.tally()
        about = (self.job, step, tally.digest, tally.registered, tally.agreeing, tally.fraction_ppm)
        return CheckpointVoted(*about, tally.agreed, counted.voted, void)

    async def keep(self, step: int, raw: bytes) -> None:
        pass

    async def preempted(self, attempt: int, step: int) -> None:
        pass


class Repeating:
    """One repetition. Owns its folder's content while it goes on."""

    def __init__(self, spec: JobSpec, crew: Crew, materials: Materials, folder: Path, world: World) -> None:
        self.spec, self.crew, self.materials, self.folder, self.world = spec, crew, materials, folder, world
        self.live = Live()

    async def go(self) -> RunRecord:
        """Return the record of the repeated run. Refused, RunFailed, Fault where there is none."""
        self._check()
        private_folder(self.folder)
        data = await self.materials.fetch(self.spec, self.folder / "data")
        job = job_of(self.spec, REPEATER)
        run = Run(job, self.spec, self.folder / "data", self.folder, self.crew, OwnCourt(job), self.world)
        run.live = self.live
        outcome = await run.carry_out()
        assert outcome is not None, "nobody stops a repetition"
        return record_of(run, outcome, data)

    def _check(self) -> None:
        recipe = recipe_of(self.spec.family)
        wrong = check_spec(self.spec) or recipe.check(self.spec)
        if wrong is not None:
            raise Refused(wrong)
        missing = self.crew.missing(self.spec.backend)
        if missing:
            raise Refused(Refusal("T002", missing))


def altered(spec: JobSpec, given: Sequence[str]) -> JobSpec:
    """Return a spec with what each FIELD=NUMBER changes; ConfigFault for a field that is none."""
    for item in given:
        name, _, number = item.partition("=")
        name = name.removeprefix("hyperparameters.")
        if not number.removeprefix("-").isdecimal() or not (name in _WHOLE or name in spec.hyperparameters):
            known = ", ".join((*_WHOLE, *spec.hyperparameters))
            raise ConfigFault(f"--alter {item!r}: write FIELD=NUMBER, FIELD one of {known}")
        if name in _WHOLE:
            spec = msgspec.structs.replace(spec, **{name: int(number)})
        else:
            spec = msgspec.structs.replace(spec, hyperparameters={**spec.hyperparameters, name: int(number)})
    return spec
