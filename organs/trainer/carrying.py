"""Carrying out one job, from permission to the record of its run."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass
from pathlib import Path

from organs.trainer.asking import NOWHERE, Asking, LogCourt
from organs.trainer.data import Materials
from organs.trainer.known import Known
from organs.trainer.permission import Permission
from organs.trainer.port import Begun, Crew
from organs.trainer.power import Power, Share
from organs.trainer.run import Outcome, Run, RunFailed
from shared.artifacts import ArtifactStore, read
from shared.canonical import canonical
from shared.checkpoints import keep, load
from shared.checkpoints.guardian import MAX_CHECKPOINT_BYTES
from shared.errors import Fault, Refused
from shared.files import private_folder
from shared.subjects.system import Decided
from shared.subjects.training import MoveJob, RecordRun
from shared.training.jobs import PPM
from shared.training.record import RunRecord
from shared.version import VERSION
from shared.world import World

RECORD_MEDIA_TYPE = "application/json"
_ENDED = "T007"


@dataclass(frozen=True, slots=True)
class Bench:
    """What jobs are carried out with."""

    asking: Asking
    store: ArtifactStore
    crew: Crew
    materials: Materials
    permission: Permission
    power: Power
    world: World
    place: Path


class Carrying:
    """One job while it is carried out. Owns its folder."""

    def __init__(self, bench: Bench, known: Known) -> None:
        self.bench, self.known = bench, known
        self.place = bench.place / known.job
        self.share = Share(bench.power, known.job, heavy=known.spec.heavy)
        self.run: Run | None = None

    async def go(self) -> None:
        """Carry the job out; whatever comes of it stands in the log."""
        try:
            await self._go()
        except Refused as no:
            if no.refusal.code != _ENDED:  # somebody cancelled it meanwhile
                await self._over(str(no), refused=self.run is None and not self.known.attempt)
        except (RunFailed, Fault) as failure:
            await self._over(str(failure), refused=False)
        finally:
            self.share.give()

    def forget(self) -> None:
        """Remove the job's folder: what counts is in the artifact store."""
        shutil.rmtree(self.place, ignore_errors=True)

    async def _go(self) -> None:
        bench, known = self.bench, self.known
        await bench.permission.check(known.job, known.spec)
        attempt = known.attempt - (known.state == "preempted")
        window = await self.share.begin(known.attempt, max(known.checkpoints, default=0))
        if self.share.waited:  # what was permitted then may not be so now
            await bench.permission.check(known.job, known.spec)
        private_folder(self.place)
        data = await bench.materials.fetch(known.spec, self.place / "data")
        court = LogCourt(bench.asking, bench.store, known.job)
        begun, why = await self._begun()
        self.run = run = Run(
            known.job, known.spec, self.place / "data", self.place, bench.crew, court, bench.world, begun
        )
        run.checkpoints = [(s, d) for s, d in sorted(known.checkpoints.items()) if begun and s <= begun.step]
        run.attempt, run.fruitful = attempt, known.fruitful
        court.window = (window.index, window.offset)
        await run.pace(self.share.pace(window))
        outcome = await self._in_power(run, f"{why} at {run.live.pace_ppm / PPM:.0%}")
        if outcome is not None:
            await self._record(outcome, data, court)
            self.forget()

    async def _in_power(self, run: Run, why: str) -> Outcome | None:
        """Run, and only while there is power."""
        following = asyncio.get_running_loop().create_task(self.share.follow(run))
        running = asyncio.get_running_loop().create_task(run.carry_out(why))
        try:
            await asyncio.wait((following, running), return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                following.result()  # it never ends well
            return await running
        finally:
            following.cancel()
            running.cancel()
            await asyncio.gather(following, running, return_exceptions=True)

    async def _begun(self) -> tuple[Begun | None, str]:
        """Return the checkpoint that was agreed on last, and in which words the run begins."""
        if not self.known.checkpoints:
            return None, "begins"
        step = max(self.known.checkpoints)
        digest = self.known.checkpoints[step]
        folder = self.place / "agreed"
        path = folder / f"{digest}.safetensors"
        try:
            await self.bench.crew.aside(load, path, digest)
        except Refused:
            try:
                raw = await read(self.bench.store, digest, MAX_CHECKPOINT_BYTES)
                _, path = await self.bench.crew.aside(keep, folder, raw)
            except (Refused, Fault) as gone:
                return None, f"begins anew, for the checkpoint of step {step} cannot be read: {gone}"
        return Begun(path, digest, step), f"goes on from the checkpoint of step {step}"

    async def _record(self, outcome: Outcome, data: dict[str, str], court: LogCourt) -> None:
        """Put what the run left into the store, and have the log say so."""
        assert self.run is not None
        finished, spec = outcome.finished, self.known.spec
        left = finished.left
        record = record_of(self.run, outcome, data)
        raw = {
            name: await self.bench.crew.aside((outcome.folder / name).read_bytes) for name in {left.weights, left.model}
        }
        weights = await court.register(raw[left.weights], "checkpoint", f"weights of {spec.family}", [])
        name, of = f"{spec.family} by {self.known.job}", _others(finished.model, [weights])
        model = await court.register(raw[left.model], "model", name, of, left.media_type)
        digest = await court.register(
            canonical(record), "other", f"record of {self.known.job}", _others("", [weights, model]), RECORD_MEDIA_TYPE
        )
        losses = [loss for _, loss in left.curve]
        if self.run.live.pace_ppm == 0:  # it was told to hold still when it was done already
            await self.bench.asking.tell(
                MoveJob(self.known.job, "running", "done", self.run.attempt, spec.steps, *NOWHERE)
            )
        await self.bench.asking.ask(
            RecordRun(self.known.job, digest, model, weights, losses, outcome.samples_per_s), Decided
        )

    async def _over(self, reason: str, *, refused: bool) -> None:
        """Have the log say that the job came to nothing."""
        known, run = self.known, self.run
        state = "refused" if refused else "failed"
        step = run.begun.step if run and run.begun else 0
        attempt = max(known.attempt, run.attempt if run else 0)
        try:
            await self.bench.asking.ask(MoveJob(known.job, state, reason, attempt, step, *NOWHERE), Decided)
        except Refused as no:
            if no.refusal.code != _ENDED:
                raise
        self.forget()


def record_of(run: Run, outcome: Outcome, data: dict[str, str]) -> RunRecord:
    """Return the record of a run that is over."""
    finished = outcome.finished
    left = finished.left
    return RunRecord(
        product=VERSION,
        spec=run.spec,
        sources=finished.sources,
        environment=finished.environment,
        data=data,
        checkpoints=outcome.checkpoints,
        curve=left.curve,
        parameters=left.parameters,
        measured=left.measured,
        weights=finished.weights,
        model=finished.model,
        model_bytes=finished.model_bytes,
        media_type=left.media_type,
    )


def _others(own: str, parents: list[str]) -> list[str]:
    """Return parents, each once, without the artifact itself: weights may be the model."""
    return [parent for parent in dict.fromkeys(parents) if parent != own]
