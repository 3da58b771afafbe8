"""The reviewer killed at every step, and replicas of the nerve racing over random ballots: one ballot, one history."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.recheck import Rerun
from nerves.consensus import ConsensusNerve
from organs.reviewer import ReviewerOrgan
from shared.ballots import REVIEWER
from shared.bus.sim import Faults
from shared.consensus import FINAL, Proposal
from shared.policy import Policies
from shared.subjects.consensus import (
    AiBallot,
    EthicsReviewed,
    HumanBallot,
    MakeProposal,
    ProposalMade,
    VoteCounted,
)
from shared.world import SimWorld, simulate
from tests.ground import SimGround
from tests.mortal import FOREVER, Life, Theatre
from tests.proposals import PROPOSAL, Chamber, cast, facts, recorded

OTHER = "boundary-3"
TROUBLE = (
    Faults(),
    Faults(drop=0.1, duplicate=0.1, delay_s=0.05),
    Faults(lose_ack=0.2, lose_append=0.2, delay_s=0.02),
)


async def killed_while_reviewing(steps: int, *, run_first: bool) -> tuple[list[str], list[str], bool]:
    """Kill the reviewer `steps` after it began to hear of two proposals and their run; its successor goes on."""
    ground = SimGround()
    theatre = Theatre(ground)
    chamber = await Chamber.on(ground)
    signer = await chamber.key_of(ReviewerOrgan(Policies.shipped()))
    proposals = [ProposalMade(name, facts(), None) for name in (PROPOSAL, OTHER)]
    for decision in [recorded(), *proposals] if run_first else [*proposals, recorded()]:
        await chamber.decide(decision)
    life = Life(steps)
    first = await theatre.carry_mortal(ReviewerOrgan(Policies.shipped()), signer, life)
    await ground.world.sleep(30.0)
    died = life.over
    if not died:
        await first.halt()
        life.steps = 0
        life.step()
    await theatre.carry_mortal(ReviewerOrgan(Policies.shipped()), signer, Life(FOREVER))
    await ground.world.sleep(30.0)
    ballots = [ballot.about for ballot in await chamber.stands(AiBallot)]
    return ballots, sorted({review.proposal for review in await chamber.stands(EthicsReviewed)}), died


@pytest.mark.spec("ZER-03", "X-07")
@pytest.mark.parametrize("run_first", [True, False], ids=["run first", "proposals first"])
@pytest.mark.parametrize("stride", [4, pytest.param(1, marks=pytest.mark.slow)], ids=["some steps", "any step"])
def test_a_reviewer_killed_at_any_step_votes_once(*, run_first: bool, stride: int) -> None:
    """Killed at any step between two ballots, before or after each is stored, it votes once on each proposal."""
    steps, died = -stride, True
    while died:
        steps += stride
        found = simulate(lambda steps=steps: killed_while_reviewing(steps, run_first=run_first))
        ballots, reviewed, died = found
        assert ([PROPOSAL, OTHER], sorted([PROPOSAL, OTHER])) == (ballots, reviewed), f"killed after {steps} steps"
    assert steps >= 20, f"the reviewer took only {steps} steps: something is not counted"


async def race(seed: int, faults: Faults) -> None:
    """Let two replicas of the nerve count the same ballots of four voters in both roles, and judge the history."""
    ground = SimGround(seed)
    theatre = Theatre(ground)
    chamber = await Chamber.on(ground)
    signer = await chamber.key_of(ConsensusNerve())
    runners = [await theatre.carry_mortal(ConsensusNerve(), signer, Life(FOREVER)) for _ in range(2)]
    voters = [await chamber.voter(name, "ai", "human") for name in ("ann", "bob", REVIEWER, "spare")]
    nerve = voters[0].world
    assert isinstance(nerve, SimWorld)
    draws = nerve.fork(f"ballots/{seed}")
    await made_by(chamber, theatre)
    ground.server.faults = faults
    for _ in range(12):
        voter = voters[int(draws.chance() * len(voters))]
        role = "ai" if draws.chance() < 0.5 else "human"
        await cast(voter, role, "pass" if draws.chance() < 0.7 else "fail", PROPOSAL)
    ground.server.faults = Faults()
    await ground.world.sleep(120.0)
    cast_ballots = [
        (at.entry.index, event)
        async for at in chamber.desk.replay()
        for _, event in at.admitted()
        if ".ballots." in at.entry.subject
    ]
    counted = await chamber.stands(VoteCounted)
    assert sorted(index for index, _ in cast_ballots) == sorted(vote.ballot_index for vote in counted)
    assert 12 == len(counted) == len(await chamber.stands(AiBallot)) + len(await chamber.stands(HumanBallot))
    await judged(chamber, counted, runners)


async def made_by(chamber: Chamber, theatre: Theatre) -> None:
    """Have the nerve make the proposal."""
    asker = await theatre.asker()
    await asker.request(MakeProposal(PROPOSAL, facts(), None))
    await chamber.ground.world.sleep(1.0)


async def judged(chamber: Chamber, counted: list[VoteCounted], runners: list[Any]) -> None:
    """Hold a history against the rules, and every replica's state against its fold; each decision comes out again."""
    before = Proposal()
    for vote in counted:
        assert before.state not in FINAL or vote.state == before.state
        assert vote.counts != "counted" or vote.role == "ai" or before.ai == "pass"
        assert vote.counts == "void" or vote.role == "human" or vote.voter == REVIEWER
        assert vote.counts != "advisory" or before.ai == "fail"
        before = Proposal(None, None, vote.ai, vote.human, vote.state)
    again = Rerun(ConsensusNerve())
    async for verdict in chamber.desk.replay():
        assert all(same for _, same in again.take(verdict))
    for runner in runners:
        runner.raise_if_broken()
        await runner.bus.follow(runner.mind.lane(PROPOSAL))
        assert again.states[PROPOSAL] == runner.mind.state(PROPOSAL)


@pytest.mark.spec("ZER-02", "X-07")
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("faults", TROUBLE, ids=["calm", "lossy", "unacknowledged"])
def test_replicas_count_each_ballot_once(faults: Faults, seed: int) -> None:
    """However replicas race and whatever is lost or late, each ballot is counted once, by the rules, replayed alike."""
    simulate(lambda: race(seed, faults))
