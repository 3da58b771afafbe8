"""One run of one job: attempts with a team of workers, from one agreed checkpoint to the next, until it is over.

Whatever happens to a worker, all of them go on from the last checkpoint that was agreed on; a step is computed again
rather than trusted. A checkpoint without agreement is a silent divergence found: the attempt ends there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from organs.trainer.frames import Failed, Finished, Stepped, StoppedAt, Voted
from organs.trainer.port import Attempt, Begun, Crew, Ended, Team, Word
from shared.checkpoints import discard, keep, load
from shared.constant import constant
from shared.errors import Refused
from shared.subjects.training import CheckpointVoted, JobSpec, WorkerVote
from shared.training.jobs import JOB_ATTEMPTS, PPM
from shared.training.votes import VOTING_S
from shared.world import World, within

STALL_S = constant(900.0, "s", "ILL-02")  #: how long workers that may compute say nothing before they count as dead
POWER_LOOK_S = constant(5.0, "s", "ILL-02")  #: how often somebody looks whether a vote's time is over


class Court(Protocol):
    """Whoever decides what is so: the log, or for a repetition a count of one's own."""

    async def running(self, attempt: int, step: int, keys: Mapping[str, bytes], reason: str) -> None:
        """Say that an attempt begins, by these workers. Refused T011 where no more are allowed."""
        ...

    async def count(self, step: int, votes: Sequence[WorkerVote]) -> CheckpointVoted:
        """Have the votes on a checkpoint counted."""
        ...

    async def keep(self, step: int, raw: bytes) -> None:
        """Keep what was agreed on, beyond this machine's memory."""
        ...

    async def preempted(self, attempt: int, step: int) -> None:
        """Say that the workers stopped before the end, and what they had is kept."""
        ...


class RunFailed(Exception):
    """A run is over, and came to nothing; another attempt would not help."""


class _Again(Exception):
    """An attempt is over, and the next one may do better."""


@dataclass(slots=True)
class Live:
    """How far a run is, for whoever watches; owned by the run."""

    step: int = 0
    loss_micro: int = 0
    samples_per_s: int = 0
    attempt: int = 0
    pace_ppm: int = PPM


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: what was left, and where it lies."""

    finished: Finished
    folder: Path  #: of a worker that agrees
    checkpoints: tuple[tuple[int, str], ...]  #: agreed on, step and digest, first to last
    samples_per_s: int


@dataclass(slots=True)
class Run:
    """One run. Owns its team, and the folder `place`."""

    job: str
    spec: JobSpec
    data: Path
    place: Path
    crew: Crew
    court: Court
    world: World
    begun: Begun | None = None
    attempt: int = 0
    fruitful: int = 0  #: the attempt in which something was agreed on last
    checkpoints: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    live: Live = field(default_factory=Live)
    team: Team | None = None
    _stopping: bool = False

    async def carry_out(self, reason: str = "") -> Outcome | None:
        """Return how the run ended, None where it was stopped before. Raises RunFailed, Refused and the court's."""
        while self.attempt - self.fruitful < JOB_ATTEMPTS:
            self.attempt += 1
            try:
                return await self._attempt(reason)
            except _Again as again:
                reason = str(again)
        raise RunFailed(f"{JOB_ATTEMPTS} attempts came to nothing: {reason}")

    async def pace(self, ppm: int) -> None:
        """Have the workers compute for this share of the time, now and in later attempts."""
        self.live.pace_ppm = ppm
        if self.team is not None:
            await self.team.pace(ppm)

    async def stop(self) -> None:
        """Have the workers stop at their next checkpoint, and the run with them."""
        self._stopping = True
        if self.team is not None:
            await self.team.stop()

    async def _attempt(self, reason: str) -> Outcome | None:
        """Run until the workers are done; where they were told to stop from outside, go on with others at once."""
        while True:
            attempt = Attempt(self.job, self.attempt, self.spec, self.data, self.place, self.begun, self.live.pace_ppm)
            self.team = team = await self.crew.start(attempt)
            try:
                self.live.attempt = self.attempt
                await self.court.running(self.attempt, self.begun.step if self.begun else 0, team.keys, reason)
                outcome = await _Hearing(self, team).to_the_end()
            finally:
                self.team = None
                await team.end()
            if outcome is not None:
                return outcome
            await self.court.preempted(self.attempt, self.begun.step if self.begun else 0)
            if self._stopping:
                return None
            reason = "the workers were told to stop, and begin again from their checkpoint"

    async def agree(self, step: int, voted: CheckpointVoted, files: Mapping[str, str]) -> None:
        """Take over an agreed checkpoint from a worker that has it: read, verified, and kept here too."""
        sure = next(worker for worker, digest in voted.votes.items() if digest == voted.digest)
        try:
            raw = await self.crew.aside(load, Path(files[sure]), voted.digest)
        except Refused as no:
            raise _Again(f"the checkpoint of step {step} that all agree on is not what lies there: {no}") from None
        digest, path = await self.crew.aside(keep, self.place / "agreed", raw)
        await self.court.keep(step, raw)
        if not self.checkpoints or self.checkpoints[-1][0] < step:  # workers that died after it vote on it again
            self.checkpoints.append((step, digest))
        self.begun, self.fruitful = Begun(path, digest, step), self.attempt
        await self.crew.aside(discard, self.place / "agreed", digest)


