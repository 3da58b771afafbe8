"""Proposals and what ballots make of them: one state machine, folded alike by the nerve, by whoever lists and by tests.

    pending ── AI passes ──▶ under_review ── a person passes ──▶ accepted     accepted and rejected are final
       └───────── AI fails ──▶ rejected ◀── a person fails ──┘

The AI votes first. A person's vote after the AI's fail is advisory: it is kept, and changes nothing. Whatever does not
count is void, and says why; nothing that was counted is ever taken back.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec
from msgspec.structs import replace

from shared.ballots import AI, REVIEWER, role_of
from shared.constant import constant
from shared.errors import Refusal
from shared.subjects.consensus import (
    AiBallot,
    Choice,
    EthicsNoted,
    EthicsReview,
    HumanBallot,
    ProposalFacts,
    ProposalMade,
    ProposalState,
    ProposalStated,
    Role,
    Standing,
    VoteCounted,
)
from shared.training.jobs import BATCH, DATASETS, EPOCHS, LIMITS

VOTES_TOLD = constant(6, "votes", "X-12")  # what a status tells; the log keeps all
ID_CHARS = constant(5, "characters", "ZER-01")
HUMAN: Final[Role] = "human"
VOTING: Final[tuple[Role, ...]] = (AI, HUMAN)
FINAL: Final[tuple[ProposalState, ...]] = ("accepted", "rejected")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Proposal(msgspec.Struct, frozen=True):
    """Where one proposal stands; the fold of its decisions. Without facts there is none."""

    facts: ProposalFacts | None = None
    ethics: EthicsReview | None = None
    ai: Standing = "pending"
    human: Standing = "pending"
    state: ProposalState = "pending"
    votes: tuple[VoteCounted, ...] = ()


def evolved(proposal: Proposal, decision: ProposalMade | VoteCounted | EthicsNoted) -> Proposal:
    """Return a proposal after one more decision about it."""
    match decision:
        case ProposalMade():
            return replace(proposal, facts=decision.facts, ethics=decision.ethics)
        case EthicsNoted():
            return replace(proposal, ethics=decision.ethics)
        case VoteCounted():
            votes = _bounded((*proposal.votes, decision))
            return replace(proposal, ai=decision.ai, human=decision.human, state=decision.state, votes=votes)


def objections(proposal: str, facts: ProposalFacts) -> list[str]:
    """Return what is wrong with a proposal beyond the shape of its fields, each with what is expected (ZER-01)."""
    found = [
        f"{name} is blank, say it in words"
        for name, text in (("the id", proposal), ("proposer", facts.proposer), ("summary", facts.summary))
        if not text.strip()
    ]
    if len(proposal) < ID_CHARS:
        found.append(f"the id {proposal!r} has {len(proposal)} characters, at least {ID_CHARS} are needed")
    if not proposal.isprintable():
        found.append(f"the id {proposal!r} has characters that cannot be printed")
    for name, digest in (("run", facts.run), ("model", facts.model)):
        if digest and not _DIGEST.fullmatch(digest):
            found.append(f"{name} is {digest[:80]!r}, expected 64 hexadecimal digits or nothing")
    if (facts.training is not None or facts.run) and not facts.family.strip():
        found.append("family is blank, name the family of models that is trained")
    return [*found, *_training_objections(facts)]


def family_of(facts: ProposalFacts) -> str:
    """Return the family of models that a proposal is about; one that names none is about what it trains."""
    return facts.family or (facts.training.model_id if facts.training is not None else "")


def _training_objections(facts: ProposalFacts) -> list[str]:
    training, found = facts.training, list[str]()
    if training is None:
        return found
    if not training.model_id.strip():
        found.append("training.model_id is blank, name the model")
    if len(training.datasets) > DATASETS:
        found.append(f"training.datasets has {len(training.datasets)} entries, at most {DATASETS} may be")
    found += [
        f"training.datasets has {digest[:80]!r}, expected 64 hexadecimal digits"
        for digest in training.datasets[:DATASETS]
        if not _DIGEST.fullmatch(digest)
    ]
    if training.base and not _DIGEST.fullmatch(training.base):
        found.append(f"training.base is {training.base[:80]!r}, expected 64 hexadecimal digits or nothing")
    limits = LIMITS.get(training.backend)
    if limits is None:
        return [*found, f"training.backend is {training.backend[:80]!r}, expected one of {', '.join(LIMITS)}"]
    if not 1 <= training.batch <= limits[BATCH]:
        found.append(f"training.batch is {training.batch}, {training.backend} takes 1 to {limits[BATCH]}")
    most = limits.get(EPOCHS)
    if most is not None and training.epochs > most:
        found.append(f"training.epochs is {training.epochs}, {training.backend} takes 1 to {most}")
    return found


def vote_refused(name: str, proposal: Proposal, voter: str, role: Role) -> Refusal | None:
    """Return why a vote in this role would not count now, in the order in which that is judged; None where it would."""
    if proposal.facts is None:
        return Refusal("G001", f"there is no proposal {name!r}")
    if role not in VOTING:
        return Refusal("G007", f"a proposal is voted on by {' and '.join(VOTING)}, {role} approves promotions")
    if role == AI and voter != REVIEWER:
        return Refusal("G007", f"the AI's vote is cast by the part {REVIEWER}, found {voter[:80]!r}")
    if proposal.state in FINAL and not is_advisory(proposal, role):
        return Refusal("G004", f"{name} is {proposal.state} since its last vote")
    if role == HUMAN and proposal.ai == "pending":
        return Refusal("G005", f"the AI did not vote on {name} yet; a person votes after it")
    voted = proposal.ai if role == AI else proposal.human
    return Refusal("G006", f"{role} voted {voted} on {name} already") if voted != "pending" else None


def ballot_refused(proposal: Proposal, ballot: AiBallot | HumanBallot) -> Refusal | None:
    """Return why a ballot that was cast does not count; None where it does."""
    if not ballot.reason.strip():
        return Refusal("G009", "the reason is blank")
    return vote_refused(ballot.about, proposal, ballot.voter, role_of(ballot))


def is_advisory(proposal: Proposal, role: Role) -> bool:
    """Say whether a vote in this role is a person's first word after the AI failed the proposal."""
    return role == HUMAN and proposal.ai == "fail" and proposal.human == "pending"


def after_vote(proposal: Proposal, role: Role, choice: Choice) -> tuple[Standing, Standing, ProposalState]:
    """Return where the AI, the human and the proposal stand after a vote that is not refused."""
    ai: Standing = choice if role == AI else proposal.ai
    human: Standing = choice if role == HUMAN else proposal.human
    if "fail" in (ai, human):
        return ai, human, "rejected"
    return ai, human, "under_review" if "pending" in (ai, human) else "accepted"


def stated(name: str, proposal: Proposal) -> ProposalStated:
    """Return a proposal's status as it is told."""
    p = proposal
    return ProposalStated(name, p.facts, p.ethics, p.ai, p.human, p.state, [_told(vote) for vote in p.votes])


def _told(vote: VoteCounted) -> str:
    why = f" ({vote.void_reason})" if vote.void_reason else ""
    return f"{vote.role} {vote.voter} {vote.choice} {vote.counts}{why}: {vote.reason}"


def _bounded(votes: tuple[VoteCounted, ...]) -> tuple[VoteCounted, ...]:
    """Forget the oldest void vote where there are too many: void ones can be cast without end, others cannot."""
    if len(votes) <= VOTES_TOLD:
        return votes
    oldest = next((i for i, vote in enumerate(votes) if vote.counts == "void"), 0)
    return (*votes[:oldest], *votes[oldest + 1 :])
