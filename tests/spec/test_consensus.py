"""Proposals and votes: what is valid, what counts, what is advisory or void, and that nothing final ever moves."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from nerves.consensus import ConsensusNerve
from shared.ballots import CLASSES, PEOPLES, REVIEWER, roles_granted, signed_ballot, statement, verify_ballot
from shared.consensus import FINAL, VOTES_TOLD, objections
from shared.envelope.envelope import pae
from shared.errors import KeyFault, Refusal, Refused
from shared.keys import LocalSigner, ProxiedKey, verify
from shared.message import registered
from shared.subjects.consensus import (
    Choice,
    EthicsNoted,
    EthicsReview,
    EthicsReviewed,
    MakeProposal,
    MayVote,
    ProposalMade,
    ProposalState,
    ProposalStated,
    ProposalStatus,
    ProposalValidated,
    Role,
    Standing,
    ValidateProposal,
    VoteAllowed,
    VoteCounted,
)
from tests.ground import ENV
from tests.proposals import PROPOSAL, ballot, facts, place, training

NOW_MS = 1_767_225_600_000
SIGNER = LocalSigner(bytes(range(32)))


class Lane:
    """One proposal under the nerve, as its runner keeps it; every decision is run again from its evidence."""

    def __init__(self) -> None:
        self.nerve = ConsensusNerve()
        self.state = self.nerve.start()
        self.decided: list[Any] = []
        self.index = 0

    def hear(self, message: Any) -> Any:  # noqa: ANN401 - of any class that it hears or says
        """Hear one message, evolve, and return what was said, or the refusal."""
        self.index += 1
        window = self.nerve.placed(self.nerve.empty(), place(self.index))
        evidence = self.nerve.evidence(window, message, bytes(16), NOW_MS)
        _, said = self.nerve.decide(self.state, window, message, NOW_MS)
        if isinstance(said, Refusal):
            assert [] == self.nerve.decide_again(self.state, evidence, registered())
            return said
        decisions = [one for one in said if isinstance(one, ProposalMade | VoteCounted | EthicsNoted)]
        assert len(decisions) == len(self.nerve.decide_again(self.state, evidence, registered()))
        for decision in decisions:
            self.state = self.nerve.evolve(self.state, decision)
            self.decided.append(decision)
        return said[0] if said else None

    def vote(self, role: Role, choice: Choice, voter: str = "", reason: str = "because") -> VoteCounted:
        """Cast a ballot and return how it was counted."""
        counted = self.hear(ballot(role, choice, voter, reason=reason))
        assert isinstance(counted, VoteCounted)
        return counted

    @property
    def standing(self) -> tuple[Standing, Standing, ProposalState]:
        """Where the AI, the human and the proposal stand."""
        return self.state.ai, self.state.human, self.state.state


@pytest.fixture
def lane() -> Lane:
    """A proposal that was made."""
    made = Lane()
    assert isinstance(made.hear(MakeProposal(PROPOSAL, facts(), None)), ProposalMade)
    return made


# The four scenarios of the source


@pytest.mark.spec("ZER-02")
@pytest.mark.parametrize(
    ("votes", "standing"),
    [
        ([("ai", "pass"), ("human", "pass")], ("pass", "pass", "accepted")),
        ([("ai", "fail")], ("fail", "pending", "rejected")),
        ([("ai", "pass"), ("human", "fail")], ("pass", "fail", "rejected")),
        ([("ai", "pass")], ("pass", "pending", "under_review")),
        ([], ("pending", "pending", "pending")),
    ],
)
def test_the_four_scenarios(lane: Lane, votes: list[tuple[Role, Choice]], standing: tuple[str, str, str]) -> None:
    """Both pass: accepted; the AI or the human fails: rejected; partly voted: under review; nobody: pending."""
    for role, choice in votes:
        assert "counted" == lane.vote(role, choice).counts
    assert standing == lane.standing


@pytest.mark.spec("ZER-02")
def test_a_human_before_the_ai_is_void_and_may_vote_again(lane: Lane) -> None:
    """A person's vote before the AI's is refused beforehand with G005, void if it is cast, and no word of theirs."""
    assert "G005" == getattr(lane.hear(MayVote(PROPOSAL, "ada", "human")), "code", "")
    early = lane.vote("human", "pass")
    assert ("void", "G005 AI_FIRST", "pending") == (early.counts, early.void_reason, early.human)
    lane.vote("ai", "pass")
    assert "accepted" == lane.vote("human", "pass").state


@pytest.mark.spec("ZER-02")
def test_a_human_after_the_ais_fail_is_advisory_once(lane: Lane) -> None:
    """After the AI's fail one vote of a person is kept as advisory, the status stays rejected, and another is void."""
    lane.vote("ai", "fail")
    assert VoteAllowed(PROPOSAL, advisory=True) == lane.hear(MayVote(PROPOSAL, "ada", "human"))
    advisory = lane.vote("human", "pass")
    assert ("advisory", "fail", "pass", "rejected") == (advisory.counts, advisory.ai, advisory.human, advisory.state)
    again = lane.vote("human", "fail", "bob")
    assert ("void", "G004 FINAL", "pass", "rejected") == (again.counts, again.void_reason, again.human, again.state)


