"""What a job is called, what may be in it, and into which state it gets from which: the nerve's rules, all pure."""

from __future__ import annotations

import re

from blake3 import blake3

from shared.canonical import digest_of
from shared.constant import constant
from shared.errors import Refusal
from shared.subjects.training import JobSpec, JobState

PPM = 1_000_000
STEPS = constant(10_000, "steps", "ZER-08")
WORKERS = constant(64, "workers", "ILL-13")
JOB_ATTEMPTS = constant(5, "attempts", "ILL-02")  # that may come to nothing, one after the other
HYPERPARAMETERS = constant(32, "hyperparameters", "X-12")
DATASETS = constant(32, "datasets", "X-12")
LEARNED = constant(64, "datasets", "X-12")  # a job's own, and those that taught its base
NAME_CHARS = constant(64, "characters", "X-12")
JOB_REASON_CHARS = constant(500, "characters", "X-12")
LEARNING_RATE, BATCH, EPOCHS, KEEP_EVERY = "learning_rate_ppm", "batch", "epochs", "keep_every"
JOB_DIGITS = 32

#: What each backend takes at most, by hyperparameter (ZER-08).
LIMITS: dict[str, dict[str, int]] = {
    "torch": {BATCH: constant(4_096, "samples", "ZER-08")},
    "tinygrad": {BATCH: constant(256, "samples", "ZER-08"), EPOCHS: constant(1_000, "epochs", "ZER-08")},
    "hivemind": {BATCH: constant(128, "samples", "ZER-08")},
}
#: A swarm of peers goes on from no model that somebody handed in: it begins anew (ZER-08, "approved models").
BEGINS_ANEW = ("hivemind",)

ENDED: frozenset[JobState] = frozenset({"completed", "failed", "cancelled", "refused"})
#: Where the trainer may move a job. `completed` comes from a recorded run, `cancelled` from who cancels it.
MOVES: dict[JobState, frozenset[JobState]] = {
    "pending": frozenset({"waiting", "running", "refused", "failed"}),
    "waiting": frozenset({"waiting", "running", "refused", "failed"}),
    "running": frozenset({"running", "waiting", "paused", "preempted", "failed"}),
    "paused": frozenset({"running", "waiting", "preempted", "failed"}),
    "preempted": frozenset({"running", "waiting", "failed"}),
}

_DIGEST = re.compile(r"[0-9a-f]{64}")


def job_of(spec: JobSpec, by: str) -> str:
    """Return the id of the job that this spec by this person is."""
    return blake3(f"{digest_of(spec)}\n{by}".encode()).hexdigest()[:JOB_DIGITS]


def check_spec(spec: JobSpec) -> Refusal | None:
    """Return what is wrong with a spec, None where nothing is: T002, T003, T005, T006."""
    if spec.backend not in LIMITS:
        known = ", ".join(LIMITS)
        return Refusal("T002", f"found {spec.backend[:NAME_CHARS]!r}, expected one of {known}")
    if not spec.proposal:
        return Refusal("T005", "the job names neither a proposal nor an exemption; give --proposal or --exemption")
    if not spec.datasets or len(spec.datasets) > DATASETS:
        return Refusal("T006", f"a job learns from 1 to {DATASETS} datasets, found {len(spec.datasets)}")
    for digest in spec.datasets:
        if not _DIGEST.fullmatch(digest):
            return Refusal("T006", f"found {digest[:80]!r} for a dataset, expected its digest: 64 hexadecimal digits")
    return _check_base(spec) or _check_numbers(spec)


def _check_base(spec: JobSpec) -> Refusal | None:
    if spec.base and not _DIGEST.fullmatch(spec.base):
        return Refusal("T003", f"found {spec.base[:80]!r} for the base, expected a model's digest or nothing")
    if spec.base and spec.backend in BEGINS_ANEW:
        return Refusal("T003", f"{spec.backend} begins with a new model; leave the base empty, or choose torch")
    return None


def _check_numbers(spec: JobSpec) -> Refusal | None:
    given = spec.hyperparameters
    if len(given) > HYPERPARAMETERS:
        return Refusal("T003", f"{len(given)} hyperparameters, at most {HYPERPARAMETERS} may be")
    highest = LIMITS[spec.backend] | {LEARNING_RATE: PPM, KEEP_EVERY: STEPS}
    ranges = {"steps": (spec.steps, 1, STEPS), "workers": (spec.workers, 1, WORKERS)}
    ranges |= {f"hyperparameters.{name}": (given[name], 1, most) for name, most in highest.items() if name in given}
    for name, (found, low, high) in ranges.items():
        if not low <= found <= high:
            return Refusal("T003", f"{name} is {found}, {spec.backend} takes {low} to {high}")
    texts = {"family": spec.family, "recipe": spec.recipe}
    for name, text in texts.items():
        if not 1 <= len(text) <= NAME_CHARS:
            return Refusal("T003", f"{name} has {len(text)} characters, 1 to {NAME_CHARS} may be")
    if not 1 <= len(spec.reason) <= JOB_REASON_CHARS:
        return Refusal("T003", f"say in 1 to {JOB_REASON_CHARS} characters why this is trained")
    return None


def keep_every(spec: JobSpec) -> int:
    """Return after how many steps a job's workers vote on a checkpoint: as it says, or a tenth of its steps."""
    return spec.hyperparameters.get(KEEP_EVERY, max(1, spec.steps // 10))
