"""What the log says about proposals, runs, models and datasets; a fold, read on when it is needed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeVar

from shared.ballots import AI, REVIEWER
from shared.consensus import Proposal, evolved
from shared.constant import constant
from shared.decisions import decisions_in
from shared.envelope import Verdict
from shared.errors import Refused
from shared.journal import record
from shared.log.entry import Position
from shared.part.organ import JudgedLog
from shared.registry.origins import Origins
from shared.subjects.consensus import EthicsNoted, ProposalMade, VoteCounted
from shared.subjects.datasets import DatasetApproved, DatasetRegistered, DatasetVerified
from shared.subjects.evaluation import Evaluated
from shared.subjects.training import RunRecorded

EVIDENCE_AT_ONCE = constant(500, "entries", "X-12")

D = TypeVar("D")


class At(NamedTuple):
    """A decision's class and where it stands, as evidence cites it."""

    what: str
    at: Position

    def __str__(self) -> str:
        return f"{self.what} at ({self.at.index}, {self.at.offset})"


class Evidence:
    """Everything that a review may rest on, and where each of it stands."""

    def __init__(self) -> None:
        self.next = 0  #: the first entry that was not read yet
        self.made: dict[str, tuple[ProposalMade, Position]] = {}
        self.proposals: dict[str, Proposal] = {}
        self.runs: dict[str, tuple[RunRecorded, Position]] = {}  #: by record; the first one of each
        self.evaluated: dict[str, dict[str, tuple[Evaluated, Position]]] = {}  #: by model and dataset, the newest
        self.registered: dict[str, tuple[DatasetRegistered, Position]] = {}
        self.verified: dict[str, tuple[DatasetVerified, Position]] = {}
        self.origins = Origins()
        self.approved: dict[str, list[tuple[DatasetApproved, Position]]] = {}

    async def catch_up(self, log: JudgedLog, until: int | None = None) -> None:
        """Read the log on, up to an index and no further, or to its end."""
        while until is None or self.next <= until:
            limit = EVIDENCE_AT_ONCE if until is None else min(EVIDENCE_AT_ONCE, until - self.next + 1)
            verdicts = await log.judged(self.next, limit, -1 if until is None else until)
            if not verdicts:
                return
            for verdict in verdicts:
                self.take(verdict)
                self.next = verdict.entry.index + 1

    def take(self, verdict: Verdict) -> None:
        """Fold one entry; what cannot be read is no evidence, and one such entry hides none of the others."""
        try:
            self._fold(verdict)
        except Refused as no:
            record("reviewer", "entry_unreadable", index=verdict.entry.index, detail=str(no))

    def _fold(self, verdict: Verdict) -> None:
        for decision, at in decisions_in(verdict, ProposalMade, VoteCounted, EthicsNoted):
            if isinstance(decision, ProposalMade):
                self.made[decision.proposal] = (decision, at)
            before = self.proposals.get(decision.proposal, Proposal())
            self.proposals[decision.proposal] = evolved(before, decision)
        self.origins.take(verdict)
        for run, at in decisions_in(verdict, RunRecorded):
            self.runs.setdefault(run.record, (run, at))
        for evaluated, at in decisions_in(verdict, Evaluated):
            self.evaluated.setdefault(evaluated.model, {})[evaluated.dataset] = (evaluated, at)
        for registered, at in decisions_in(verdict, DatasetRegistered):
            self.registered[registered.dataset] = (registered, at)
        for verified, at in decisions_in(verdict, DatasetVerified):
            self.verified[verified.dataset] = (verified, at)
        for approved, at in decisions_in(verdict, DatasetApproved):
            self.approved.setdefault(approved.dataset, []).append((approved, at))

    def run_before(self, record: str, index: int) -> RunRecorded | None:
        """Return the run of a record, where it stood in the log before an index."""
        found = self.runs.get(record)
        return found[0] if found is not None and found[1].index < index else None

    def made_before(self, index: int) -> list[ProposalMade]:
        """Return the proposals that were made before an index, in the order of the log."""
        return [made for made, at in self.made.values() if at.index < index]

    def datasets_of(self, made: ProposalMade) -> list[str]:
        """Return the datasets that a proposal names, and those that its run or its base learned from."""
        training, run = made.facts.training, self.runs.get(made.facts.run)
        named = [*training.datasets, *self._behind(training.base)] if training is not None else []
        return sorted({*named, *(run[0].datasets if run is not None else ())})

    def _behind(self, base: str) -> list[str]:
        """Return what taught a base; of one that the log does not know itself, and nothing holds of that."""
        try:
            return self.origins.behind(base)
        except Refused:
            return [base]

    def has_ai_vote(self, proposal: str) -> bool:
        """Say whether the AI's own vote was decided about on a proposal, a void one among it."""
        return any((vote.role, vote.voter) == (AI, REVIEWER) for vote in self.proposals[proposal].votes)

    def cited(self, made: ProposalMade) -> list[str]:
        """Return where everything stands that a review of this proposal rests on."""
        return [str(one) for one in self._cited(made)]

    def _cited(self, made: ProposalMade) -> Iterable[At]:
        if made.facts.run in self.runs:
            yield At("RunRecorded", self.runs[made.facts.run][1])
        for _, at in self.evaluated.get(made.facts.model, {}).values():
            yield At("Evaluated", at)
        for dataset in self.datasets_of(made):
            if dataset in self.registered:
                yield At("DatasetRegistered", self.registered[dataset][1])
            if dataset in self.verified:
                yield At("DatasetVerified", self.verified[dataset][1])
            for _, at in self.approved.get(dataset, ()):
                yield At("DatasetApproved", at)