@pytest.mark.spec("ZER-02")
def test_double_votes_are_void(lane: Lane) -> None:
    """One vote for the AI: a second one of the reviewer changes nothing and is void by name."""
    lane.vote("ai", "pass")
    assert "G006" == lane.hear(MayVote(PROPOSAL, REVIEWER, "ai")).code
    again = lane.vote("ai", "fail", REVIEWER)
    assert ("void", "G006 VOTED_ALREADY", "under_review") == (again.counts, again.void_reason, again.state)


@pytest.mark.spec("ZER-02", "ZER-03")
def test_the_ai_is_the_reviewer_alone(lane: Lane) -> None:
    """An AI ballot of any other voter is void by name, before and after the reviewer's, and takes nobody's vote."""
    for standing in ("pending", "pass"):
        assert "G007" == getattr(lane.hear(MayVote(PROPOSAL, "helper", "ai")), "code", "")
        stranger = lane.vote("ai", "pass", "helper")
        assert ("void", "G007 NOT_THIS_ROLE", standing) == (stranger.counts, stranger.void_reason, stranger.ai)
        lane.vote("ai", "pass")


@pytest.mark.spec("ZER-02")
@pytest.mark.parametrize("human", get_args(Choice))
def test_a_vote_after_the_end_is_void(lane: Lane, human: Choice) -> None:
    """Accepted and rejected are final: whatever is cast later is void, and asking first is G004."""
    lane.vote("ai", "pass")
    ended = lane.vote("human", human)
    voters: list[tuple[str, Role]] = [(REVIEWER, "ai"), ("bob", "human")]
    for voter, role in voters:
        assert "G004" == lane.hear(MayVote(PROPOSAL, voter, role)).code
        for choice in get_args(Choice):
            late = lane.vote(role, choice, voter)
            assert ("void", "G004 FINAL") == (late.counts, late.void_reason)
            assert (ended.ai, ended.human, ended.state) == lane.standing


@pytest.mark.spec("ZER-02")
@pytest.mark.parametrize("reason", [" ", "\t\n", "\u2003"])
def test_a_vote_without_a_reason_is_void(lane: Lane, reason: str) -> None:
    """Blanks are no reason: the ballot is void, and may be cast again with one. No ballot has an empty one."""
    silent = lane.vote("ai", "pass", reason=reason)
    assert ("void", "G009 NO_REASON", "pending") == (silent.counts, silent.void_reason, silent.state)
    assert "under_review" == lane.vote("ai", "pass").state
    with pytest.raises(Refused, match="G009"):
        signed_ballot(SIGNER, "human", "ada", PROPOSAL, "pass", reason)


@pytest.mark.spec("ZER-02", "ZER-06")
def test_a_void_vote_spoils_no_status(lane: Lane) -> None:
    """A status tells every vote with its reason, void ones with why; a thousand void ones push no counted one out."""
    lane.vote("ai", "pass", reason="98.79 % better")
    for n in range(1_000):
        lane.vote("ai", "fail", reason=f"again {n}")
    stated = lane.hear(ProposalStatus(PROPOSAL))
    assert isinstance(stated, ProposalStated)
    assert VOTES_TOLD == len(stated.votes)
    assert "ai reviewer pass counted: 98.79 % better" == stated.votes[0]
    assert "ai reviewer fail void (G006 VOTED_ALREADY): again 999" == stated.votes[-1]


