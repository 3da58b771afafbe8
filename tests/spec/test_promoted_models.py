"""From evidence in the log to the model that speaks: the registry decides, and the boundary loads that digest."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from deploy.promoting import registration
from deploy.tour_model import Teacher
from nerves.registry import RegistryNerve
from organs.boundary import BoundaryOrgan
from organs.records import MemoryRecords
from organs.records.views.promotions import PROMOTIONS
from shared.boundary.memory import MemoryShelf
from shared.boundary.task import TASK
from shared.bus import Bus, Context
from shared.config import load
from shared.errors import Exit, Refusal
from shared.home import Keys
from shared.keys.sealed import CHEAP
from shared.log.entry import Position
from shared.message import Request
from shared.part import Runner
from shared.part.mind import Mind
from shared.registry.promoted import Promoted
from shared.subjects.boundary import BoundaryStated, BoundaryStatus, InstallModel
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
from shared.world import RealWorld, SimWorld, now_ms
from tests.commands import ROOT, Home
from tests.evidence_part import SayEvidence, Witness
from tests.ground import SimGround, play_sim
from tests.organisms import Living, live_sim
from tests.promotions import DATASET, FAMILY, MODEL, NOW_MS, OTHER, Lane, facts, run
from tests.proposals import Chamber, durable_of


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


async def toured(living: Living, home: Path) -> list[str]:
    """The names of the steps that a tour would take between posts and a promoted model."""
    loaded = load({}, {"env": living.operator.env, "home": str(home)}, "here")
    teacher = Teacher(living.operator, Keys(loaded.settings, living.world, CHEAP), loaded, lambda _: None)
    return [name for name, _ in await teacher.steps(anew=False)]


@pytest.mark.spec("ILL-17", "ILL-18", "COL-10")
def test_what_is_promoted_speaks_and_what_is_rolled_back_does_not(tmp_path: Path) -> None:
    """Evidence that others decided is noted where it stands; the model speaks from its promotion to its rollback.

    So long the tour looks at it; then nothing is in force, and it trains.
    """

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
        assert ["ingest", "load", "trace"] == await toured(living, tmp_path)
        assert isinstance(await asked(living, InstallModel(MODEL)), Decided)
        assert isinstance(await asked(living, RollBackModel(FAMILY, "staging", "it drifted", "ada")), Decided)
        assert "" == (await spoken(living, "translator")).model
        assert "train" in await toured(living, tmp_path)
        records = MemoryRecords()
        await records.apply([verdict async for verdict in living.operator.replay()])
        promotions = [dict(zip(PROMOTIONS.names, row, strict=True)) for row in records.tables["promotions"].values()]
        assert [("blocked", ("signatures: TOO_LOW",)), ("promoted", ()), ("rolled_back", ())] == [
            (row["outcome"], row["failing"]) for row in promotions
        ]
        assert {(FAMILY, MODEL, "staging")} == {(row["family"], row["model"], row["target"]) for row in promotions}
        [model] = records.tables["models"].values()
        assert (FAMILY, MODEL, "1") == model[:3]

    live_sim(life, lambda world: [RegistryNerve(), Witness(), BoundaryOrgan(world, MemoryShelf(TASK, [MODEL]))])


def promoted_at(env: str, *targets: Target) -> Promoted:
    """What the log promotes in an environment after the model was promoted to these targets."""
    lane, known = Lane(), Promoted("boundary", env)
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
    assert speaks == (known.in_force(NOW_MS) is not None) == (known.refused(MODEL, "", NOW_MS) is None)
    other = known.refused(DATASET, "", NOW_MS)
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
    no = promoted_at(env).refused(MODEL, exemption, NOW_MS)
    assert allowed == (no is None)
    assert no is None or "N006" == no.code


@pytest.mark.spec("ILL-07", "X-06")
def test_what_ran_out_is_in_force_for_nobody() -> None:
    """An emergency that nobody ratified in time is no answer to what is in force, from the moment after its end."""
    known, lane = Promoted("boundary", "prod"), Lane()
    lane.staged()
    known.take(replace(lane.promote(), emergency=True, ratify_by_ms=NOW_MS, ratify_signatures=3), Position(0, 0))
    there = known.in_force(NOW_MS)
    assert (MODEL, None) == (there.model if there else "", known.in_force(NOW_MS + 1))


@pytest.mark.spec("ILL-07", "X-06")
def test_an_emergency_that_ran_out_is_let_go_though_nobody_takes_it_back() -> None:
    """At its time's end the boundary lets the model go by itself; a registry that is down keeps nothing in force."""
    world = SimWorld("dev", 1)
    organ = BoundaryOrgan(world, MemoryShelf(TASK, [MODEL]))

    async def life() -> None:
        began_ms = now_ms(world)
        organ.promoted = Promoted("boundary", "dev")
        lane = Lane()
        lane.staged()
        one = replace(lane.promote(), emergency=True, ratify_by_ms=began_ms + 1_000, ratify_signatures=3)
        await organ.on_promoted(one, Position(0, 0))
        assert "ready" == organ.state
        await organ.on_tick(Tick("boundary", "boot", 1, began_ms + 1_000))
        assert "ready" == organ.state
        await organ.on_tick(Tick("boundary", "boot", 2, began_ms + 1_001))
        assert ("failed", True) == (organ.state, "N006" in organ.reason)
        late = replace(one, ratify_by_ms=began_ms - 1)
        await organ.on_promoted(late, Position(1, 0))
        assert organ.model is None
        assert organ.promoted.refused(MODEL, "", began_ms) is not None

    asyncio.run(life())


