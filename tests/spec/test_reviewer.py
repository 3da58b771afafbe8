"""The AI's vote from a recorded curve, the ethics review from what the log says, and who the reviewer waits for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nerves.consensus import ConsensusNerve
from organs.reviewer import CurveVote, ReviewerOrgan, vote_on
from organs.reviewer.curve import lower_rate
from organs.reviewer.ethics import ADVICE
from organs.reviewer.organ import judged
from shared.ballots import verify_ballot
from shared.bus import Bus, Draft
from shared.errors import Refusal
from shared.policy import Policies
from shared.subjects.consensus import (
    AiBallot,
    EthicsReviewed,
    HumanBallot,
    ListProposals,
    MakeProposal,
    ProposalMade,
    ProposalsListed,
    ProposalStated,
    ProposalStatus,
    ReviewStated,
    ReviewStatus,
    TrainingData,
    VoteCounted,
)
from shared.subjects.datasets import DatasetApproved, DatasetFacts, DatasetRegistered, DatasetVerified
from shared.subjects.evaluation import Evaluated, Metric
from shared.world import new_id
from tests.ground import SimGround, play_sim
from tests.parts import Stage, stage
from tests.proposals import DATASET, FALLING, MODEL, PROPOSAL, RECORD, Chamber, cast, facts, recorded, training

# The curve


@pytest.mark.spec("ZER-03")
def test_the_sources_own_example() -> None:
    """The curve that the source recorded is 98.79 % better, and passes."""
    vote = vote_on(FALLING, 10_000)
    assert isinstance(vote, CurveVote)
    assert ("pass", 987_906) == (vote.choice, vote.improvement_ppm)
    assert "98.79 % better" in vote.reason


@pytest.mark.spec("ZER-03")
@pytest.mark.parametrize(
    ("last", "choice", "retrain_ppm"),
    [
        (799_999, "pass", None),
        (800_000, "pass", None),
        (800_001, "fail", None),
        (900_000, "fail", None),
        (900_001, "fail", 8_000),
        (1_000_000, "fail", 8_000),
        (2_000_000, "fail", 8_000),
    ],
)
def test_the_thresholds(last: int, choice: str, retrain_ppm: int | None) -> None:
    """20 % better passes, exactly at it too; from 10 % to there fails; below 10 % fails and proposes a lower rate."""
    vote = vote_on([1_000_000, 990_000, 980_000, 970_000, last], 10_000)
    assert isinstance(vote, CurveVote)
    assert (choice, retrain_ppm) == (vote.choice, vote.retrain_ppm)
    assert (retrain_ppm is not None) == ("learning rate of 0.008" in vote.reason)


@pytest.mark.spec("ZER-03")
@pytest.mark.parametrize(
    ("rate_ppm", "lower_ppm"),
    [(1_000_000, 800_000), (100_000, 80_000), (10_000, 8_000), (6_250, 5_000), (6_000, 5_000), (5_001, 5_000)],
)
def test_a_lower_learning_rate(rate_ppm: int, lower_ppm: int) -> None:
    """The next rate is 0.8 of this one with five decimals, never below 0.005."""
    assert lower_ppm == lower_rate(rate_ppm)
    assert lower_ppm == round(max(0.005, round(0.8 * rate_ppm / 1e6, 5)) * 1e6)


@pytest.mark.spec("ZER-03")
@pytest.mark.parametrize("rate_ppm", [5_000, 1_000, 1])
def test_no_higher_learning_rate_is_called_lower(rate_ppm: int) -> None:
    """At the floor or below it no rate is proposed: the floor would be a higher one."""
    assert lower_rate(rate_ppm) is None
    vote = vote_on([1] * 5, rate_ppm)
    assert isinstance(vote, CurveVote)
    assert (None, "fail") == (vote.retrain_ppm, vote.choice)


@pytest.mark.spec("ZER-03")
def test_a_run_that_converged_is_not_failed_for_it() -> None:
    """Of a long curve five points from the first to the last count: being done long ago is no fault, diverging is."""
    converged = [54_000_000 // (n + 1) for n in range(50)] + [1_000_000] * 150
    vote, worse = vote_on(converged, 10_000), vote_on([*converged, 60_000_000], 10_000)
    assert isinstance(vote, CurveVote)
    assert isinstance(worse, CurveVote)
    assert ("pass", "fail") == (vote.choice, worse.choice)


@pytest.mark.spec("ZER-03")
@pytest.mark.parametrize("losses", [[], [5, 4, 3, 2], [0, 0, 0, 0, 0], [5, 4, 3, 2, -1], [-5, 4, 3, 2, 1]])
def test_what_is_no_evidence(losses: list[int]) -> None:
    """A missing or short curve, or one that is no loss, is no evidence: there is no vote, whatever it would be."""
    no = vote_on(losses, 10_000)
    assert isinstance(no, Refusal)
    assert "G008" == no.code


@pytest.mark.spec("ZER-03")
@settings(max_examples=200)
@given(st.lists(st.integers(0, 10**12), max_size=200), st.integers(1, 1_000_000))
def test_any_curve_is_judged(losses: list[int], rate_ppm: int) -> None:
    """Whatever was recorded: a vote or G008, a pass only for 20 %, and a proposed rate only where it is lower."""
    vote = vote_on(losses, rate_ppm)
    if isinstance(vote, Refusal):
        assert len(losses) < 5 or losses[0] == 0
        return
    assert (vote.choice == "pass") == (losses[-1] * 10 <= losses[0] * 8)
    assert vote.retrain_ppm is None or (5_000 <= vote.retrain_ppm < rate_ppm and vote.improvement_ppm < 100_000)


# The organ


Play = Callable[[Chamber, Bus, Stage], Coroutine[Any, Any, None]]


@asynccontextmanager
async def reviewing(ground: SimGround) -> AsyncIterator[tuple[Chamber, Bus]]:
    """A chamber in which the reviewer and the nerve work."""
    async with stage(ground) as here:
        chamber = await Chamber.on(ground)
        for part in (ConsensusNerve(), ReviewerOrgan(Policies.shipped())):
            await here.carry(part, [await chamber.key_of(part)])
        yield chamber, await here.asker()


async def silent(voter: Bus, about: str) -> None:
    """Cast a ballot without words, which no honest command does."""
    await voter.append(Draft(HumanBallot(voter.part, about, "fail", " ", "", b""), new_id(voter.world)))


async def settled(chamber: Chamber) -> None:
    """Let everything that is on its way arrive."""
    await chamber.ground.world.sleep(5.0)


@pytest.mark.spec("ZER-03")
@pytest.mark.parametrize("first", ["run", "proposal"])
def test_the_later_of_run_and_proposal_brings_one_ballot(first: str) -> None:
    """Whichever comes first, there is one ballot, its evidence the run's record, its signature the reviewer's."""

    async def body(ground: SimGround) -> None:
        async with reviewing(ground) as (chamber, asker):
            steps = [lambda: chamber.decide(recorded()), lambda: asker.request(MakeProposal(PROPOSAL, facts(), None))]
            for step in steps if first == "run" else steps[::-1]:
                await step()
                await settled(chamber)
            [ballot] = await chamber.stands(AiBallot)
            assert ("reviewer", PROPOSAL, "pass", RECORD) == (
                ballot.voter,
                ballot.about,
                ballot.choice,
                ballot.evidence,
            )
            key = (await chamber.desk.keys_until(10_000)).current("reviewer")
            assert key is not None
            assert verify_ballot(ballot, key.public)
            [counted] = await chamber.stands(VoteCounted)
            assert ("counted", "under_review") == (counted.counts, counted.state)
            assert ReviewStated(PROPOSAL, voted=True, waits="") == await asker.request(ReviewStatus(PROPOSAL))

    play_sim(body)


@pytest.mark.spec("ZER-03", "ZER-02")
@pytest.mark.parametrize(
    ("changed", "losses", "waits"),
    [
        ({"run": ""}, FALLING, "names no run"),
        ({"run": "e" * 64}, FALLING, "is recorded yet"),
        ({}, FALLING[:4], "recorded 4 points"),
    ],
)
def test_without_evidence_nobody_votes(changed: dict[str, object], losses: list[int], waits: str) -> None:
    """No run, an unknown run, a curve too short: no ballot, the proposal stays pending, and the status says G008."""

    async def body(ground: SimGround) -> None:
        async with reviewing(ground) as (chamber, asker):
            await chamber.decide(recorded(losses))
            await asker.request(MakeProposal(PROPOSAL, facts(**changed), None))
            await settled(chamber)
            assert [] == await chamber.stands(AiBallot)
            stated = await asker.request(ProposalStatus(PROPOSAL))
            assert isinstance(stated, ProposalStated)
            assert "pending" == stated.state
            review = await asker.request(ReviewStatus(PROPOSAL))
            assert isinstance(review, ReviewStated)
            assert "G008" in review.waits
            assert waits in review.waits

    play_sim(body)


@pytest.mark.spec("ZER-03")
@pytest.mark.parametrize("changed", [{"model": "f" * 64}, {"family": "toxicity"}])
def test_another_models_run_speaks_for_nobody(changed: dict[str, object]) -> None:
    """A good run that made another model, or one of another family, fails the proposal that cites it."""

    async def body(ground: SimGround) -> None:
        async with reviewing(ground) as (chamber, asker):
            await chamber.decide(recorded())
            await asker.request(MakeProposal(PROPOSAL, facts(**changed), None))
            await settled(chamber)
            [ballot] = await chamber.stands(AiBallot)
            assert "fail" == ballot.choice
            assert "the run is of" in ballot.reason

    play_sim(body)


@pytest.mark.spec("ZER-03", "X-06")
@pytest.mark.parametrize("training_of", [training(model_id="line"), None])
def test_a_run_speaks_for_its_own_family_alone(training_of: TrainingData | None) -> None:
    """A proposal that names no family is about the model it trains; another family's run, or none named, fails it."""
    made = ProposalMade(PROPOSAL, facts(family="", model="", training=training_of), None)
    vote = judged(made, recorded())
    assert isinstance(vote, CurveVote)
    assert ("fail", True) == (vote.choice, "the run is of family boundary" in vote.reason)