@pytest.mark.spec("ZER-02")
@pytest.mark.parametrize("role", [role for role in PEOPLES if role != "human"])
def test_other_roles_do_not_vote_on_proposals(lane: Lane, role: Role) -> None:
    """Whoever approves promotions, or signs them, has no vote here."""
    assert "G007" == lane.hear(MayVote(PROPOSAL, "ada", role)).code


@pytest.mark.spec("ZER-02")
def test_a_ballot_on_nothing_begins_no_lane() -> None:
    """A ballot or a review about no proposal is refused: nothing is decided."""
    lane = Lane()
    review = EthicsReviewed(PROPOSAL, EthicsReview(0, "", [], []), [], [])
    for message in (ballot("ai", "pass"), ballot("human", "fail"), review, MayVote(PROPOSAL, "ada", "human")):
        assert "G001" == lane.hear(message).code
    assert [] == lane.decided


@pytest.mark.spec("ZER-02")
def test_a_counted_vote_says_where_the_ballot_stands(lane: Lane) -> None:
    """A counted vote names the ballot's entry, so that whoever doubts it finds the signature."""
    assert (lane.index + 1, 0) == (lane.vote("ai", "pass").ballot_index, lane.decided[-1].ballot_offset)


VOTES = st.lists(st.tuples(st.sampled_from(["ai", "human"]), st.sampled_from(["pass", "fail"]), st.booleans()))


@pytest.mark.spec("ZER-02")
@settings(max_examples=150)
@given(VOTES)
def test_any_sequence_of_ballots(votes: list[tuple[Role, Choice, bool]]) -> None:
    """Whatever is cast: each ballot is decided about, what is final stays, accepted means both passed, AI first."""
    lane, again = Lane(), Lane()
    for one in (lane, again):
        one.hear(MakeProposal(PROPOSAL, facts(), None))
        for role, choice, silent in votes:
            before = one.standing
            counted = one.vote(role, choice, reason=" " if silent else "because")
            assert (counted.ai, counted.human, counted.state) == one.standing
            assert counted.counts != "void" or before == one.standing
            assert counted.counts != "counted" or not silent
            assert before[2] not in FINAL or before[2] == one.standing[2]
            assert before[0] in ("pending", one.standing[0])
            assert before[1] in ("pending", one.standing[1])
            assert ("pass", "pass") == one.standing[:2] or one.standing[2] != "accepted"
            assert one.standing[1] == "pending" or one.standing[0] != "pending"
    assert lane.decided == again.decided
    assert 1 + len(votes) == len(lane.decided)


# Proposals


@pytest.mark.spec("ZER-01")
def test_a_proposal_is_made_once(lane: Lane) -> None:
    """An id belongs to one proposal, whether another one or the same is made again under it."""
    assert "pending" == lane.standing[2]
    for one in (facts(), facts(summary="Something else entirely")):
        assert "G003" == lane.hear(MakeProposal(PROPOSAL, one, None)).code


@pytest.mark.spec("ZER-01", "ZER-08")
@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"proposer": "   "}, "proposer is blank"),
        ({"summary": " " * 10}, "summary is blank"),
        ({"run": "abc"}, "run is 'abc'"),
        ({"family": ""}, "family is blank"),
        ({"family": " ", "run": ""}, "family is blank"),
        ({"family": "", "training": None}, "family is blank"),
        ({"model": "A" * 64}, "model is 'AAAA"),
        ({"training": training(model_id=" ")}, "training.model_id is blank"),
        ({"training": training(datasets=["x"])}, "training.datasets has 'x'"),
        ({"training": training(datasets=["c" * 64] * 33)}, "training.datasets has 33 entries"),
        ({"training": training(base="latest")}, "training.base is 'latest'"),
        ({"training": training(backend="petals")}, "training.backend is 'petals'"),
        ({"training": training(batch=0)}, "training.batch is 0"),
        ({"training": training(backend="hivemind", batch=129)}, "hivemind takes 1 to 128"),
        ({"training": training(backend="tinygrad", batch=257)}, "tinygrad takes 1 to 256"),
        ({"training": training(backend="tinygrad", epochs=1_001)}, "tinygrad takes 1 to 1000"),
    ],
)
def test_a_bad_proposal_is_refused_by_field(changed: dict[str, object], named: str) -> None:
    """A proposal beyond a limit is refused G002 with the field, what was found and what is expected."""
    no = Lane().hear(MakeProposal(PROPOSAL, facts(**changed), None))
    assert "G002" == no.code
    assert named in no.detail


