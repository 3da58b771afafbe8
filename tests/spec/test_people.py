"""People: introduced by name and role, heard on their own lane in their own roles, and by nobody's leave elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from nerves.consensus import ConsensusNerve
from organs.reviewer import ReviewerOrgan
from organs.steward.entitlement import objections
from shared.ballots import PEOPLES, REVIEWER, ballot_grants, signed_ballot
from shared.bus import Bus, Draft
from shared.codec import decode
from shared.decisions import decisions_in
from shared.envelope import Verdict
from shared.errors import NotPermitted, Refusal, Refused
from shared.keys import LocalSigner, key_id_of
from shared.part import Part, declaration, grant_request
from shared.people import needs_of, people_of
from shared.policy import Policies
from shared.subjects.consensus import AiBallot, Ballot, HumanBallot, MakeProposal, ProposalStatus, Role, VoteCounted
from shared.subjects.keys import KEYS_LANE
from shared.subjects.people import EndPerson, IntroducePerson, PersonEnded
from shared.subjects.system import DeadLetter, Granted, GrantRequest
from shared.world import World, new_id
from tests.ground import ENV, Founded, Ground, SimGround, play_nats, play_sim
from tests.organisms import Living, live_nats, live_sim
from tests.parts import stage
from tests.proposals import PROPOSAL, Chamber, facts

MANIFEST = "f" * 64
MAY_VOTE: tuple[Role, ...] = ("human", "safety_lead")


def parts(_: World) -> Sequence[Part]:
    """The nerve and the reviewer."""
    return [ConsensusNerve(), ReviewerOrgan(Policies.shipped())]


def live(way: str, life: Callable[[Living], Coroutine[Any, Any, None]], folder: Path) -> None:
    """Live on a simulated server or on a real one."""
    if way == "sim":
        live_sim(life, parts)
    else:
        live_nats(life, folder, parts)


async def introduced(living: Living, name: str, *roles: Role) -> Bus:
    """Introduce a person by the steward, and return the bus on which they speak with their own connection."""
    signer = living.host.signer(name, name)
    asked = IntroducePerson(name, list(roles), signer.key_id, signer.public, living.host.nkey(name))
    answer = await living.operator.request(asked)
    assert isinstance(answer, Granted), answer
    return Bus(living.host.world(name), await living.host.wire(name), name, "1", [signer])


def spoken(voter: Bus, role: Role, about: str = MANIFEST, voter_name: str = "") -> Draft:
    """A ballot that a person signs, in whatever role and name."""
    [signer] = voter.signers
    said = signed_ballot(signer, role, voter_name or voter.part, about, "pass", "because")
    return Draft(said, new_id(voter.world))


async def book_of(bus: Bus) -> Any:  # noqa: ANN401 - the book as the bus knows it
    """The keys as the log knows them now."""
    await bus.follow(KEYS_LANE.format(env=bus.env))
    return bus.prefix.keys


@pytest.mark.spec("ZER-02", "ILL-07")
@pytest.mark.parametrize("way", ["sim", "nats"])
def test_a_person_speaks_in_their_roles_and_in_no_other(way: str, tmp_path: Path) -> None:
    """The bus lets a person publish their own ballots in their own roles, and nothing else of anybody's."""

    async def life(living: Living) -> None:
        ada = await introduced(living, "ada", *MAY_VOTE)
        bob = await introduced(living, "bob", "cto")
        for role in MAY_VOTE:
            receipt = await ada.append(spoken(ada, role))
            assert f"{ENV}.governance.ballots.event.ada.{role}" == receipt.subject
        forbidden: list[tuple[Role, str]] = [("ai", "ada"), ("cto", "ada"), ("human", "bob"), ("ai", "reviewer")]
        for role, name in forbidden:
            with pytest.raises(NotPermitted):
                await ada.append(spoken(ada, role, voter_name=name))
        for stranger in (bob.wire, *([living.operator.wire] if way == "nats" else ())):
            thief = Bus(ada.world, stranger, "ada", "1", ada.signers)
            with pytest.raises(NotPermitted):
                await thief.append(spoken(ada, "human"))
        for bus in (ada, bob):
            await bus.drain()

    live(way, life, tmp_path)