@pytest.mark.spec("ILL-07", "X-07")
def test_a_registry_that_was_restarted_is_reminded_of_every_family() -> None:
    """A mind that has heard nothing yet looks at each lane at its first Tick: what runs out then does."""

    async def life(living: Living) -> None:
        await asked(living, SayEvidence("run", "", 0))
        await noted(living, 0)
        await asked(living, RegisterModel(FAMILY, MODEL, facts()))
        mind = Mind(RegistryNerve(), living.operator)
        assert {} == mind.states

        async def ahead(_: list[object]) -> None: ...

        tick = Tick("registry", "boot", 1, now_ms(living.world))
        assert ([], []) == await mind.decide(tick, bytes(16), Context(), ahead)
        assert [MODEL] == [*mind.states[FAMILY].models]

    live_sim(life, lambda _: [RegistryNerve(), Witness()])


@pytest.mark.spec("ILL-01", "COL-10")
def test_a_model_is_registered_once_its_run_is_noted() -> None:
    """A run stands in the log before the registry has heard of it; whoever registers what it left waits so long."""

    async def body(ground: SimGround) -> None:
        chamber = await Chamber.on(ground)
        signer = await chamber.key_of(RegistryNerve())
        await durable_of(ground, RegistryNerve())
        await chamber.decide(run())
        about = registration(chamber.desk, MODEL, "1", "boundary 1", high_risk=False, watermark="")
        asking = asyncio.ensure_future(about)
        await ground.world.sleep(1.0)
        assert not asking.done()
        bus = Bus(ground.world, await ground.wire("registry"), "registry", "1.0.0", [signer])
        runner = Runner(RegistryNerve(), bus, handshake=False)
        await runner.start()
        assert isinstance(await chamber.desk.request(await asking), Decided)
        await runner.stop()

    play_sim(body)


@pytest.mark.spec("ILL-07", "ILL-17", "COL-10")
def test_a_model_is_promoted_from_the_command_line(tmp_path: Path) -> None:
    """Registered, blocked with every missing row named and recorded, signed by a person, promoted, told, taken back."""
    home = Home.at(tmp_path / "home").without_records().keyed()
    part = str(ROOT / "tests" / "evidence_part.py")
    with home.up("--part", "nerves.registry", "--part", part):
        said = "demo.evidence.say.request"
        home.held("request", said, json.dumps({"piece": "run", "about": "", "at_ms": 0}))
        home.held("registry", "register", MODEL, "--version", "1")
        blocked = home.run("promote", FAMILY, "1", "--to", "staging", "--json", "--plot", str(tmp_path / "gate.svg"))
        assert int(Exit.REFUSED) == blocked.code
        [told] = blocked.documents
        missing = {row["name"] for row in told["judgement"]["rows"] if not row["holds"]}
        assert {"power_kw", "merkle_valid", "bias", "hallucination", "quality", "proposal", "signatures"} <= missing
        assert "MISSING_BIAS" in (tmp_path / "gate.svg").read_text()
        for piece in ("dataset", "other", "evaluation", "proposal", "power"):
            at_ms = now_ms(RealWorld("dev"))
            home.held("request", said, json.dumps({"piece": piece, "about": "", "at_ms": at_ms}))
        home.held("people", "add", "ada", "--role", "signer")
        [manifest] = home.held("registry", "manifest", FAMILY, "1", "--to", "staging", "--json").documents
        words = (
            manifest["manifest"],
            "pass",
            "--family",
            FAMILY,
            "--as",
            "ada",
            "--role",
            "signer",
            "--reason",
            "good",
        )
        assert "noted by the registry" in home.held("vote", *words).out
        done = home.held("promote", FAMILY, "1", "--to", "staging")
        assert f"{MODEL} is in force at staging" in done.out
        [there, _] = home.held("registry", "at", FAMILY, "100000", "--json").documents
        assert MODEL == there["standing"]["model"]
        [before, _] = home.held("registry", "at", FAMILY, str(told["index"]), "--json").documents
        assert before["standing"] is None
        [shown] = home.held("registry", "show", FAMILY, "--json").documents
        assert ("staging", "1") == (shown["status"], shown["facts"]["version"])
        [node] = home.held("registry", "lineage", MODEL, "--json").documents
        assert [DATASET, OTHER] == [one["name"] for one in node["came_from"][0]["came_from"]]
        *judged, last = home.held("registry", "verify", "--json").documents
        assert (["same", "same"], 2, 2) == ([one["verdict"] for one in judged], last["promotions"], last["same"])
        back = home.held("rollback", FAMILY, "--from", "staging", "--reason", "it drifted")
        assert "nothing is in force there now" in back.out
        [row] = home.held("registry", "list", "--json").documents
        assert (FAMILY, 1, "") == (row["family"], row["models"], row["staging"])
