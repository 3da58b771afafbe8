"""Training: jobs as events, checkpoints that workers vote on, records by which runs are repeated (ILL-02, ILL-04)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from shared.message import Decision, Ppm, Reply, Request, Signal
from shared.subjects.datasets import DatasetUse, PiiState
from shared.subjects.registry import Judgement
from shared.subjects.system import Decided

JobState = Literal[
    "pending", "waiting", "running", "paused", "preempted", "completed", "failed", "cancelled", "refused"
]
Backend = Literal["torch", "tinygrad", "hivemind"]
Digest = str  #: BLAKE3, 64 hexadecimal digits


class JobSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that a run depends on besides its surroundings; shares in millionths."""

    family: str  #: `boundary`, `toxicity`, or one of your own
    recipe: str  #: name and version of the code that trains this family
    backend: str  #: a Backend; another one is refused T002
    datasets: list[Digest]
    base: Digest  #: the weights it goes on from; empty where it is new
    hyperparameters: dict[str, int]  #: whole numbers alone: learning rate as `learning_rate_ppm`
    seed: int
    steps: int
    workers: int
    heavy: bool  #: begins off-peak or from a full battery alone; beyond what policy calls light it has to be
    reason: str  #: why it is trained, or trained again
    proposal: str  #: the accepted proposal, or the name of an exemption that policy knows


class JobSubmitted(Decision, subject="lifecycle.training.event.{job}.submitted"):
    """A training job was taken; `job` is derived from its spec and whoever submitted it."""

    job: str
    spec: JobSpec
    spec_digest: Digest
    by: str


class Learned(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was known of one dataset when policy was asked whether it may teach."""

    dataset: Digest
    kind: str
    use: DatasetUse
    licence: str
    restrictions: list[str]
    pii: PiiState
    approved: list[str]


class JobJudged(Decision, subject="lifecycle.training.event.{job}.judged"):
    """Policy judged whether a job may start; all that it was told stands here and in the job's spec."""

    job: str
    environment: str
    learned: list[Learned]  #: the job's own datasets, and those that taught its base
    proposal: str  #: its state; empty where there is none, and the spec names an exemption
    judgement: Judgement


class JobMoved(Decision, subject="lifecycle.training.event.{job}.moved"):
    """A job is in another state now, and why."""

    job: str
    before: JobState
    state: JobState
    reason: str
    attempt: int
    step: int
    window_index: int  #: the energy decision it rests on; -1 where it rests on none
    window_offset: int


class WorkersRegistered(Decision, subject="lifecycle.training.event.{job}.registered"):
    """The workers of an attempt, each by the key that it signs its votes with: nobody else's vote counts (COL-09)."""

    job: str
    attempt: int
    workers: dict[str, bytes]  #: Ed25519 public key by worker


class CheckpointVoted(Decision, subject="lifecycle.training.event.{job}.voted"):
    """The workers' votes on a checkpoint were counted: who saw which digest, and whether that is agreement (COL-09)."""

    job: str
    step: int
    digest: Digest  #: of the checkpoint that most voted for; empty where nobody voted
    registered: int  #: workers
    agreeing: int
    fraction_ppm: Ppm
    agreed: bool
    votes: dict[str, Digest]  #: by worker, with a signature that counted
    void: list[str]  #: `worker: reason` of the votes that did not count


class RunRecorded(Decision, subject="lifecycle.training.event.{job}.recorded"):
    """A run ended well: what came of it and the record by which anyone can repeat it (ILL-04)."""

    job: str
    family: str
    record: Digest  #: of the canonical JSON record: spec, surroundings, curve, digests
    model: Digest
    weights: Digest
    datasets: list[Digest]  #: that taught it, those that taught its base among them
    consensus_ppm: Ppm  #: of the last checkpoint's votes
    losses_micro: list[int]  #: the loss curve's points, first to last; what the AI vote is computed from
    samples_per_s: int
    registered: int = 0  #: workers who could vote on it; 0 where that was not told, and one agrees with itself
    base: Digest = ""  #: the weights it went on from; empty where it began anew


class Reproduced(Decision, subject="lifecycle.training.event.{job}.reproduced"):
    """A run was repeated from its record: the same bytes, or where and in which field it parted."""

    job: str
    record: Digest
    verdict: Literal["reproduced", "diverged", "erased"]
    detail: str  #: `checkpoint 40`, `field hyperparameters.batch`, or `erased at (index, offset)`


class JobStated(Reply, subject="lifecycle.training.status.reply"):
    """Where a job stands."""

    job: str
    state: JobState
    reason: str
    attempt: int
    step: int
    steps: int
    record: Digest
    model: Digest


class JobStatus(Request, subject="lifecycle.training.status.request", reply=JobStated):
    """Ask where a job stands. Refused T001 where there is none."""

    job: str


class SubmitJob(Request, subject="lifecycle.training.submit.request", reply=Decided):
    """Submit a job; the same spec by the same person is the same job. Refused T002 to T006 for what is wrong."""

    spec: JobSpec
    by: str


class CancelJob(Request, subject="lifecycle.training.cancel.request", reply=Decided):
    """Cancel a job that has not ended. Refused T001, T007."""

    job: str
    reason: str


class JudgeJob(Request, subject="lifecycle.training.judge.request", reply=Decided, by_parts=True):
    """The trainer says what is known of what a job would learn from; policy judges. Refused T001, T006, T007."""

    job: str
    environment: str
    learned: Annotated[list[Learned], msgspec.Meta(max_length=64)]
    proposal: str


class MoveJob(Request, subject="lifecycle.training.move.request", reply=Decided, by_parts=True):
    """The trainer says what happened to a job; the nerve decides whether that is so."""

    job: str
    state: JobState
    reason: str
    attempt: int
    step: int
    window_index: int
    window_offset: int


class WorkerVote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One worker's word on a checkpoint: Ed25519 over job, step, worker and digest."""

    worker: str
    digest: Digest
    signature: bytes


class RegisterWorkers(Request, subject="lifecycle.training.workers.request", reply=Decided, by_parts=True):
    """Register the workers of an attempt before they vote. Refused T001, T003, T007, T011."""

    job: str
    attempt: int
    workers: dict[str, bytes]  #: Ed25519 public key by worker


class CountVotes(Request, subject="lifecycle.training.count.request", reply=Decided, by_parts=True):
    """Have the votes on a checkpoint counted, by the keys of the workers that the job registered."""

    job: str
    step: int
    votes: list[WorkerVote]


class RecordRun(Request, subject="lifecycle.training.record.request", reply=Decided, by_parts=True):
    """Record a run that ended. Refused T008 where its last checkpoint has no consensus."""

    job: str
    record: Digest
    model: Digest
    weights: Digest
    losses_micro: list[int]
    samples_per_s: int


class RecordReproduction(Request, subject="lifecycle.training.reproduction.request", reply=Decided):
    """Record what came of repeating a run; the verdict is the word of whoever asks."""

    job: str
    record: Digest
    verdict: Literal["reproduced", "diverged", "erased"]
    detail: str


class JobProgressed(Signal, subject="lifecycle.training.progress"):
    """How far a job is, for whoever watches; what counts is decided."""

    job: str
    attempt: int
    step: int
    steps: int
    loss_micro: int
    samples_per_s: int
    pace_ppm: Ppm  #: the share of the time that its workers may compute