@pytest.mark.spec("ZER-02", "ILL-07")
@pytest.mark.parametrize("play", ["sim", "nats"])
def test_admission_refuses_a_forged_role_or_voter(play: str, tmp_path: Path) -> None:
    """Whoever the server lets publish anything: a ballot in another role or on another's lane is void, R007."""

    async def body(ground: Ground) -> None:
        founded = await Founded.on(ground)
        signer = await founded.introduce("ada", *ballot_grants(ENV, "ada", ["human"]))
        await founded.introduce("reviewer", AiBallot.signing_pattern(ENV, "reviewer"))
        ada = Bus(ground.world, await ground.wire("ada"), "ada", "1", [signer])
        as_reviewer = Bus(ground.world, ada.wire, "reviewer", "1", [signer])
        await ada.append(spoken(ada, "human"))
        forged: list[tuple[Bus, Ballot]] = [
            (ada, signed_ballot(signer, "ai", "ada", PROPOSAL, "pass", "x")),
            (ada, signed_ballot(signer, "ai", "reviewer", PROPOSAL, "pass", "x")),
            (ada, signed_ballot(signer, "human", "bob", PROPOSAL, "pass", "x")),
            (as_reviewer, signed_ballot(signer, "ai", "reviewer", PROPOSAL, "pass", "x")),
        ]
        for bus, ballot in forged:
            with pytest.raises(Refused, match="R007"):
                await bus.append(Draft(ballot, new_id(ground.world)))
        void = [verdict async for verdict in ada.replay() if verdict.refusal is not None]
        assert ["R007"] * len(forged) == [no.refusal.code for no in void if no.refusal]

    if play == "sim":
        play_sim(body)
    else:
        play_nats(body, tmp_path, links=False)


@pytest.mark.spec("ZER-02")
def test_a_ballot_that_names_another_voter_is_nobodys() -> None:
    """A ballot on one's own lane that says it is another's is dead-lettered as R008, folded by nobody, and no vote."""

    async def body(ground: SimGround) -> None:
        async with stage(ground) as here:
            chamber = await Chamber.on(ground)
            await here.carry(ConsensusNerve(), [await chamber.key_of(ConsensusNerve())])
            await (await here.asker()).request(MakeProposal(PROPOSAL, facts(), None))
            dead, ada = await here.dead(), await chamber.voter("ada", "human")
            honest = spoken(ada, "human", PROPOSAL)
            assert isinstance(honest.decision, HumanBallot)
            await ada.append(Draft(_Masked.of(honest.decision, "eve"), honest.event_id))
            [letter] = await dead.at_least(1)
            assert "R008" == decode(DeadLetter, letter.data).code
            assert [] == await chamber.stands(HumanBallot)
            assert [] == await chamber.stands(VoteCounted)
            assert [] == [no async for verdict in ada.replay() for no in verdict.void()]

    play_sim(body)


class _Masked(HumanBallot, subject=None):  # type: ignore[call-arg]
    """A ballot that is appended to one lane and names the voter of another."""

    def subject(self, env: str) -> str:
        return f"{env}.governance.ballots.event.ada.human"

    @classmethod
    def of(cls, ballot: HumanBallot, voter: str) -> _Masked:
        """The ballot under another name."""
        return cls(voter, ballot.about, ballot.choice, ballot.reason, ballot.evidence, ballot.signature)


@pytest.mark.spec("ZER-02")
@pytest.mark.parametrize("way", ["sim", "nats"])
def test_a_persons_vote_is_counted_in_a_whole_organism(way: str, tmp_path: Path) -> None:
    """From a person's own connection to the nerve's count: before the AI's vote theirs is void, by the log's order."""

    async def life(living: Living) -> None:
        ada = await introduced(living, "ada", "human")
        await living.operator.request(MakeProposal(PROPOSAL, facts(), None))
        receipt = await ada.append(spoken(ada, "human", PROPOSAL))
        lane = f"{ENV}.governance.consensus.event.{PROPOSAL}"
        counted: list[VoteCounted] = []
        while not counted:
            await living.world.sleep(0.05)
            counted = [vote for verdict in await living.operator.follow(lane) for vote in _votes(verdict)]
        assert (receipt.index, "void", "G005 AI_FIRST") == (
            counted[0].ballot_index,
            counted[0].counts,
            counted[0].void_reason,
        )
        await ada.drain()

    live(way, life, tmp_path)


def _votes(verdict: Verdict) -> list[VoteCounted]:
    return [vote for vote, _ in decisions_in(verdict, VoteCounted)]


@pytest.mark.spec("ILL-07")
def test_who_was_introduced_is_read_from_the_log(tmp_path: Path) -> None:
    """Roles stand in the log with the key; an ended key stays listed; the door opens to everybody at the next start."""

    async def first(living: Living) -> None:
        ada = await introduced(living, "ada", *MAY_VOTE)
        await ada.append(spoken(ada, "human"))
        await introduced(living, "bob", "cto")
        ended = await living.operator.request(EndPerson("bob", "left"))
        assert isinstance(ended, PersonEnded)
        known = people_of(await book_of(living.operator), ENV)
        assert [("ada", MAY_VOTE, None), ("bob", ("cto",), ended.index)] == [
            (one.name, one.roles, one.key.last) for one in known
        ]
        await ada.drain()

    async def second(living: Living) -> None:
        signer = living.host.signer("ada", "ada")
        ada = Bus(living.host.world("ada"), await living.host.wire("ada"), "ada", "1", [signer])
        assert (await ada.append(spoken(ada, "safety_lead"))).index
        await ada.drain()

    live_nats(first, tmp_path, parts)
    live_nats(second, tmp_path, parts)