@pytest.mark.spec("ZER-03")
def test_a_record_is_voted_on_once_however_often_it_is_recorded() -> None:
    """A second run of the same record, with a better curve, changes no vote: the first one counts."""

    async def body(ground: SimGround) -> None:
        async with reviewing(ground) as (chamber, asker):
            await asker.request(MakeProposal(PROPOSAL, facts(), None))
            await chamber.decide(recorded([1_000_000] * 5))
            await chamber.decide(recorded(job="job-2"))
            await settled(chamber)
            assert ["fail"] == [ballot.choice for ballot in await chamber.stands(AiBallot)]
            assert "learning rate of 0.008" in (await chamber.stands(AiBallot))[0].reason

    play_sim(body)


@pytest.mark.spec("ZER-06")
def test_proposals_are_listed_and_counted() -> None:
    """The newest first, by state, with numbers; a proposal called `stats` and a vote without words harm nothing."""

    async def body(ground: SimGround) -> None:
        async with reviewing(ground) as (chamber, asker):
            await chamber.decide(recorded())
            ada = await chamber.voter("ada", "human")
            for name, run in (("stats", RECORD), ("second", RECORD), ("third", ""), ("fourth", RECORD)):
                await asker.request(MakeProposal(name, facts(run=run), None))
                await settled(chamber)
            await silent(ada, "stats")
            await cast(ada, "human", "pass", "stats")
            await cast(ada, "human", "fail", "second")
            await settled(chamber)
            found = await asker.request(ListProposals(None, 20))
            assert isinstance(found, ProposalsListed)
            assert ["fourth", "third", "second", "stats"] == [one.proposal for one in found.proposals]
            assert (4, 1, 1, 1, 1) == (found.total, found.pending, found.accepted, found.rejected, found.under_review)
            accepted = await asker.request(ListProposals("accepted", 20))
            assert isinstance(accepted, ProposalsListed)
            assert ["stats"] == [one.proposal for one in accepted.proposals]
            numbers = await asker.request(ListProposals(None, 0))
            assert isinstance(numbers, ProposalsListed)
            assert ([], 4) == (numbers.proposals, numbers.total)

    play_sim(body)