class _Hearing:
    """What a run hears from one team. Owns the votes that are not counted yet."""

    def __init__(self, run: Run, team: Team) -> None:
        self.run, self.team, self.world = run, team, run.world
        self._votes: dict[int, dict[str, WorkerVote]] = {}
        self._files: dict[int, dict[str, str]] = {}
        self._first_s: dict[int, float] = {}
        self._finished: dict[str, Finished] = {}
        self._stopped: set[str] = set()
        self._heard_s = self.world.elapsed_s()
        self._samples: dict[str, int] = {}
        self._first: dict[str, tuple[float, int]] = {}  #: when a worker told of steps first, and of how many samples

    async def to_the_end(self) -> Outcome | None:
        """Hear until all are done; None where they stopped as they were told. Raises _Again, RunFailed."""
        while True:
            with contextlib.suppress(TimeoutError):
                await self._hear(await within(POWER_LOOK_S, self.team.hear()))
            await self._count_due()
            if len(self._finished) == len(self.team.keys) and not self._votes:
                return self._outcome()
            if len(self._stopped) + len(self._finished) == len(self.team.keys) and self._stopped:
                await self._count_all()
                return None
            if not self.run.live.pace_ppm:
                self._heard_s = self.world.elapsed_s()  # who holds still has nothing to say
            if self.world.elapsed_s() - self._heard_s > STALL_S:
                raise _Again(f"the workers said nothing for {STALL_S:g} s")

    async def _hear(self, word: Word) -> None:
        worker, said = word
        self._heard_s = self.world.elapsed_s()
        match said:
            case Stepped():
                self._samples[worker] = said.samples
                self._first.setdefault(worker, (self._heard_s, said.samples))
                self._tell(said)
            case Voted():
                self._votes.setdefault(said.step, {})[worker] = WorkerVote(worker, said.digest, said.signature)
                self._files.setdefault(said.step, {})[worker] = said.file
                self._first_s.setdefault(said.step, self._heard_s)
            case Finished():
                self._finished[worker] = said
            case StoppedAt():
                self._stopped.add(worker)
            case Failed():
                if said.code:
                    raise RunFailed(said.reason)
                raise _Again(f"{worker}: {said.reason}")
            case Ended():
                if worker not in self._finished and worker not in self._stopped:
                    raise _Again(f"{worker} ended before its run did ({said.how})")

    def _tell(self, said: Stepped) -> None:
        live = self.run.live
        if said.step > live.step or live.attempt != self.run.attempt:
            live.step, live.loss_micro = said.step, said.loss_micro
        live.samples_per_s = self._rate()

    def _rate(self) -> int:
        """Return how many samples a worker took in a second since its first word, the slowest of them."""
        rates = [
            (self._samples[worker] - samples) / (self._heard_s - at_s)
            for worker, (at_s, samples) in self._first.items()
            if self._heard_s > at_s
        ]
        return round(min(rates, default=0.0))

    async def _count_due(self) -> None:
        """Have votes counted where every worker has voted, or the time for it is over."""
        for step in sorted(self._votes):
            late = self.world.elapsed_s() - self._first_s[step] >= VOTING_S
            if len(self._votes[step]) == len(self.team.keys) or late:
                await self._count(step)

    async def _count_all(self) -> None:
        """Have counted what all voted for before they stopped; the rest is forgotten."""
        for step in sorted(self._votes):
            if len(self._votes[step]) == len(self.team.keys):
                await self._count(step)

    async def _count(self, step: int) -> None:
        voted = await self.run.court.count(step, list(self._votes.pop(step).values()))
        if not voted.agreed:
            seen = ", ".join(f"{worker} {digest[:12]}" for worker, digest in sorted(voted.votes.items()))
            raise _Again(f"no agreement on step {step}: {voted.agreeing} of {voted.registered} ({seen})")
        await self.run.agree(step, voted, self._files.pop(step))
        await self.team.agreed(step)

    def _outcome(self) -> Outcome:
        """Return how the run ended, where all workers left the same."""
        [worker, *others] = sorted(self._finished)
        finished = self._finished[worker]
        for other in others:
            if self._finished[other] != finished:
                raise _Again(f"{worker} and {other} agree on the weights and left different models")
        folder = self.run.place / worker
        return Outcome(finished, folder, tuple(self.run.checkpoints), self._rate())
