"""What the policy of training is asked about a job and what its answer says, for who asks and for who looks back."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from shared.errors import Refusal
from shared.policy import TRAINING
from shared.policy.policies import failing
from shared.subjects.datasets import DatasetFacts
from shared.subjects.registry import Judgement
from shared.subjects.training import JobJudged, JobSpec, JudgeJob, Learned


def learned(dataset: str, facts: DatasetFacts, approved: Collection[str]) -> Learned:
    """Return what policy is told of a dataset."""
    about = (facts.kind, facts.use, facts.licence, list(facts.restrictions), facts.pii)
    return Learned(dataset, *about, sorted(approved))


def given(spec: JobSpec, told: JudgeJob | JobJudged) -> dict[str, object]:
    """Return the policy's input. What is no proposal is an exemption's name, and policy knows those."""
    claim, named = ("proposal", told.proposal) if told.proposal else ("exemption", spec.proposal)
    return {
        "environment": told.environment,
        "heavy": spec.heavy,
        "steps": spec.steps,
        "datasets": msgspec.to_builtins(told.learned),
        claim: named,
    }


def refusal(judgement: Judgement) -> Refusal | None:
    """Return why a job may not start, T005 where nothing but its proposal is missing, else Q004; None where it may."""
    if judgement.allowed:
        return None
    rows = [row.name for row in judgement.rows if not row.holds]
    return Refusal("T005" if rows == ["proposal"] else "Q004", f"{TRAINING}: {failing(judgement.rows)}")