@pytest.mark.spec("ZER-06", "X-12")
def test_a_list_is_as_long_as_an_answer_holds() -> None:
    """Twenty proposals of the longest kind do not fit into one answer: as many as do are told, and all are counted."""

    async def body(ground: SimGround) -> None:
        async with reviewing(ground) as (chamber, asker):
            long = facts(details="ü" * 10_000, run="")
            for n in range(40):
                await chamber.decide(ProposalMade(f"proposal-{n}", long, None))
            for limit, least in ((20, 20),):
                found = await asker.request(ListProposals(None, limit))
                assert isinstance(found, ProposalsListed)
                assert 40 == found.total
                assert least >= len(found.proposals) >= 15

    play_sim(body)


# Ethics


def registered(**changed: object) -> DatasetRegistered:
    """A dataset under an open licence without personal data."""
    said: dict[str, object] = {
        "name": "trails",
        "use": "train",
        "kind": "trails",
        "corpus": "",
        "sources": [],
        "transformations": [],
        "licence": "MIT",
        "restrictions": [],
        "pii": "none",
        "records": 10,
    }
    return DatasetRegistered(DATASET, "0" * 64, 10, DatasetFacts(**(said | changed)))  # type: ignore[arg-type]


def verified(*, valid: bool = True, anchored: bool = True) -> DatasetVerified:
    """A dataset that was read again."""
    return DatasetVerified(DATASET, "boundary", 1, 10, valid, "verified", anchored, 0, "")


