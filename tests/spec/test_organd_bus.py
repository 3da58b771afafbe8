"""organd on the bus: simulated under virtual time, and with a real worker on a real server."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from organs.organd import OrgandOrgan, Registry
from organs.organd.devices import Processor
from organs.organd.leases import FileLeases
from organs.organd.process import Processes
from organs.organd.supervisor import Supervisor
from shared.codec import decode
from shared.errors import Refusal
from shared.subjects.models import (
    EmbedReply,
    EmbedRequest,
    GenerateReply,
    GenerateRequest,
    ModelChanged,
    ModelsReply,
    ModelsRequest,
)
from shared.world import RealWorld, SimWorld
from tests.gguf_models import write_bert, write_gemma
from tests.ground import ENV, Body, Ground, play_nats, play_sim
from tests.parts import Heard, stage

Play = Callable[[Body], None]


@pytest.fixture(params=["sim", "nats"])
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Play:
    """Run a body on the simulated server and on a real one."""
    return play_sim if request.param == "sim" else lambda body: play_nats(body, tmp_path)


def organ(ground: Ground, folder: Path) -> OrgandOrgan:
    """The organ as the ground has it: simulated workers, or real ones."""
    if isinstance(ground.world, SimWorld):
        return OrgandOrgan.simulate(ground.world)
    world = RealWorld(ENV)
    models = Registry(folder / "models", world)
    models.add(write_gemma(folder / "g.gguf"), "there")
    models.add(write_bert(folder / "b.gguf"), "here")
    runtime = folder / "run"
    runtime.mkdir(mode=0o700)
    supervisor = Supervisor(models, Processor(), Processes(runtime, world), FileLeases(runtime), world)
    return OrgandOrgan(models, supervisor, None, 0, "", "here")


@pytest.mark.spec("NIM-16", "NIM-17")
def test_models_are_asked_over_the_bus_and_say_what_becomes_of_them(play: Play, tmp_path: Path) -> None:
    """Text and vectors are answered, what is not held or cannot be done is refused by code, each state is a signal."""

    async def body(ground: Ground) -> None:
        async with stage(ground) as here:
            await ground.create_bucket()
            await here.carry(organ(ground, tmp_path), beat_s=0.05)
            asker, changes = await here.asker(), Heard()
            await asker.subscribe(ModelChanged.pattern(ENV), changes)
            said = await asker.request(GenerateRequest("there", "hello", max_tokens=8), timeout_s=20)
            assert isinstance(said, GenerateReply), said
            assert said.done_reason in ("stop", "length")
            assert 8 == said.answer_tokens
            assert said.compute_us > 0
            held = await asker.request(GenerateRequest("there", "x", schema='{"const":{}}'), timeout_s=20)
            assert isinstance(held, GenerateReply), held
            assert "{}" == held.text
            found = await asker.request(EmbedRequest("here", ["a b", "c"]), timeout_s=20)
            assert isinstance(found, EmbedReply), found
            first, _ = (struct.unpack(f"<{len(raw) // 4}f", raw) for raw in found.vectors)
            assert pytest.approx(1.0, abs=1e-4) == sum(number * number for number in first)
            listed = await asker.request(ModelsRequest())
            assert isinstance(listed, ModelsReply)
            assert ["here:latest", "there:latest"] == [model.model for model in listed.models]
            refused = [
                await asker.request(asked)
                for asked in (
                    GenerateRequest("nobody", "x"),
                    GenerateRequest("here", "x"),
                    GenerateRequest("there", "x", schema="["),
                    GenerateRequest("there", "x " * 20_000),
                    EmbedRequest("there", ["x"]),
                )
            ]
            assert ["B011", "B012", "B012", "B012", "B012"] == [
                no.code if isinstance(no, Refusal) else no for no in refused
            ]
            heard = [decode(ModelChanged, change.data) for change in await changes.at_least(4)]
            heard.sort(key=lambda change: change.number)
            of_one = [change.state for change in heard if change.model == "there:latest"]
            assert ["cold", "loading", "ready", "idle"] == of_one[:4]
            assert all(change.pid for change in heard if change.state in ("ready", "idle"))

    play(body)


@pytest.mark.spec("NIM-23")
def test_without_any_model_organd_lives_and_refuses_by_type(tmp_path: Path) -> None:
    """Nothing is invented: it lists none and refuses B011, and whatever does not need a model goes on."""

    async def body(ground: Ground) -> None:
        async with stage(ground) as here:
            world = RealWorld(ENV)
            models = Registry(tmp_path / "models", world)
            runtime = tmp_path / "run"
            runtime.mkdir(mode=0o700)
            supervisor = Supervisor(models, Processor(), Processes(runtime, world), FileLeases(runtime), world)
            await here.carry(OrgandOrgan(models, supervisor, None, 0, "", "here"))
            asker = await here.asker()
            assert ModelsReply([], "") == await asker.request(ModelsRequest())
            answers = await asyncio.gather(
                asker.request(GenerateRequest("mind", "x")), asker.request(EmbedRequest("mind", ["x"]))
            )
            assert ["B011", "B011"] == [answer.code if isinstance(answer, Refusal) else answer for answer in answers]

    play_nats(body, tmp_path)
