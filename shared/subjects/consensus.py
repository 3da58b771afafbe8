"""Proposals and their votes: nothing trains or deploys before an AI and a person both said pass (ZER-01 to ZER-05).

A ballot is a decision signed by the voter's own key on the voter's own lane; admission refuses it on anybody else's, or
in another role than the key was introduced with. The nerve `consensus` counts ballots and decides.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec

from shared.declaration import MAX_LARGE_BYTES
from shared.message import Decision, Ppm, Reply, Request
from shared.subjects.registry import Judgement
from shared.subjects.system import Decided

ChangeType = Literal["upgrade", "patch", "research", "optimization", "feature"]
ProposalState = Literal["pending", "under_review", "accepted", "rejected"]
Choice = Literal["pass", "fail"]
Standing = Literal["pending", "pass", "fail"]
Risk = Literal["low", "medium", "high", "critical"]
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=2_000)]
Digest = Annotated[str, msgspec.Meta(max_length=64)]  #: BLAKE3, 64 hexadecimal digits, or empty where there is none
Name = Annotated[str, msgspec.Meta(max_length=128)]
Line = Annotated[str, msgspec.Meta(max_length=500)]
#: In which role a ballot is cast; each is a subject of its own, so that a key is bound to its roles.
Role = Literal["ai", "human", "release_manager", "safety_lead", "infrastructure_lead", "cto", "signer"]


class TrainingData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a proposal wants to train, or trained."""

    model_id: Name
    steps: Annotated[int, msgspec.Meta(ge=1, le=10_000)]
    datasets: list[Digest]
    backend: Name
    learning_rate_ppm: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    batch: int
    epochs: Annotated[int, msgspec.Meta(ge=0)] = 0  #: passes over the data; 0 where steps alone say how long
    base: Digest = ""  #: the weights that it goes on from; empty where it begins anew


