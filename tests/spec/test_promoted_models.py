"""From evidence in the log to the model that speaks: the registry decides, and the boundary loads that digest."""

from __future__ import annotations

import asyncio
from typing import ClassVar

import pytest
from msgspec.structs import replace

from nerves.registry import RegistryNerve
from organs.boundary import BoundaryOrgan
from organs.boundary.promoted import Promoted
from shared.boundary.memory import MemoryShelf
from shared.boundary.task import TASK
from shared.errors import Refusal
from shared.log.entry import Position
from shared.message import Request
from shared.part import Organ
from shared.subjects.boundary import BoundaryStated, BoundaryStatus, InstallModel
from shared.subjects.consensus import SignerBallot, VoteCounted
from shared.subjects.datasets import DatasetVerified
from shared.subjects.energy import PowerWindowDecided
from shared.subjects.evaluation import Evaluated
from shared.subjects.registry import (
    FamilyStated,
    FamilyStatus,
    ManifestStated,
    ModelPromoted,
    PromoteModel,
    RegisterModel,
    RollBackModel,
    StateManifest,
    Target,
)
from shared.subjects.system import Decided, Tick
from shared.subjects.training import RunRecorded
from shared.world import now_ms
from tests.organisms import Living, live_sim
from tests.promotions import (
    DATASET,
    FAMILY,
    MODEL,
    NOW_MS,
    OTHER,
    Lane,
    accepted,
    evaluated,
    facts,
    power,
    run,
    verified,
)

Evidence = RunRecorded | DatasetVerified | Evaluated | PowerWindowDecided | VoteCounted | SignerBallot


class SayEvidence(Request, subject="demo.evidence.say.request", reply=Decided):
    """Have one piece of evidence decided."""

    piece: str
    about: str
    at_ms: int


class Witness(Organ):
    """Stands for every part whose decisions are evidence, and is a signer besides."""

    name: ClassVar[str] = "sig"
    version: ClassVar[str] = "1.0.0"

    async def on_say(self, asked: SayEvidence) -> list[Evidence]:
        """Decide one piece of evidence."""
        pieces: dict[str, Evidence] = {
            "run": run(),
            "dataset": verified(),
            "other": verified(OTHER),
            "evaluation": evaluated(),
            "power": power(taken_ms=asked.at_ms),
            "proposal": accepted(),
            "signature": SignerBallot("sig", asked.about, "pass", "because", "", b"", FAMILY),
        }
        return [pieces[asked.piece]]


async def asked(living: Living, request: Request) -> object:
    """The answer to a request."""
    return await living.operator.request(request)


async def spoken(living: Living, speaker: str) -> BoundaryStated:
    """The boundary's status, once this speaker speaks."""
    while True:
        said = await asked(living, BoundaryStatus())
        assert isinstance(said, BoundaryStated)
        if said.speaker == speaker:
            return said
        await living.world.sleep(0.05)


async def noted(living: Living, count: int) -> None:
    """Wait until the registry has noted as many decisions about the family's first model."""
    while True:
        told = await asked(living, FamilyStatus(FAMILY))
        if isinstance(told, FamilyStated) and (not count or len(told.models[0].evidence) >= count):
            return
        await living.world.sleep(0.05)


