"""The reviewer organ: casts the AI's ballot once for each proposal, reviews its ethics, and lists what was proposed.

A proposal and its run come in either order, and the later of the two brings the ballot: which one that is stands in the
log, so the same entry gives the same ballot again after a crash, under the same id, and the bus keeps one. Without a
run, or with a curve too short to judge, there is no ballot: the proposal stays pending, and the status says why.
"""

from __future__ import annotations

from typing import ClassVar

from organs.reviewer.curve import CurveVote, vote_on
from organs.reviewer.ethics import reviewed
from organs.reviewer.evidence import Evidence
from shared.ballots import AI, REVIEWER, signed_ballot
from shared.codec import encode
from shared.consensus import family_of, stated
from shared.constant import constant
from shared.declaration import MAX_LARGE_BYTES
from shared.errors import Refusal
from shared.log.entry import Position
from shared.part.organ import Organ, OwnLog, own_key
from shared.policy import Policies
from shared.settings import Settings
from shared.subjects.consensus import (
    AiBallot,
    EthicsReviewed,
    ListProposals,
    ProposalMade,
    ProposalsListed,
    ProposalStated,
    ReviewStated,
    ReviewStatus,
)
from shared.subjects.datasets import DatasetApproved, DatasetRegistered, DatasetVerified
from shared.subjects.evaluation import Evaluated
from shared.subjects.training import RunRecorded
from shared.world import SimWorld, World

ROOM_BYTES = constant(2_000, "bytes", "X-12")  # of an answer, for what is not a proposal


class ReviewerOrgan(Organ):
    """Judges by recorded curves and policies alone; its key signs ballots in the AI's role, and no others."""

    name: ClassVar[str] = REVIEWER
    version: ClassVar[str] = "1.0.0"
    holds_key: ClassVar[bool] = True
    cost_ulf: ClassVar[int] = constant(1_000_000, "micro-lifeforce", "ZER-03")

    def __init__(self, policies: Policies) -> None:
        self.policies, self.evidence = policies, Evidence()

    @classmethod
    def build(cls, settings: Settings, world: World) -> ReviewerOrgan:  # noqa: ARG003 - as declared
        return cls(Policies.shipped())

    @classmethod
    def simulate(cls, world: SimWorld) -> ReviewerOrgan:  # noqa: ARG003 - as declared
        return cls(Policies.shipped())

    async def open(self, log: OwnLog) -> None:
        """Take the log and the key that ballots are signed with; KeyFault where it is held elsewhere."""
        self.log, self.signer = log, own_key(log)

    async def on_made(self, made: ProposalMade, at: Position) -> list[EthicsReviewed | AiBallot]:
        """Review a new proposal, and vote on it where its run is recorded already."""
        await self.evidence.catch_up(self.log, at.index)
        run = self.evidence.run_before(made.facts.run, at.index)
        return [self._review(made), *([] if run is None else self._vote(made, run))]

    async def on_recorded(self, recorded: RunRecorded, at: Position) -> list[EthicsReviewed | AiBallot]:
        """Review and vote on the proposals that waited for this run, if it is the first of its record."""
        await self.evidence.catch_up(self.log, at.index)
        if self.evidence.run_before(recorded.record, at.index) is not None:
            return []
        waited = [m for m in self.evidence.made_before(at.index) if m.facts.run == recorded.record]
        return [out for made in waited for out in (self._review(made), *self._vote(made, recorded))]

    async def on_learned(
        self, learned: Evaluated | DatasetRegistered | DatasetVerified | DatasetApproved, at: Position
    ) -> list[EthicsReviewed]:
        """Review again what this is about."""
        await self.evidence.catch_up(self.log, at.index)
        return [self._review(made) for made in self.evidence.made_before(at.index) if self._is_about(made, learned)]

    async def on_list(self, asked: ListProposals) -> list[ProposalsListed]:
        """Count every proposal by its state, and tell the newest."""
        await self.evidence.catch_up(self.log)
        known = self.evidence.proposals
        count = [one.state for one in known.values()].count
        numbers = (len(known), count("pending"), count("accepted"), count("rejected"), count("under_review"))
        told, room = list[ProposalStated](), MAX_LARGE_BYTES - ROOM_BYTES
        for name, proposal in reversed(known.items()):
            if len(told) == asked.limit:
                break
            if asked.state in (None, proposal.state):
                one = stated(name, proposal)
                room -= len(encode(one))
                if room < 0:
                    break
                told.append(one)
        return [ProposalsListed(told, *numbers)]

    async def on_status(self, asked: ReviewStatus) -> list[ReviewStated] | Refusal:
        """Say whether a proposal was voted on, and else what is missing."""
        await self.evidence.catch_up(self.log)
        found = self.evidence.made.get(asked.proposal)
        if found is None:
            return Refusal("G001", f"there is no proposal {asked.proposal!r}")
        if self.evidence.has_ai_vote(asked.proposal):
            return [ReviewStated(asked.proposal, voted=True, waits="")]
        return [ReviewStated(asked.proposal, voted=False, waits=str(self._waits(found[0])))]

    def _review(self, made: ProposalMade) -> EthicsReviewed:
        return reviewed(made, self.evidence, self.policies)

    def _vote(self, made: ProposalMade, run: RunRecorded) -> list[AiBallot]:
        """Return the ballot, none where the curve is no evidence."""
        found = judged(made, run)
        if isinstance(found, Refusal):
            return []
        said = (made.proposal, found.choice, found.reason, run.record)
        ballot = signed_ballot(self.signer, AI, self.name, *said)
        assert isinstance(ballot, AiBallot)
        return [ballot]

    def _is_about(
        self, made: ProposalMade, learned: Evaluated | DatasetRegistered | DatasetVerified | DatasetApproved
    ) -> bool:
        if isinstance(learned, Evaluated):
            return made.facts.model == learned.model
        return learned.dataset in self.evidence.datasets_of(made)

    def _waits(self, made: ProposalMade) -> Refusal | str:
        """Return why there is no ballot yet."""
        record = made.facts.run
        if not record:
            return Refusal("G008", "the proposal names no run; propose anew with --run, the digest of a run's record")
        found = self.evidence.runs.get(record)
        if found is None:
            return Refusal("G008", f"no run of record {record} is recorded yet")
        vote = judged(made, found[0])
        return vote if isinstance(vote, Refusal) else "the ballot is being cast"


def judged(made: ProposalMade, run: RunRecorded) -> CurveVote | Refusal:
    """Return the vote on a proposal by its run; a run of another model or family says nothing good about this one."""
    training = made.facts.training
    wanted = {"family": family_of(made.facts), "model": made.facts.model or run.model}
    for name, found in (("family", run.family), ("model", run.model)):
        if wanted[name] != found:
            said = f"the run is of {name} {found}, the proposal is about {wanted[name] or 'none'}"
            return CurveVote("fail", said, 0)
    return vote_on(run.losses_micro, None if training is None else training.learning_rate_ppm)