class EthicsReview(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Computed from evidence, never typed in (ZER-04)."""

    compliance_ppm: Ppm
    bias_assessment: Line
    safety_checks: list[Line]  #: `name: passed` or `name: failed: why`
    recommendations: list[Line]


class ProposalFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is proposed."""

    proposer: Annotated[str, msgspec.Meta(min_length=3, max_length=128)]
    summary: Annotated[str, msgspec.Meta(min_length=10, max_length=500)]
    details: Annotated[str, msgspec.Meta(max_length=10_000)]
    change_type: ChangeType
    risk: Risk
    training: TrainingData | None
    run: Digest  #: of the run record whose loss curve the AI vote is computed from; empty where there is none
    model: Digest  #: of the model that is proposed; empty where there is none
    family: Name


class ProposalMade(Decision, subject="governance.consensus.event.{proposal}.made"):
    """A proposal was made and validated; it is pending."""

    proposal: str
    facts: ProposalFacts
    ethics: EthicsReview | None


class EthicsNoted(Decision, subject="governance.consensus.event.{proposal}.ethics"):
    """What the reviewer computed about a proposal belongs to it from here on."""

    proposal: str
    ethics: EthicsReview
    index: int  #: where the review stands in the log
    offset: int


class VoteCounted(Decision, subject="governance.consensus.event.{proposal}.counted"):
    """A ballot was counted: what it changed, or that it is advisory, or why it is void."""

    proposal: str
    voter: Name
    role: Role
    choice: Choice
    reason: Reason
    ballot_index: int  #: where the ballot stands in the log
    ballot_offset: int
    counts: Literal["counted", "advisory", "void"]
    void_reason: Line
    ai: Standing
    human: Standing
    state: ProposalState  #: after it
    family: str = ""  #: the last four as proposed: what the model's registry takes as evidence
    model: str = ""
    run: str = ""
    risk: Risk = "low"


class EthicsReviewed(Decision, subject="governance.reviews.event.{proposal}.ethics"):
    """A proposal's ethics, computed from what the log says of its data and its model (ZER-04); newer replaces older."""

    proposal: str
    ethics: EthicsReview
    judgements: list[Judgement]  #: of the policies whose rows are among the checks
    evidence: list[str]  #: `what at (index, offset)` of every decision that it rests on


class _Ballot(Decision):
    """One voter's word on a subject: a proposal, or a promotion's manifest."""

    own_lane: ClassVar[bool] = True

    voter: str
    about: str  #: the proposal's id, or the digest of the manifest
    choice: Choice
    reason: Reason
    evidence: str  #: digest of what the vote rests on; empty where it rests on judgement
    signature: bytes  #: Ed25519 of the voter's key over DSSE (shared/ballots.py), for who verifies it by other tools
    family: str = ""  #: the models' family that a manifest belongs to; empty where the ballot is about a proposal


class AiBallot(_Ballot, subject="governance.ballots.event.{voter}.ai"):
    """The AI's vote, computed from a recorded loss curve (ZER-03)."""


class HumanBallot(_Ballot, subject="governance.ballots.event.{voter}.human"):
    """A person's vote."""


class ReleaseManagerBallot(_Ballot, subject="governance.ballots.event.{voter}.release_manager"):
    """The release manager's approval (COL-11)."""


class SafetyLeadBallot(_Ballot, subject="governance.ballots.event.{voter}.safety_lead"):
    """The safety lead's approval (COL-11)."""


class InfrastructureLeadBallot(_Ballot, subject="governance.ballots.event.{voter}.infrastructure_lead"):
    """The infrastructure lead's approval (COL-11)."""


class CtoBallot(_Ballot, subject="governance.ballots.event.{voter}.cto"):
    """The chief technology officer's word in an emergency (COL-11)."""


class SignerBallot(_Ballot, subject="governance.ballots.event.{voter}.signer"):
    """One of the k of n signatures under a promotion's manifest (ILL-07)."""


Ballot = (
    AiBallot
    | HumanBallot
    | ReleaseManagerBallot
    | SafetyLeadBallot
    | InfrastructureLeadBallot
    | CtoBallot
    | SignerBallot
)


class ProposalStated(Reply, subject="governance.consensus.status.reply", max_bytes=MAX_LARGE_BYTES):
    """Where a proposal stands."""

    proposal: str
    facts: ProposalFacts | None
    ethics: EthicsReview | None
    ai: Standing
    human: Standing
    state: ProposalState
    votes: list[str]  #: `role voter choice counts: reason`, first to last; of void ones the last few


class ProposalStatus(Request, subject="governance.consensus.status.request", reply=ProposalStated):
    """Ask where a proposal stands. Refused G001 where there is none."""

    proposal: str


class ProposalsListed(Reply, subject="governance.consensus.list.reply", max_bytes=MAX_LARGE_BYTES):
    """The proposals by state, newest first, and how many there are of each."""

    proposals: list[ProposalStated]
    total: int
    pending: int
    accepted: int
    rejected: int
    under_review: int


class ListProposals(Request, subject="governance.consensus.list.request", reply=ProposalsListed):
    """Ask for up to `limit` proposals, as many as one answer holds; 0 asks for the numbers alone."""

    state: ProposalState | None
    limit: Annotated[int, msgspec.Meta(ge=0, le=20)]


class MakeProposal(Request, subject="governance.consensus.make.request", reply=Decided):
    """Make a proposal. Refused G002 where it is not valid, G003 where the id is taken.

    `ethics` is left None: a review is computed, and one that is handed in is refused G002.
    """

    proposal: Annotated[str, msgspec.Meta(min_length=5, max_length=128)]
    facts: ProposalFacts
    ethics: EthicsReview | None


class ProposalValidated(Reply, subject="governance.consensus.validate.reply"):
    """What is wrong with a proposal by the rules of today; nothing where it is valid."""

    proposal: str
    problems: list[str]


class ValidateProposal(Request, subject="governance.consensus.validate.request", reply=ProposalValidated):
    """Ask whether a proposal that was made is valid. Refused G001."""

    proposal: str


class ReviewStated(Reply, subject="governance.reviews.status.reply"):
    """Whether the reviewer voted on a proposal, and else what it waits for."""

    proposal: str
    voted: bool
    waits: str  #: G008 with what is missing; empty where it voted


class ReviewStatus(Request, subject="governance.reviews.status.request", reply=ReviewStated):
    """Ask whether the reviewer voted. Refused G001."""

    proposal: str


class VoteAllowed(Reply, subject="governance.consensus.may_vote.reply"):
    """The vote would count, or be advisory."""

    proposal: str
    advisory: bool


class MayVote(Request, subject="governance.consensus.may_vote.request", reply=VoteAllowed):
    """Ask before casting a ballot. Refused G001, G004 final, G005 AI first, G006 voted already, G007 no such role."""

    proposal: str
    voter: str
    role: Role
