"""What the trainer knows of jobs, from the log: which there are, where each stands, and what was agreed on last."""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.decisions import decisions_in
from shared.envelope import Verdict
from shared.policy.effects import ASKED
from shared.subjects.policy import PolicyMoved
from shared.subjects.training import CheckpointVoted, JobMoved, JobSpec, JobState, JobSubmitted
from shared.training.jobs import ENDED


@dataclass(slots=True)
class Known:
    """One job."""

    job: str
    spec: JobSpec
    state: JobState = "pending"
    attempt: int = 0
    fruitful: int = 0  #: the attempt in which something was agreed on last
    checkpoints: dict[int, str] = field(default_factory=dict[int, str])  #: agreed on, digest by step

    @property
    def ended(self) -> bool:
        """Whether nothing more comes of it."""
        return self.state in ENDED

    def moved(self, moved: JobMoved) -> None:
        """Take note of where it stands."""
        self.state, self.attempt = moved.state, moved.attempt


def fold(known: dict[str, Known], verdict: Verdict) -> None:
    """Take in one judged entry of the log."""
    for submitted, _ in decisions_in(verdict, JobSubmitted):
        known.setdefault(submitted.job, Known(submitted.job, submitted.spec))
    for moved, _ in decisions_in(verdict, JobMoved):
        if moved.job in known:
            known[moved.job].moved(moved)
    for voted, _ in decisions_in(verdict, CheckpointVoted):
        if voted.job in known and voted.agreed:
            known[voted.job].checkpoints[voted.step] = voted.digest
            known[voted.job].fruitful = known[voted.job].attempt


def fold_added(added: set[str], verdict: Verdict) -> None:
    """Take in one judged entry of the log: which added policies are in use."""
    for moved, _ in decisions_in(verdict, PolicyMoved):
        moved_policy(added, moved)


def moved_policy(added: set[str], moved: PolicyMoved) -> None:
    """Take note of where one added policy stands."""
    if moved.state in ASKED:
        added.add(moved.policy)
    else:
        added.discard(moved.policy)