def evaluated(
    bias_ppm: int | None, hallucination_ppm: int | None, suite: str = "corners 1", dataset: str = "9" * 64
) -> Evaluated:
    """What a suite measured; None is what it did not."""
    measured = {"bias": bias_ppm, "hallucination": hallucination_ppm}
    metrics = [Metric(name, ppm, 0, 1_000_000, 1_000, "") for name, ppm in measured.items() if ppm is not None]
    return Evaluated(MODEL, "boundary", suite, dataset, "8" * 64, metrics, [], 10)


async def review_of(chamber: Chamber, *decisions: Any) -> EthicsReviewed:  # noqa: ANN401 - decisions of any class
    """Decide these, then a proposal, and return its last review."""
    for decision in decisions:
        await chamber.decide(decision)
    await chamber.decide(ProposalMade(PROPOSAL, facts(), None))
    await settled(chamber)
    return (await chamber.stands(EthicsReviewed))[-1]


ALL = (recorded(), registered(), verified(), evaluated(31_000, 20_000))


@pytest.mark.spec("ZER-04")
def test_a_sound_proposal_complies_wholly() -> None:
    """With everything measured, registered and verified each check passes, nothing is advised, and all is cited."""

    async def body(ground: SimGround) -> None:
        async with reviewing(ground) as (chamber, _):
            found = await review_of(chamber, *ALL)
            assert (1_000_000, []) == (found.ethics.compliance_ppm, found.ethics.recommendations)
            assert {f"{name}: passed" for name in ADVICE} == set(found.ethics.safety_checks)
            assert (
                "bias 0.031 by corners 1 on 1000 examples; within < 250000 millionths" == found.ethics.bias_assessment
            )
            cited = [line.split(" at ")[0] for line in found.evidence]
            assert ["RunRecorded", "Evaluated", "DatasetRegistered", "DatasetVerified"] == cited
            assert {Policies.shipped().digest} == {judgement.policy for judgement in found.judgements}

    play_sim(body)


