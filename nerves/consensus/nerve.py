"""The consensus nerve: makes proposals and counts the ballots on them, on the proposal's own lane (ZER-01, ZER-02).

A ballot stands on its voter's lane, signed by the voter's key; admission has proven both before this nerve hears it. So
two ballots that race are counted in the order of the log, by whichever replica comes first, and never twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, TypeAlias

import msgspec

from shared.ballots import role_of
from shared.consensus import (
    Proposal,
    after_vote,
    ballot_refused,
    evolved,
    is_advisory,
    objections,
    stated,
    vote_refused,
)
from shared.constant import constant
from shared.errors import Refusal
from shared.log.entry import Position
from shared.part import Garden, Nerve
from shared.subjects.consensus import (
    AiBallot,
    EthicsNoted,
    EthicsReviewed,
    HumanBallot,
    MakeProposal,
    MayVote,
    ProposalMade,
    ProposalStated,
    ProposalStatus,
    ProposalValidated,
    ValidateProposal,
    VoteAllowed,
    VoteCounted,
)

Asked: TypeAlias = ProposalStatus | ValidateProposal | MayVote
Heard: TypeAlias = MakeProposal | Asked | AiBallot | HumanBallot | EthicsReviewed
Decisions: TypeAlias = ProposalMade | VoteCounted | EthicsNoted
Said: TypeAlias = Decisions | ProposalStated | ProposalValidated | VoteAllowed


class Place(msgspec.Struct, frozen=True):
    """Where the ballot or the review that is heard stands in the log; all else is in the log or in the message."""

    index: int = -1
    offset: int = -1


class ConsensusNerve(Nerve[Proposal, Place]):
    """What is proposed, voted and asked in; what became of it out. One lane for each proposal."""

    name: ClassVar[str] = "consensus"
    version: ClassVar[str] = "1.0.0"
    garden: ClassVar[Garden] = "real"
    unchecked: ClassVar[Mapping[str, str]] = {
        "rerun": "made-up proposals are not valid; tests/spec/test_consensus.py runs its decisions again"
    }
    cost_ulf: ClassVar[int] = constant(300_000, "micro-lifeforce", "ZER-02")

    def entity(self, message: Heard) -> str | None:
        return message.about if isinstance(message, AiBallot | HumanBallot) else message.proposal

    def placed(self, window: Place, at: Position) -> Place:
        return Place(at.index, at.offset)

    def evolve(self, state: Proposal, decision: Decisions) -> Proposal:
        return evolved(state, decision)

    def decide(self, state: Proposal, window: Place, message: Heard, now_ms: int) -> tuple[Place, list[Said] | Refusal]:
        match message:
            case MakeProposal():
                return Place(), _made(state, message)
            case EthicsReviewed():
                return Place(), _noted(state, window, message)
            case AiBallot() | HumanBallot():
                return Place(), _counted(state, window, message)
            case _:
                return Place(), _answered(state, message)


def _made(state: Proposal, asked: MakeProposal) -> list[Said] | Refusal:
    if state.facts is not None:
        what = "this very proposal" if state.facts == asked.facts else "another proposal"
        return Refusal("G003", f"{asked.proposal} is {what}, {state.state}; another id makes another proposal")
    wrong = objections(asked.proposal, asked.facts)
    if asked.ethics is not None:
        wrong.append("ethics is computed by the reviewer, leave it out")
    return Refusal("G002", "; ".join(wrong)) if wrong else [ProposalMade(asked.proposal, asked.facts, None)]


def _noted(state: Proposal, at: Place, heard: EthicsReviewed) -> list[Said] | Refusal:
    if state.facts is None:
        return Refusal("G001", f"a review is about {heard.proposal!r}, and there is no such proposal")
    if state.ethics == heard.ethics:
        return []
    return [EthicsNoted(heard.proposal, heard.ethics, at.index, at.offset)]


def _counted(state: Proposal, at: Place, ballot: AiBallot | HumanBallot) -> list[Said] | Refusal:
    """Count a ballot, or say why it is void; what is about no proposal is refused, so that it begins no lane."""
    if state.facts is None:
        return Refusal("G001", f"a ballot of {ballot.voter} is about {ballot.about!r}, and there is no such proposal")
    role = role_of(ballot)
    no = ballot_refused(state, ballot)
    said = (ballot.about, ballot.voter, role, ballot.choice, ballot.reason, at.index, at.offset)
    about = (state.facts.family, state.facts.model, state.facts.run, state.facts.risk)
    if no is not None:
        return [VoteCounted(*said, "void", f"{no.code} {no.name}", state.ai, state.human, state.state, *about)]
    counts = "advisory" if is_advisory(state, role) else "counted"
    return [VoteCounted(*said, counts, "", *after_vote(state, role, ballot.choice), *about)]


def _answered(state: Proposal, asked: Asked) -> list[Said] | Refusal:
    if state.facts is None:
        return Refusal("G001", f"there is no proposal {asked.proposal!r}; `nimmerverse proposals` lists them")
    match asked:
        case ProposalStatus():
            return [stated(asked.proposal, state)]
        case ValidateProposal():
            return [ProposalValidated(asked.proposal, objections(asked.proposal, state.facts))]
        case MayVote():
            no = vote_refused(asked.proposal, state, asked.voter, asked.role)
            return no or [VoteAllowed(asked.proposal, is_advisory(state, asked.role))]
