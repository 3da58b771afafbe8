"""The trails of one's own organism: what the boundary was asked is what its next model learns from."""

from __future__ import annotations

import asyncio
from itertools import islice
from pathlib import Path
from typing import Any

import asyncpg  # pyright: ignore[reportMissingTypeStubs] - it ships none
import msgspec
import pytest

from deploy.attach import operator
from organs.boundary import BoundaryOrgan
from organs.boundary.harvest import Harvest
from organs.records.views import calls
from shared.boundary.evaluate import states
from shared.boundary.memory import MemoryShelf
from shared.boundary.task import TASK, Call, write_call
from shared.boundary.training.trails import Trail, Trails, written
from shared.boundary.translator import Rules, translate
from shared.config import load
from shared.errors import Exit
from shared.home import Keys
from shared.keys.sealed import CHEAP
from shared.subjects.boundary import (
    BoundaryStated,
    BoundaryStatus,
    CorrectCall,
    InstallModel,
    Transformed,
    TransformRequest,
)
from shared.world import RealWorld, within
from tests.commands import EVENT_S, Home
from tests.organisms import Living, live_sim

MODEL = "ab" * 32
SOME = [*islice(states(TASK, 140), 128, None)]
IDLE = Call("idle", {})


async def harvest(living: Living) -> Harvest:
    """What a log teaches."""
    found = Harvest(TASK)
    async for verdict in living.operator.replay():
        found.take(verdict)
    return found


async def say(living: Living, state: dict[str, int]) -> None:
    """Ask for the call of a state."""
    assert isinstance(await living.operator.request(TransformRequest(state)), Transformed)


def _ready(status: object) -> bool:
    assert isinstance(status, BoundaryStated)
    return status.state == "ready"


@pytest.mark.spec("NIM-14", "NIM-18")
def test_the_rules_calls_are_trails_once_each() -> None:
    """Each state that the rules answered is one trail however often it was asked, in the order of the last answers."""

    async def life(living: Living) -> None:
        nothing = (await harvest(living)).trails("log")
        assert ((), None) == (nothing.all, nothing.origin)
        for state in [*SOME[:3], SOME[0]]:
            await say(living, state)
        found = (await harvest(living)).trails("log")
        assert tuple(Trail(translate(state), state) for state in (SOME[1], SOME[2], SOME[0])) == found.all
        assert found.digest == Trails.of(found.all).digest
        assert found.origin is not None
        assert ("log", 0) == (found.origin.log, found.origin.unjudged)
        assert 3 == found.origin.last - found.origin.first + 1

    live_sim(life, lambda world: [BoundaryOrgan(world, MemoryShelf(TASK))])


@pytest.mark.spec("NIM-14", "NIM-18")
def test_a_model_does_not_teach_itself() -> None:
    """A model's call is no trail until a person says what is right there; that outranks the rules' word, and stays."""
    other = MemoryShelf(TASK, [MODEL], rules=Rules(stop_cm=250))

    async def life(living: Living) -> None:
        await say(living, SOME[0])
        await living.operator.request(CorrectCall(SOME[0], write_call(IDLE)))
        await say(living, SOME[0])
        await living.operator.request(InstallModel(MODEL, "dev_install"))
        while not _ready(await living.operator.request(BoundaryStatus())):
            await living.world.sleep(0.01)
        for state in SOME[1:4]:
            await say(living, state)
        await living.operator.request(CorrectCall(SOME[2], write_call(IDLE)))
        found = await harvest(living)
        assert (Trail(IDLE, SOME[0]), Trail(IDLE, SOME[2])) == found.trails("log").all
        assert 2 == found.unjudged

    live_sim(life, lambda world: [BoundaryOrgan(world, other)])


@pytest.mark.spec("NIM-14")
def test_another_tasks_calls_are_passed_over() -> None:
    """What was decided for a task with other fields or functions is counted, and nothing is learned from it."""
    other = msgspec.structs.replace(TASK, name="another")

    async def life(living: Living) -> None:
        await say(living, SOME[0])
        found = await harvest(living)
        assert ((), 1) == (found.trails("log").all, found.others)

    live_sim(life, lambda world: [BoundaryOrgan(world, MemoryShelf(other), other)])


