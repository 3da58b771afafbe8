"""Where one training job stands: the fold of what was decided about it."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from shared.subjects.training import (
    CheckpointVoted,
    Digest,
    JobMoved,
    JobSpec,
    JobState,
    JobSubmitted,
    Reproduced,
    RunRecorded,
    WorkersRegistered,
)

Decisions: TypeAlias = JobSubmitted | JobMoved | WorkersRegistered | CheckpointVoted | RunRecorded | Reproduced


class Job(msgspec.Struct, frozen=True):
    """One job. Without a spec nobody submitted it."""

    spec: JobSpec | None = None
    state: JobState = "pending"
    reason: str = ""
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
            return msgspec.structs.replace(job, spec=decision.spec)
        case JobMoved():
            moved = {"state": decision.state, "reason": decision.reason}
            return msgspec.structs.replace(job, **moved, attempt=decision.attempt, step=decision.step)
        case WorkersRegistered():
            return msgspec.structs.replace(job, workers=decision.workers)
        case CheckpointVoted():
            voted = msgspec.structs.replace(job, voted_ppm=decision.fraction_ppm)
            return _agreed(voted, decision) if decision.agreed else voted
        case RunRecorded():
            return msgspec.structs.replace(job, record=decision.record, model=decision.model)
        case _:
            return job


def _agreed(job: Job, decision: CheckpointVoted) -> Job:
    """Return a job after an agreement; one on an earlier step again, by a run that began anew, takes nothing back."""
    about = {"digests": job.digests | {decision.step: decision.digest}, "step": decision.step, "fruitful": job.attempt}
    if decision.step >= job.agreed_step:
        about |= {"agreed_step": decision.step, "agreed": decision.digest, "agreed_ppm": decision.fraction_ppm}
        about["agreed_of"] = decision.registered  # workers who could vote on it
    return msgspec.structs.replace(job, **about)