@pytest.mark.spec("ZER-08")
@pytest.mark.parametrize(
    "within",
    [{"backend": "hivemind", "batch": 128}, {"backend": "tinygrad", "batch": 256, "epochs": 1_000}, {"steps": 10_000}],
)
def test_what_is_at_a_limit_is_valid(within: dict[str, object]) -> None:
    """The limits themselves are allowed."""
    assert [] == objections(PROPOSAL, facts(training=training(**within)))


@pytest.mark.spec("ZER-01")
def test_an_id_is_long_enough_and_printable() -> None:
    """An id has five characters or more, none of which is invisible; `stats` is an id as any other (ZER-06)."""
    assert objections("four", facts())
    assert objections("bad\u202eid", facts())
    assert [] == objections("stats", facts())


@pytest.mark.spec("ZER-04")
def test_nobody_hands_in_a_review() -> None:
    """A proposal that comes with its own ethics review is refused: it is computed."""
    no = Lane().hear(MakeProposal(PROPOSAL, facts(), EthicsReview(1_000_000, "none", [], [])))
    assert "G002" == no.code


@pytest.mark.spec("ZER-04")
def test_a_review_is_noted_once(lane: Lane) -> None:
    """What the reviewer computed belongs to the proposal, with where it stands; the same again changes nothing."""
    review = EthicsReview(500_000, "bias 0.031", ["bias: passed"], [])
    noted = lane.hear(EthicsReviewed(PROPOSAL, review, [], []))
    assert EthicsNoted(PROPOSAL, review, lane.index, 0) == noted
    assert lane.hear(EthicsReviewed(PROPOSAL, review, [], [])) is None
    assert review == lane.hear(ProposalStatus(PROPOSAL)).ethics


@pytest.mark.spec("ZER-06")
def test_a_proposal_can_be_validated_again(lane: Lane) -> None:
    """What was made is valid by the rules of today; of what nobody made nothing is said."""
    assert ProposalValidated(PROPOSAL, []) == lane.hear(ValidateProposal(PROPOSAL))
    assert "G001" == Lane().hear(ValidateProposal(PROPOSAL)).code


# Ballots


@pytest.mark.spec("ZER-02", "ILL-07")
@pytest.mark.parametrize("role", list(CLASSES))
def test_the_signature_inside_a_ballot_is_dsse(role: Role) -> None:
    """The inner signature is Ed25519 over the DSSE encoding of five sorted fields, and binds every one of them."""
    signed = signed_ballot(SIGNER, role, "ada", PROPOSAL, "pass", "because", "e" * 64)
    said = f'{{"about":"{PROPOSAL}","choice":"pass","evidence":"{"e" * 64}","role":"{role}","voter":"ada"}}'.encode()
    assert said == statement(signed)
    kind = b"application/vnd.nimmerverse.ballot+json"
    message = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(said), said)
    assert message == pae(kind.decode(), said)
    assert verify(SIGNER.public, message, signed.signature)
    assert verify_ballot(signed, SIGNER.public)
    others: tuple[dict[str, str], ...] = ({"about": "another"}, {"choice": "fail"}, {"voter": "eve"}, {"evidence": ""})
    for other in others:
        assert not verify_ballot(replace(signed, **other), SIGNER.public)
    assert not verify_ballot(signed, LocalSigner(bytes(32)).public)


@pytest.mark.spec("ILL-07")
def test_a_ballot_is_not_signed_by_proxy() -> None:
    """A key behind the signing proxy signs envelopes alone, so it casts no ballot."""
    with pytest.raises(KeyFault, match="proxy"):
        signed_ballot(ProxiedKey("ada", SIGNER.public), "human", "ada", PROPOSAL, "pass", "because")


@pytest.mark.spec("ZER-02")
def test_roles_are_read_off_grants() -> None:
    """A key has roles where all that it may sign are its own ballots."""
    stem = f"{ENV}.governance.ballots.event.ada"
    assert ["human", "cto"] == roles_granted(ENV, "ada", [f"{stem}.cto", f"{stem}.human"])
    for others in ([f"{ENV}.governance.ballots.event.bob.human"], [f"{stem}.human", f"{ENV}.nervous.x.event.*.y"], []):
        assert [] == roles_granted(ENV, "ada", others)