@pytest.mark.spec("NIM-18")
def test_calls_have_rows() -> None:
    """The view `calls` has a row for each answer and each correction: state, call and speaker, in the log's order."""

    async def life(living: Living) -> None:
        await say(living, SOME[0])
        await living.operator.request(CorrectCall(SOME[0], write_call(IDLE)))
        rows = [
            dict(zip(change.names, change.values, strict=True))
            async for verdict in living.operator.replay()
            for change in calls.project(verdict)
        ]
        said = write_call(translate(SOME[0]))
        assert [("translator", said, SOME[0]), ("person", write_call(IDLE), SOME[0])] == [
            (row["speaker"], row["call"], msgspec.json.decode(str(row["state"]))) for row in rows
        ]

    live_sim(life, lambda world: [BoundaryOrgan(world, MemoryShelf(TASK))])


@pytest.mark.spec("NIM-14", "NIM-18", "X-02")
def test_an_organism_learns_from_its_own_log(tmp_path: Path) -> None:
    """On real servers: asked, corrected, exported, trained from the log, installed, and the model speaks.

    The record names where in which log its trails stand, and the digest that the export has too; PostgreSQL shows them.
    """
    home = Home.at(tmp_path / "home")
    loaded = load(home.environ, {}, "here")
    Keys(loaded.settings, RealWorld("dev"), CHEAP)
    asked_about, out, file = [*states(TASK, 200)], tmp_path / "out", tmp_path / "trails.jsonl"
    values = [f"{name}={value}" for name, value in asked_about[0].items()]

    async def ask_all() -> None:
        async with operator(loaded, print) as bus:
            for state in asked_about:
                assert isinstance(await bus.request(TransformRequest(state)), Transformed)

    with home.up("--part", "organs.boundary", "--part", "organs.artifacts", "--part", "organs.records"):
        asyncio.run(ask_all())
        refused = home.run("boundary", "correct", *values, "--call", "{}")
        assert (int(Exit.REFUSED), True) == (refused.code, "F003" in refused.err)
        home.held("boundary", "correct", *values, "--call", write_call(IDLE))
        [told] = home.held("boundary", "trails", "--out", str(file), "--json").documents
        words = ("--from-log", "--out", str(out), "--steps", "8", "--json")
        [record] = home.held("train", "boundary", *words).documents
        home.held("boundary", "install", str(out / "model.gguf"), "--exemption", "dev_install")
        [said] = home.held("boundary", "ask", *values, "--json").documents
        rows = sql(home, "select state, call, speaker from nimmerverse.calls order by index, place", 202)
    expected = [Trail(translate(state), state) for state in asked_about[1:]] + [Trail(IDLE, asked_about[0])]
    assert written(expected) == file.read_bytes() == (out / "trails.jsonl").read_bytes()
    assert (200, told["digest"], told["origin"]) == (
        told["trails"],
        record["plan"]["data"],
        record["plan"]["origin"],
    )
    assert told["origin"]["log"]
    assert told["origin"]["last"] >= told["origin"]["first"] + 199
    assert f"model:{record['model']}" == said["speaker"]
    spoken = ["translator"] * 200 + ["person", said["speaker"]]
    assert spoken == [speaker for _, _, speaker in rows]
    assert said["call"] == rows[-1][1]


def sql(home: Home, statement: str, count: int) -> list[tuple[Any, ...]]:
    """What somebody reads with the URL that `connect` prints, once the view has followed the log to so many rows."""
    [told] = home.held("connect", "--json").documents

    async def whole() -> list[tuple[Any, ...]]:
        connection: Any = await asyncpg.connect(told["database_url"])
        try:
            while len(rows := await connection.fetch(statement)) < count:
                await asyncio.sleep(0.05)
            return [tuple(row) for row in rows]
        finally:
            await connection.close()

    return asyncio.run(within(EVENT_S, whole()))