@pytest.mark.spec("ILL-17", "ILL-18", "COL-10")
def test_what_is_promoted_speaks_and_what_is_rolled_back_does_not() -> None:
    """Evidence that others decided is noted where it stands; the model speaks from its promotion to its rollback."""

    async def life(living: Living) -> None:
        at_ms = now_ms(living.world)
        await asked(living, SayEvidence("run", "", at_ms))
        await noted(living, 0)
        assert isinstance(await asked(living, RegisterModel(FAMILY, MODEL, facts())), Decided)
        for piece in ("dataset", "other", "evaluation", "power", "proposal"):
            await asked(living, SayEvidence(piece, "", at_ms))
        await noted(living, 5)
        refused = await asked(living, InstallModel(MODEL))
        assert isinstance(refused, Refusal)
        assert "N006" == refused.code
        signed = await asked(living, StateManifest(FAMILY, MODEL, "staging", emergency=False))
        assert isinstance(signed, ManifestStated)
        assert {"signatures"} == {row.name for row in signed.judgement.rows if not row.holds}
        assert isinstance(await asked(living, PromoteModel(FAMILY, MODEL, "staging", "ada", False, "")), Decided)  # noqa: FBT003
        assert "translator" == (await spoken(living, "translator")).speaker
        await asked(living, SayEvidence("signature", signed.manifest, at_ms))
        while signed.judgement.allowed is False:
            signed = await asked(living, StateManifest(FAMILY, MODEL, "staging", emergency=False))
            assert isinstance(signed, ManifestStated)
            await living.world.sleep(0.05)
        assert isinstance(await asked(living, PromoteModel(FAMILY, MODEL, "staging", "ada", False, "")), Decided)  # noqa: FBT003
        assert MODEL == (await spoken(living, f"model:{MODEL}")).model
        assert isinstance(await asked(living, InstallModel(MODEL)), Decided)
        assert isinstance(await asked(living, RollBackModel(FAMILY, "staging", "it drifted", "ada")), Decided)
        assert "" == (await spoken(living, "translator")).model

    live_sim(life, lambda _: [RegistryNerve(), Witness(), BoundaryOrgan(MemoryShelf(TASK, [MODEL]))])


def promoted_at(env: str, *targets: Target) -> Promoted:
    """What the log promotes in an environment after the model was promoted to these targets."""
    lane, known = Lane(), Promoted(env)
    lane.staged()
    made = lane.promote()
    assert isinstance(made, ModelPromoted)
    for index, target in enumerate(targets):
        one = replace(made, target=target)
        assert known.take(one, Position(index, 0))
        assert not known.take(one, Position(index, 0))
    return known


@pytest.mark.spec("ILL-18")
@pytest.mark.parametrize(
    ("env", "targets", "speaks"),
    [
        ("prod", ("staging",), False),
        ("prod", ("staging", "prod"), True),
        ("staging", ("staging",), True),
        ("dev", ("prod",), True),
        ("dev", (), False),
    ],
)
def test_prod_loads_what_is_in_force_at_prod_alone(env: str, targets: tuple[Target, ...], speaks: bool) -> None:  # noqa: FBT001
    """Elsewhere whatever was put in force last speaks, at staging too; another family's promotion says nothing."""
    known = promoted_at(env, *targets)
    assert speaks == (known.in_force() is not None) == (known.refused(MODEL, "") is None)
    other = known.refused(DATASET, "")
    assert other is not None
    assert "N006" == other.code


@pytest.mark.spec("ILL-18", "ZER-05")
@pytest.mark.parametrize(
    ("env", "exemption", "allowed"),
    [("dev", "dev_install", True), ("prod", "dev_install", False), ("staging", "dev_install", False)]
    + [("dev", name, False) for name in ("pilot", "dev_tour", "mine")],
)
def test_an_exemption_is_named_by_policy_and_holds_in_its_environment(env: str, exemption: str, allowed: bool) -> None:  # noqa: FBT001
    """Only what the policy lists for installing, there, lets a model speak that was not promoted."""
    no = promoted_at(env).refused(MODEL, exemption)
    assert allowed == (no is None)
    assert no is None or "N006" == no.code


@pytest.mark.spec("ILL-07", "X-06")
def test_an_emergency_that_ran_out_is_let_go_though_nobody_takes_it_back() -> None:
    """At its time's end the boundary lets the model go by itself; a registry that is down keeps nothing in force."""
    organ = BoundaryOrgan(MemoryShelf(TASK, [MODEL]))

    async def life() -> None:
        organ.promoted = Promoted("dev")
        lane = Lane()
        lane.staged()
        one = replace(lane.promote(), emergency=True, ratify_by_ms=NOW_MS + 1_000, ratify_signatures=3)
        await organ.on_promoted(one, Position(0, 0))
        assert "ready" == organ.state
        await organ.on_tick(Tick("boundary", "boot", 1, NOW_MS + 1_000))
        assert "ready" == organ.state
        await organ.on_tick(Tick("boundary", "boot", 2, NOW_MS + 1_001))
        assert ("failed", True) == (organ.state, "N006" in organ.reason)

    asyncio.run(life())
