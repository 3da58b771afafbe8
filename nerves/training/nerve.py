"""The training nerve: takes jobs or says why not, follows each through its states, and counts its workers' votes.

It starts nothing. The organ `trainer` hears what is decided here and does it; whatever that says happened is believed
only where it can be so: a job gets into no state that none leads to, none starts that policy did not let start, and no
run is recorded whose last checkpoint the registered workers do not agree on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, TypeAlias, cast

import msgspec

from nerves.training.job import Decisions, Job, evolved
from shared.canonical import digest_of
from shared.constant import constant
from shared.errors import KeyFault, Refusal
from shared.keys import check_public
from shared.part import Garden, Nerve
from shared.part.metrics import Declared, Readings
from shared.part.runner import Runner
from shared.policy import TRAINING, Policies
from shared.subjects.training import (
    CancelJob,
    CheckpointVoted,
    CountVotes,
    JobJudged,
    JobMoved,
    JobSpec,
    JobStated,
    JobStatus,
    JobSubmitted,
    JudgeJob,
    MoveJob,
    RecordReproduction,
    RecordRun,
    RegisterWorkers,
    Reproduced,
    RunRecorded,
    SubmitJob,
    WorkersRegistered,
)
from shared.training.jobs import ENDED, JOB_ATTEMPTS, JOB_REASON_CHARS, MOVES, check_spec, job_of
from shared.training.permission import given
from shared.training.votes import Tally, count

Running: TypeAlias = JudgeJob | MoveJob | CancelJob | RegisterWorkers | CountVotes | RecordRun
Heard: TypeAlias = SubmitJob | Running | RecordReproduction | JobStatus
Said: TypeAlias = Decisions | JobStated
VOID_TOLD = constant(64, "votes", "X-12")  # that do not count, by name, in one decision
CURVE = constant(200, "points", "X-12")


class Nothing(msgspec.Struct, frozen=True):
    """The window: all that it decides from is in the log or in the request."""


def _agreement(runner: Runner) -> Readings:
    states = cast("dict[str, Job]", runner.mind.states if runner.mind else {})
    going = ((job, state) for job, state in tuple(states.items()) if state.state not in ENDED)
    return {(job,): state.voted_ppm / 1e6 for job, state in going if state.voted_ppm is not None}


class TrainingNerve(Nerve[Job, Nothing]):
    """What is asked about jobs in; what became of them out. One lane for each job."""

    name: ClassVar[str] = "training"
    version: ClassVar[str] = "1.0.0"
    garden: ClassVar[Garden] = "real"
    unchecked: ClassVar[Mapping[str, str]] = {
        "rerun": "made-up requests are about no job; tests/spec/test_training.py runs its decisions again"
    }
    cost_ulf: ClassVar[int] = constant(500_000, "micro-lifeforce", "ILL-02")
    metrics: ClassVar[tuple[Declared, ...]] = (
        Declared(
            "checkpoint_consensus_fraction",
            "gauge",
            ("part", "job"),
            "Fraction of a job's workers that agreed on the checkpoint last voted on; no sample once the job ended.",
            "COL-13",
            _agreement,
        ),
    )

    def __init__(self) -> None:
        self.policies = Policies.shipped()

    def digests(self) -> dict[str, str]:
        return {"policy": self.policies.digest}

    def entity(self, message: Heard) -> str | None:
        return job_of(message.spec, message.by) if isinstance(message, SubmitJob) else message.job

    def evolve(self, state: Job, decision: Decisions) -> Job:
        return evolved(state, decision)

    def decide(self, state: Job, window: Nothing, message: Heard, now_ms: int) -> tuple[Nothing, list[Said] | Refusal]:
        if isinstance(message, SubmitJob):
            return window, _submitted(state, message)
        if state.spec is None:
            return window, Refusal("T001", f"found {message.job[:80]!r}; `nimmerverse train jobs` shows them")
        if isinstance(message, JobStatus):
            return window, [_stated(state, message.job, state.spec.steps)]
        if isinstance(message, RecordReproduction):
            return window, _reproduced(state, message)
        if state.state in ENDED:
            return window, Refusal("T007", f"{message.job} is {state.state}; submit another with its own reason")
        return window, _went_on(state, state.spec, message, self.policies)


def _went_on(state: Job, spec: JobSpec, message: Running, policies: Policies) -> list[Said] | Refusal:
    """Decide about a job that has not ended."""
    match message:
        case JudgeJob():
            return _judged(spec, message, policies)
        case MoveJob():
            return _moved(state, spec, message)
        case CancelJob():
            moved = (message.job, state.state, "cancelled", message.reason[:JOB_REASON_CHARS])
            return [JobMoved(*moved, state.attempt, state.step, -1, 0)]
        case RegisterWorkers():
            return _registered(state, spec.workers, message)
        case CountVotes():
            return _voted(state, spec.steps, message)
        case RecordRun():
            return _recorded(state, spec, message)


def _submitted(state: Job, asked: SubmitJob) -> list[Said] | Refusal:
    job = job_of(asked.spec, asked.by)
    if state.spec is not None:
        return Refusal("T012", f"{job} is {state.state}; give another reason or seed to train again")
    wrong = check_spec(asked.spec)
    if wrong is not None:
        return wrong
    return [JobSubmitted(job, asked.spec, digest_of(asked.spec), asked.by)]


def _judged(spec: JobSpec, asked: JudgeJob, policies: Policies) -> list[Said] | Refusal:
    """Decide whether a job may start, by what is known of all that it names."""
    unsaid = {*spec.datasets} - {each.dataset for each in asked.learned}
    if unsaid:
        return Refusal("T006", f"{asked.job} learns from {min(unsaid)}, and nothing is said of that")
    judgement = policies.evaluate(TRAINING, given(spec, asked)).judgement()
    return [JobJudged(asked.job, asked.environment, asked.learned, asked.proposal, judgement)]


def _moved(state: Job, spec: JobSpec, asked: MoveJob) -> list[Said] | Refusal:
    """Decide that a job is in another state, if one leads there."""
    if asked.state not in MOVES[state.state]:
        allowed = ", ".join(sorted(MOVES[state.state]))
        return Refusal("T011", f"{asked.job} is {state.state}; from there it gets to {allowed}, not to {asked.state}")
    if not 0 <= asked.step <= spec.steps:
        return Refusal("T011", f"step {asked.step} of {spec.steps}")
    if asked.state == "running" and not state.learned:
        return Refusal("T011", f"policy did not let {asked.job} start")
    again = asked.state == state.state == "running"
    if not state.attempt + again <= asked.attempt <= state.attempt + 1:
        return Refusal("T011", f"attempt {asked.attempt} after attempt {state.attempt}")
    if asked.state == "running" and asked.attempt - state.fruitful > JOB_ATTEMPTS:
        return Refusal("T011", f"{JOB_ATTEMPTS} attempts came to nothing; the job fails")
    place = (asked.window_index, asked.window_offset)
    about = (asked.job, state.state, asked.state, asked.reason[:JOB_REASON_CHARS], asked.attempt, asked.step)
    return [JobMoved(*about, *place)]


def _registered(state: Job, workers: int, asked: RegisterWorkers) -> list[Said] | Refusal:
    """Decide who may vote in an attempt: as many as the job names, each with a key of its own."""
    if state.state != "running" or asked.attempt != state.attempt:
        return Refusal("T011", f"{asked.job} is {state.state} in attempt {state.attempt}, so nobody is registered")
    if len(asked.workers) != workers or len(set(asked.workers.values())) != workers:
        return Refusal("T003", f"the job has {workers} workers, each with its own key; found {sorted(asked.workers)}")
    try:
        for public in asked.workers.values():
            check_public(public)
    except KeyFault as fault:
        return Refusal("T003", str(fault))
    return [WorkersRegistered(asked.job, asked.attempt, asked.workers)]


def _voted(state: Job, steps: int, asked: CountVotes) -> list[Said] | Refusal:
    """Decide what the votes on a checkpoint come to; one that was agreed on before is never agreed on otherwise."""
    if not 0 < asked.step <= steps:
        return Refusal("T011", f"step {asked.step} of {steps}")
    counted, void = count(asked.job, asked.step, state.workers, asked.votes)
    tally = counted.tally()
    agreed = tally.agreed
    before = state.digests.get(asked.step, tally.digest)
    if agreed and tally.digest != before:
        agreed, void = False, [f"all: step {asked.step} was agreed on as {before}", *void]
    told = void[:VOID_TOLD] + ([f"and {len(void) - VOID_TOLD} more"] if len(void) > VOID_TOLD else [])
    return [_voting(asked, tally, agreed, counted.voted, told)]


def _voting(asked: CountVotes, tally: Tally, agreed: bool, votes: dict[str, str], void: list[str]) -> CheckpointVoted:  # noqa: FBT001 - a field
    about = (asked.job, asked.step, tally.digest, tally.registered, tally.agreeing, tally.fraction_ppm)
    return CheckpointVoted(*about, agreed, votes, void)


def _recorded(state: Job, spec: JobSpec, asked: RecordRun) -> list[Said] | Refusal:
    """Decide that a run ended well; its last checkpoint is its weights, and the workers agreed on just these."""
    if state.state != "running":
        return Refusal("T011", f"{asked.job} is {state.state}, so no run of it can end")
    if state.agreed_step != spec.steps:
        return Refusal("T008", f"the workers agreed on step {state.agreed_step} of {spec.steps} last")
    if state.agreed != asked.weights:
        return Refusal("T008", f"the workers agreed on {state.agreed}, the run left {asked.weights[:80]!r}")
    if len(asked.losses_micro) > CURVE:
        return Refusal("T003", f"{len(asked.losses_micro)} points of a loss curve, at most {CURVE} may be")
    made = (asked.record, asked.model, asked.weights, [*state.learned], state.agreed_ppm)
    told = (asked.losses_micro, asked.samples_per_s, state.agreed_of)
    done = (asked.job, state.state, "completed", "", state.attempt, spec.steps, -1, 0)
    return [RunRecorded(asked.job, spec.family, *made, *told, spec.base), JobMoved(*done)]


def _reproduced(state: Job, asked: RecordReproduction) -> list[Said] | Refusal:
    if not state.record or asked.record != state.record:
        return Refusal("T010", f"{asked.job} recorded {state.record or 'no run'}, found {asked.record[:80]!r}")
    return [Reproduced(asked.job, asked.record, asked.verdict, asked.detail[:JOB_REASON_CHARS])]


def _stated(state: Job, job: str, steps: int) -> JobStated:
    where = (state.state, state.reason, state.attempt, state.step, steps)
    return JobStated(job, *where, state.record, state.model)