@pytest.mark.spec("ILL-07")
@pytest.mark.parametrize("way", ["sim", "nats"])
def test_who_was_removed_votes_no_more(way: str, tmp_path: Path) -> None:
    """After their key ended a person's ballot is refused at the door, and what they signed before stays admitted."""

    async def life(living: Living) -> None:
        ada = await introduced(living, "ada", "human")
        before = await ada.append(spoken(ada, "human"))
        ended = await living.operator.request(EndPerson("ada", "left"))
        assert isinstance(ended, PersonEnded)
        again = Bus(living.host.world("ada"), await living.host.wire("ada"), "ada", "1", ada.signers)
        with pytest.raises(NotPermitted):
            await again.append(spoken(again, "human"))
        refused = {verdict.entry.index async for verdict in living.operator.replay() if verdict.refusal is not None}
        assert before.index not in refused
        answer = await living.operator.request(EndPerson("ada", "again"))
        assert isinstance(answer, Refusal)
        assert "G010" == answer.code

    live(way, life, tmp_path)


@pytest.mark.spec("ZER-02", "ILL-07")
def test_who_is_not_introduced() -> None:
    """No person has the AI's role, none twice, none at all, a part's name, or another key while one is in force."""

    async def life(living: Living) -> None:
        await introduced(living, "ada", "human")
        signer = LocalSigner(bytes(32))

        async def refused(name: str, roles: list[Role], public: bytes = signer.public) -> str:
            answer = await living.operator.request(IntroducePerson(name, roles, key_id_of(public), public, ""))
            assert isinstance(answer, Refusal)
            return answer.code

        assert "G007" == await refused("bob", ["ai"])
        assert "G007" == await refused("bob", ["human", "human"])
        assert "G007" == await refused("bob", [])
        for name in ("reviewer", "consensus", "steward", "root", "operator", "Bob", "", "b.b"):
            assert "B005" == await refused(name, ["human"])
        assert "B005" == await refused("ada", ["human"])
        weak = await living.operator.request(IntroducePerson("bob", ["human"], key_id_of(bytes(32)), bytes(32), ""))
        assert isinstance(weak, Refusal)
        unknown = await living.operator.request(ProposalStatus(PROPOSAL))
        assert isinstance(unknown, Refusal)
        assert "G001" == unknown.code

    live_sim(life, parts)


@pytest.mark.spec("ZER-02")
@pytest.mark.parametrize("role", PEOPLES)
def test_a_part_is_granted_no_persons_ballots(role: Role) -> None:
    """A part that asks for itself gets no person's ballots, and no other voter's."""
    signer = LocalSigner(bytes(range(32)))
    asked = needs_of(ENV, "helper", [role], "", signer.public)
    assert [f"voting on {ENV}.governance.ballots.event.helper.{role}"] == objections(asked, ENV, [])
    own = grant_request(declaration(ReviewerOrgan(Policies.shipped())), ENV, "", signer, "host")
    assert [] == objections(own, ENV, [])
    assert f"{ENV}.governance.ballots.event.reviewer.ai" in own.grants
    for wider in (f"{ENV}.governance.ballots.event.*.ai", f"{ENV}.governance.ballots.event.other.ai"):
        assert any("voting on" in why for why in objections(_with(own, wider), ENV, []))


def _with(asked: GrantRequest, pattern: str) -> GrantRequest:
    return replace(asked, publish=[*asked.publish, pattern], grants=[*asked.grants, pattern])


@pytest.mark.spec("ZER-02", "ZER-03")
def test_no_part_but_the_reviewer_is_granted_the_ais_ballots() -> None:
    """The AI's ballots are the reviewer's: no other part gets them, on its own lane or on the reviewer's."""
    signer = LocalSigner(bytes(range(32)))
    own = needs_of(ENV, "helper", ["ai"], "", signer.public)
    assert [f"voting on {AiBallot.signing_pattern(ENV, 'helper')}"] == objections(own, ENV, [])
    lane = AiBallot.signing_pattern(ENV, REVIEWER)
    assert f"voting on {lane}" in objections(replace(own, publish=[lane], grants=[lane]), ENV, [])
