"""Proposals, runs and ballots to try with."""

from __future__ import annotations

from collections.abc import Sequence

from shared.ballots import CLASSES
from shared.log.entry import Position
from shared.subjects.consensus import (
    Choice,
    ProposalFacts,
    Role,
    TrainingData,
)
from shared.subjects.training import RunRecorded

RECORD, MODEL, DATASET = "a" * 64, "b" * 64, "c" * 64
FALLING = [54_136_700, 20_000_000, 5_000_000, 1_200_000, 654_700]  #: the source's own example, 98.79 % better
PROPOSAL = "boundary-2"


def facts(**changed: object) -> ProposalFacts:
    """What is proposed, all of it valid."""
    said: dict[str, object] = {
        "proposer": "ada",
        "summary": "Teach the boundary the new dock",
        "details": "",
        "change_type": "upgrade",
        "risk": "low",
        "training": training(),
        "run": RECORD,
        "model": MODEL,
        "family": "boundary",
    }
    return ProposalFacts(**(said | changed))  # type: ignore[arg-type]


def training(**changed: object) -> TrainingData:
    """What it was trained with, within every limit."""
    said: dict[str, object] = {
        "model_id": "boundary-tiny",
        "steps": 400,
        "datasets": [DATASET],
        "backend": "torch",
        "learning_rate_ppm": 10_000,
        "batch": 32,
        "epochs": 0,
    }
    return TrainingData(**(said | changed))  # type: ignore[arg-type]


def recorded(losses_micro: Sequence[int] = FALLING, **changed: object) -> RunRecorded:
    """A run of that training."""
    said: dict[str, object] = {
        "job": "job-1",
        "family": "boundary",
        "record": RECORD,
        "model": MODEL,
        "weights": "d" * 64,
        "datasets": [DATASET],
        "consensus_ppm": 1_000_000,
        "losses_micro": list(losses_micro),
        "samples_per_s": 1_000,
    }
    return RunRecorded(**(said | changed))  # type: ignore[arg-type]


def ballot(role: Role, choice: Choice, voter: str = "", about: str = PROPOSAL, reason: str = "because") -> object:
    """A ballot whose inner signature is none: the nerve believes admission."""
    return CLASSES[role](voter or ("reviewer" if role == "ai" else "ada"), about, choice, reason, "", b"")


def place(index: int) -> Position:
    """Where something stands."""
    return Position(index, 0)
