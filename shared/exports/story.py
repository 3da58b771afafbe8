"""A model's story: every decision of the log that is about it, from its sources to where it is in force.

What other tools read (shared/exports) is written from a story alone, so nothing is said that the log does not hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from shared.errors import Refusal, Refused
from shared.log.entry import Position
from shared.message import Decision
from shared.registry import Family, Manifest, evolved, manifest_of, status_of
from shared.registry.family import DECISIONS
from shared.subjects.consensus import Ballot, ProposalMade, VoteCounted
from shared.subjects.datasets import DatasetApproved, DatasetRegistered, DatasetVerified
from shared.subjects.evaluation import Evaluated
from shared.subjects.provenance import BatchSealed, CorpusBegun, CorpusFinished
from shared.subjects.registry import (
    Digest,
    ModelPromoted,
    ModelRegistered,
    ModelRolledBack,
    ModelStatus,
    PromotionBlocked,
)
from shared.subjects.training import JobSubmitted, RunRecorded

D_co = TypeVar("D_co", bound=Decision, covariant=True)
D = TypeVar("D", bound=Decision)

#: The decisions that a story is made of.
HEARD: Final[tuple[type[Decision], ...]] = (
    *DECISIONS,
    *Ballot.__args__,
    BatchSealed,
    CorpusBegun,
    CorpusFinished,
    DatasetApproved,
    DatasetRegistered,
    DatasetVerified,
    Evaluated,
    JobSubmitted,
    ProposalMade,
    RunRecorded,
    VoteCounted,
)


@dataclass(frozen=True, slots=True)
class Said(Generic[D_co]):
    """A decision, where it stands, when its envelope was written, and the key that signed it."""

    decision: D_co
    at: Position
    time_ms: int
    public: bytes

    @property
    def place(self) -> str:
        """Where it stands, as commands take it."""
        return f"{self.at.index},{self.at.offset}"


@dataclass(frozen=True, slots=True)
class Corpus:
    """A corpus that became a dataset: its beginning, its end, and how many batches were sealed between."""

    begun: Said[CorpusBegun]
    finished: Said[CorpusFinished]
    roots: tuple[Digest, ...]


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset by its digest, with what the log knows of it."""

    digest: Digest
    registered: Said[DatasetRegistered] | None
    verified: Said[DatasetVerified] | None  #: the newest time it was read again
    approved: tuple[Said[DatasetApproved], ...]
    corpus: Corpus | None


@dataclass(frozen=True, slots=True)
class Promotion:
    """A promotion, what its signers signed, and their words about it."""

    promoted: Said[ModelPromoted]
    manifest: Manifest | None  #: None where the family's evidence no longer gives the digest that was signed
    ballots: tuple[Said[Ballot], ...]


@dataclass(frozen=True, slots=True)
class Story:
    """One version of a model."""

    log: str  #: fingerprint of the genesis
    family: str
    model: Digest
    status: ModelStatus
    registered: Said[ModelRegistered]
    submitted: Said[JobSubmitted] | None
    run: Said[RunRecorded] | None
    datasets: tuple[Dataset, ...]
    evaluations: tuple[Said[Evaluated], ...]
    proposals: tuple[Said[ProposalMade], ...]
    votes: tuple[Said[VoteCounted], ...]
    promotions: tuple[Promotion, ...]
    blocked: tuple[Said[PromotionBlocked], ...]
    rolled_back: tuple[Said[ModelRolledBack], ...]

    @property
    def name(self) -> str:
        """The family and the version."""
        return f"{self.family}/{self.registered.decision.facts.version}"

    @property
    def last_ms(self) -> int:
        """When the last thing was said that this story holds."""
        own: list[Said[Decision]] = [self.registered, *self.evaluations, *self.blocked, *self.rolled_back, *self.votes]
        return max(said.time_ms for said in [*own, *(one.promoted for one in self.promotions)])