@pytest.mark.spec("ZER-04")
@pytest.mark.parametrize(
    ("decisions", "failed"),
    [
        ((ALL[0], registered(), verified()), {"bias", "hallucination"}),
        ((*ALL[:3], evaluated(None, 20_000)), {"bias"}),
        ((*ALL[:3], evaluated(31_000, None)), {"hallucination"}),
        ((*ALL[:3], evaluated(250_000, 149_999)), {"bias"}),
        ((*ALL[:3], evaluated(249_999, 150_000)), {"hallucination"}),
        ((*ALL[:3], evaluated(1, 1), evaluated(900_000, 1, "groups 1", "7" * 64)), {"bias"}),
        ((*ALL[:3], evaluated(900_000, 1), evaluated(1, 1, dataset="7" * 64)), {"bias"}),
        (ALL[1:], {"consensus"}),
        ((recorded(consensus_ppm=989_999), *ALL[1:]), {"consensus"}),
        ((ALL[0], ALL[2], ALL[3]), {"use", "origin", "licence", "restrictions", "pii"}),
        ((ALL[0], registered(licence="Proprietary"), *ALL[2:]), {"licence"}),
        ((ALL[0], registered(pii="in_the_open"), *ALL[2:]), {"pii"}),
        ((ALL[0], registered(restrictions=["export"]), *ALL[2:]), {"restrictions"}),
        ((ALL[0], registered(use="evaluate"), *ALL[2:]), {"use"}),
        ((ALL[0], ALL[1], ALL[3]), {"verified"}),
        ((ALL[0], ALL[1], verified(valid=False), ALL[3]), {"verified"}),
        ((ALL[0], ALL[1], verified(anchored=False), ALL[3]), {"verified"}),
    ],
)
def test_each_check_fails_alone_or_missing(decisions: tuple[Any, ...], failed: set[str]) -> None:
    """Each check fails by itself where it is not met, at the very limit too, or where nothing was found."""

    async def body(ground: SimGround) -> None:
        async with reviewing(ground) as (chamber, _):
            found = (await review_of(chamber, *decisions)).ethics
            assert failed == {line.split(":")[0] for line in found.safety_checks if ": failed: " in line}
            assert failed == {line.split(":")[0] for line in found.recommendations}
            assert 1_000_000 * (10 - len(failed)) // 10 == found.compliance_ppm

    play_sim(body)


@pytest.mark.spec("ZER-04")
def test_what_is_learned_later_reviews_again() -> None:
    """A measurement or an approval after the proposal makes another review, which the proposal's status shows."""

    async def body(ground: SimGround) -> None:
        async with reviewing(ground) as (chamber, asker):
            for decision in (recorded(), registered(pii="in_the_open"), verified()):
                await chamber.decide(decision)
            await asker.request(MakeProposal(PROPOSAL, facts(), None))
            for later in (evaluated(1, 1), DatasetApproved(DATASET, ["pii"], "ada", "consent")):
                await chamber.decide(later)
            await settled(chamber)
            scores = [review.ethics.compliance_ppm for review in await chamber.stands(EthicsReviewed)]
            assert [700_000, 900_000, 1_000_000] == scores
            stated = await asker.request(ProposalStatus(PROPOSAL))
            assert isinstance(stated, ProposalStated)
            assert stated.ethics is not None
            assert 1_000_000 == stated.ethics.compliance_ppm

    play_sim(body)


@pytest.mark.spec("ZER-04")
def test_a_proposal_without_anything_complies_with_nothing() -> None:
    """A proposal that names neither run, model nor data fails every check, and says that no bias was measured."""

    async def body(ground: SimGround) -> None:
        async with reviewing(ground) as (chamber, _):
            empty = facts(run="", model="", training=training(datasets=[]))
            await chamber.decide(ProposalMade(PROPOSAL, empty, None))
            await settled(chamber)
            [found] = await chamber.stands(EthicsReviewed)
            assert 0 == found.ethics.compliance_ppm
            assert "not measured" in found.ethics.bias_assessment
            assert set(ADVICE) == {line.split(":")[0] for line in found.ethics.recommendations}

    play_sim(body)
