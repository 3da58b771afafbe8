"""Where one training job stands: the fold of what was decided about it."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from shared.subjects.training import (
    CheckpointVoted,
    Digest,
    JobJudged,
    JobMoved,
    JobSpec,
    JobState,
    JobSubmitted,
    Reproduced,
    RunRecorded,
    WorkersRegistered,
)

Decisions: TypeAlias = (
    JobSubmitted | JobJudged | JobMoved | WorkersRegistered | CheckpointVoted | RunRecorded | Reproduced
)


class Job(msgspec.Struct, frozen=True):
    """One job. Without a spec nobody submitted it."""

    spec: JobSpec | None = None
    state: JobState = "pending"
    reason: str = ""
    learned: tuple[Digest, ...] = ()  #: what policy let it learn from last; empty where it may not start
    attempt: int = 0
    step: int = 0
    workers: dict[str, bytes] = {}
    digests: dict[int, Digest] = {}  #: that the workers agreed on, by step; as many as a job has steps at most
    agreed_step: int = 0  #: of the furthest checkpoint that the workers agreed on; 0 before the first
    agreed: Digest = ""
    agreed_ppm: int = 0
    agreed_of: int = 0  #: workers who could vote on it
    voted_ppm: int | None = None  #: of the last checkpoint voted on, agreed on or not
    fruitful: int = 0  #: the attempt in which that was; later ones have come to nothing yet
    record: Digest = ""
    model: Digest = ""


def evolved(job: Job, decision: Decisions) -> Job:
    """Return a job after one more decision about it."""
    match decision:
        case JobSubmitted():
            said: dict[str, object] = {"spec": decision.spec}
        case JobJudged():
            allowed = decision.judgement.allowed
            said = {"learned": tuple(each.dataset for each in decision.learned) if allowed else ()}
        case JobMoved():
            said = {name: getattr(decision, name) for name in ("state", "reason", "attempt", "step")}
        case WorkersRegistered():
            said = {"workers": decision.workers}
        case CheckpointVoted():
            said = {"voted_ppm": decision.fraction_ppm} | (_agreed(job, decision) if decision.agreed else {})
        case RunRecorded():
            said = {"record": decision.record, "model": decision.model}
        case Reproduced():
            return job
    return msgspec.structs.replace(job, **said)


def _agreed(job: Job, decision: CheckpointVoted) -> dict[str, object]:
    """Return what an agreement changes; one on an earlier step again, by a run that began anew, takes nothing back."""
    about: dict[str, object] = {"digests": job.digests | {decision.step: decision.digest}, "step": decision.step}
    about |= {"fruitful": job.attempt}
    if decision.step >= job.agreed_step:
        about |= {"agreed_step": decision.step, "agreed": decision.digest, "agreed_ppm": decision.fraction_ppm}
        about |= {"agreed_of": decision.registered}  # workers who could vote on it
    return about
