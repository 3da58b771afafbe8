"""Proposals, runs and ballots to try with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from nerves.consensus import ConsensusNerve
from organs.reviewer import ReviewerOrgan
from shared.ballots import AI, CLASSES, REVIEWER, ballot_grants, signed_ballot
from shared.bus import Bus, Draft
from shared.bus.ledger import Receipt
from shared.bus.sim import SimDurable
from shared.decisions import decisions_in
from shared.keys import LocalSigner
from shared.log.entry import Position
from shared.message import Decision
from shared.part import Part, declaration
from shared.policy import Policies
from shared.subjects.consensus import Choice, ProposalFacts, Role, TrainingData
from shared.subjects.training import RunRecorded
from shared.world import new_id
from tests.ground import ENV, LOG, Founded, SimGround

D = TypeVar("D", bound=Decision)

RECORD, MODEL, DATASET = "a" * 64, "b" * 64, "c" * 64
FALLING = [54_136_700, 20_000_000, 5_000_000, 1_200_000, 654_700]  #: the source's own example, 98.79 % better
PROPOSAL = "boundary-2"


def facts(**changed: object) -> ProposalFacts:
    """What is proposed, all of it valid."""
    said: dict[str, object] = {
        "proposer": "ada",
        "summary": "Teach the boundary the new dock",
        "details": "",
        "change_type": "upgrade",
        "risk": "low",
        "training": training(),
        "run": RECORD,
        "model": MODEL,
        "family": "boundary",
    }
    return ProposalFacts(**(said | changed))  # type: ignore[arg-type]


def training(**changed: object) -> TrainingData:
    """What it was trained with, within every limit."""
    said: dict[str, object] = {
        "model_id": "boundary-tiny",
        "steps": 400,
        "datasets": [DATASET],
        "backend": "torch",
        "learning_rate_ppm": 10_000,
        "batch": 32,
        "epochs": 0,
    }
    return TrainingData(**(said | changed))  # type: ignore[arg-type]


def recorded(losses_micro: Sequence[int] = FALLING, **changed: object) -> RunRecorded:
    """A run of that training."""
    said: dict[str, object] = {
        "job": "job-1",
        "family": "boundary",
        "record": RECORD,
        "model": MODEL,
        "weights": "d" * 64,
        "datasets": [DATASET],
        "consensus_ppm": 1_000_000,
        "losses_micro": list(losses_micro),
        "samples_per_s": 1_000,
    }
    return RunRecorded(**(said | changed))  # type: ignore[arg-type]


def ballot(role: Role, choice: Choice, voter: str = "", about: str = PROPOSAL, reason: str = "because") -> object:
    """A ballot whose inner signature is none: the nerve believes admission."""
    return CLASSES[role](voter or (REVIEWER if role == AI else "ada"), about, choice, reason, "", b"")


def place(index: int) -> Position:
    """Where something stands."""
    return Position(index, 0)


async def durable_of(ground: SimGround, part: Part) -> None:
    """Make the durable consumer that a part declares, as the steward does."""
    for name, patterns in declaration(part).consumers(ENV).items():
        ground.server.durables[LOG, name] = SimDurable(LOG, tuple(patterns), 5.0)


class Chamber:
    """A log with everybody who speaks about proposals, and a desk from which all else is decided."""

    def __init__(self, ground: SimGround, founded: Founded, desk: Bus) -> None:
        self.ground, self.founded, self.desk = ground, founded, desk

    @classmethod
    async def on(cls, ground: SimGround) -> Chamber:
        """Found the log, and introduce the desk for everything."""
        founded = await Founded.on(ground)
        signer = await founded.introduce("desk", f"{ENV}.lifecycle.>", f"{ENV}.governance.consensus.>")
        chamber = cls(ground, founded, Bus(ground.world, await ground.wire("desk"), "desk", "1", [signer]))
        for part in (ConsensusNerve(), ReviewerOrgan(Policies.shipped())):
            await durable_of(ground, part)
        return chamber

    async def key_of(self, part: Part) -> LocalSigner:
        """Introduce a part's key with what its declaration needs."""
        return await self.founded.introduce(
            part.name, *(cls.signing_pattern(ENV, part.name) for cls in declaration(part).decides())
        )

    async def voter(self, name: str, *roles: Role) -> Bus:
        """Introduce a person and return their bus; its wire is one that the server would let do anything."""
        signer = await self.founded.introduce(name, *ballot_grants(ENV, name, list(roles)))
        return Bus(self.ground.world, await self.ground.wire(name), name, "1", [signer])

    async def decide(self, decision: Decision) -> Receipt:
        """Append something from the desk."""
        return await self.desk.append(Draft(decision, new_id(self.ground.world)))

    async def stands(self, *classes: type[D]) -> list[D]:
        """Return the admitted decisions of these classes, in the order of the log."""
        return [said async for verdict in self.desk.replay() for said, _ in decisions_in(verdict, *classes)]


async def cast(voter: Bus, role: Role, choice: Choice, about: str = PROPOSAL, reason: str = "because") -> Receipt:
    """Cast a ballot as a person does."""
    [signer] = voter.signers
    said = signed_ballot(signer, role, voter.part, about, choice, reason)
    return await voter.append(Draft(said, new_id(voter.world)))