@dataclass(slots=True)
class Telling:
    """Hears the log's decisions one after another, and then tells the story of any model of one family."""

    log: str
    family: str
    said: list[Said[Decision]] = field(default_factory=list[Said[Decision]])

    def hear(self, said: Said[Decision]) -> None:
        """Keep one more decision."""
        self.said.append(said)

    def story(self, model: Digest) -> Story:
        """Return a model's story. Refused N001 where the family has no model, N004 where it has not this one."""
        own = [said for said in self._of(ModelRegistered) if said.decision.family == self.family]
        if not own:
            raise Refused(Refusal("N001", f"the log registers no model of a family {self.family!r}"))
        registered = next((said for said in own if said.decision.model == model), None)
        if registered is None:
            known = ", ".join(f"{said.decision.model[:16]}… ({said.decision.facts.version})" for said in own[-5:])
            raise Refused(Refusal("N004", f"{self.family} has no model {model}; its newest are {known}"))
        facts = registered.decision.facts
        proposals = tuple(said for said in self._of(ProposalMade) if said.decision.facts.model == model)
        names = {said.decision.proposal for said in proposals}
        return Story(
            self.log,
            self.family,
            model,
            status_of(self._folded(None), model),
            registered,
            next((said for said in self._of(JobSubmitted) if said.decision.job == facts.job), None),
            next((said for said in self._of(RunRecorded) if said.decision.record == facts.record), None),
            tuple(self._dataset(digest) for digest in facts.datasets),
            tuple(said for said in self._of(Evaluated) if said.decision.model == model),
            proposals,
            tuple(said for said in self._of(VoteCounted) if said.decision.proposal in names),
            tuple(self._promotion(said) for said in self._of(ModelPromoted) if said.decision.model == model),
            tuple(said for said in self._of(PromotionBlocked) if said.decision.model == model),
            tuple(said for said in self._of(ModelRolledBack) if said.decision.model == model),
        )

    def _of(self, cls: type[D]) -> Iterator[Said[D]]:
        for said in self.said:
            if isinstance(said.decision, cls):
                yield said  # pyright: ignore[reportReturnType] - what it says was just looked at

    def _folded(self, before: Position | None) -> Family:
        """Return the family as it stood just before a decision, or now."""
        family = Family()
        for said in self.said:
            if before is not None and said.at == before:
                break
            decision = said.decision
            if isinstance(decision, DECISIONS) and decision.family == self.family:
                family = evolved(family, decision)
        return family

    def _dataset(self, digest: Digest) -> Dataset:
        finished = next((said for said in self._of(CorpusFinished) if said.decision.dataset == digest), None)
        verified = [said for said in self._of(DatasetVerified) if said.decision.dataset == digest]
        return Dataset(
            digest,
            next((said for said in self._of(DatasetRegistered) if said.decision.dataset == digest), None),
            verified[-1] if verified else None,
            tuple(said for said in self._of(DatasetApproved) if said.decision.dataset == digest),
            None if finished is None else self._corpus(finished),
        )

    def _corpus(self, finished: Said[CorpusFinished]) -> Corpus | None:
        name = finished.decision.corpus
        begun = next((said for said in self._of(CorpusBegun) if said.decision.corpus == name), None)
        roots = tuple(said.decision.root for said in self._of(BatchSealed) if said.decision.corpus == name)
        return None if begun is None else Corpus(begun, finished, roots)

    def _promotion(self, promoted: Said[ModelPromoted]) -> Promotion:
        said = promoted.decision
        about = (said.family, self._folded(promoted.at), said.model, said.target, said.judgement.policy)
        found = manifest_of(*about, emergency=said.emergency)
        ballots = tuple(one for one in self._ballots() if one.decision.about == said.manifest)
        return Promotion(promoted, found if found.digest == said.manifest else None, ballots)

    def _ballots(self) -> Iterator[Said[Ballot]]:
        for cls in Ballot.__args__:
            yield from self._of(cls)


def told(said: Iterable[Said[Decision]], log: str, family: str, model: Digest) -> Story:
    """Return the story of a model from decisions in the order of the log. Refused N001, N004."""
    telling = Telling(log, family)
    for one in said:
        telling.hear(one)
    return telling.story(model)
