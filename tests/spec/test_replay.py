"""`audit replay` on a real server's log: each decision of each nerve that ships is made again, to the same bytes."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterator

import pytest

from deploy.attach import operator
from deploy.load import BUILT_IN, ON_REQUEST, find_part
from shared.bus import Bus
from shared.codec import decode
from shared.config import load
from shared.errors import Exit, Refusal
from shared.message import Decision, Message, Request, lookup
from shared.part import Nerve
from shared.policy import Policies
from shared.subjects.body import ChargingDecided, CollisionDecided, ExplorationDecided
from shared.subjects.consensus import MakeProposal, ProposalFacts, TrainingData
from shared.subjects.energy import PowerWindowRequest
from shared.subjects.gates import OutcomeJudged, OutcomeRequest, SignalVerified
from shared.subjects.nervous import AssessRequest
from shared.subjects.policy import DraftPolicy
from shared.subjects.provenance import BeginCorpus, Intake
from shared.subjects.registry import EvidenceNoted
from shared.subjects.speech import HeardWave, TurnTaken
from shared.subjects.system import Decided
from shared.subjects.thalamus import Escalated
from shared.subjects.training import JobSpec, SubmitJob
from shared.world import new_id, now_ms
from tests.commands import EVENT_S, Done, Home
from tests.parts import Add
from tests.run_teller import TellRun
from tests.spec.test_body_nerves import battery, distance, motor

SHIPPED = {find_part(name).name: name for name in (*BUILT_IN, *ON_REQUEST) if issubclass(find_part(name), Nerve)}
OWN = "tests.parts:TallyNerve"
BEAT_S = 0.1
SINCE_S = 2.0  #: longer than a gate rests


async def decided(bus: Bus, cls: type[Decision]) -> list[Message]:
    """Return every decision of a class that is in the log."""
    return [
        decode(cls, bytes(event.data))
        async for verdict in bus.replay()
        if lookup(verdict.entry.subject) is cls
        for _, event in verdict.admitted()
    ]


async def until_decided(bus: Bus, cls: type[Decision], say: Callable[[], Awaitable[None]] | None = None) -> Message:
    """Return the last decision of a class, once there is one; until then say again what it is about."""
    give_up, again = time.monotonic() + EVENT_S, 0.0
    while not (found := await decided(bus, cls)):
        now = time.monotonic()
        assert now < give_up, cls.__name__
        if say is not None and now >= again:
            await say()
            again = now + SINCE_S
        await asyncio.sleep(BEAT_S)
    return found[-1]


async def until_answered(bus: Bus, request: Request) -> None:
    """Ask until the request is answered: what it is about may not have been sensed yet."""
    give_up = time.monotonic() + EVENT_S
    while isinstance(answer := await bus.request(request), Refusal):
        assert time.monotonic() < give_up, answer
        await asyncio.sleep(BEAT_S)


async def lived(bus: Bus) -> None:
    """Let every nerve decide: a body before an obstacle, its battery low; a site assessed; heat felt and judged."""

    async def body(front_mm: int, times: int) -> None:
        for _ in range(times):
            at_ms = now_ms(bus.world)
            for message in (motor(at_ms), distance(at_ms, front_mm), battery(at_ms, 100_000)):
                await bus.emit(message, message_id=new_id(bus.world))
            await asyncio.sleep(BEAT_S)

    async def heat() -> None:
        for source in ("heat", "oven"):
            raw = b'{"domain":"heat","confidence_ppm":800000,"content":"heat","cost_ulf":1}'
            await bus.wire.publish(f"dev.trial.cells.{source}.wave", raw)

    await body(2_000, 5)
    for cls in (CollisionDecided, ExplorationDecided, ChargingDecided):
        await until_decided(bus, cls, lambda: body(200, 20))
    await until_answered(bus, AssessRequest("here"))
    verified = await until_decided(bus, SignalVerified, heat)
    assert isinstance(verified, SignalVerified)
    await until_decided(bus, Escalated)
    judged = OutcomeRequest("heat", verified.signal, 0, 0, 0, "")
    assert isinstance(await bus.request(judged), Decided)
    await until_decided(bus, OutcomeJudged)
    heard = HeardWave("speech", 900_000, "hello", 1, "here", now_ms(bus.world), new_id(bus.world), "hello")
    await bus.emit(heard, message_id=new_id(bus.world))
    await until_decided(bus, TurnTaken)
    await governed(bus)
    assert isinstance(await bus.request(Add("ann", 1)), Decided)


async def governed(bus: Bus) -> None:
    """Let the nerves decide that lead from a post to a model: a corpus begun, a job, a proposal, a policy, a run."""
    intake = Intake("text", "a page", "CC0-1.0", [], "en", 300_000, "", Policies.shipped().digest)
    spec = JobSpec("line", "line 1", "torch", ["a" * 64], "", {}, 1, 5, 2, False, "tried", "pilot")  # noqa: FBT003 - not heavy
    training = TrainingData("line", 5, ["a" * 64], "torch", 4_000, 8)
    facts = ProposalFacts("somebody", "a line, trained for this", "", "research", "low", training, "", "", "line")
    rego = "package nimmerverse.added.tried\n\nimport rego.v1\n\ndefault deny := false\n"
    for request in (
        BeginCorpus("pages", intake),
        SubmitJob(spec, "somebody"),
        MakeProposal("a-line", facts, None),
        DraftPolicy("tried", rego, "deny", "somebody"),
        TellRun("c" * 64, "e" * 64, [5, 4, 3, 2, 1]),
    ):
        answer = await bus.request(request)
        assert isinstance(answer, Decided), (request, answer)
    await until_answered(bus, PowerWindowRequest("here", "line", heavy=False))
    await until_decided(bus, EvidenceNoted)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A living organism of every nerve that ships and one of somebody's own, which have all decided."""
    home = Home.at(tmp_path_factory.mktemp("replay")).without_records().set(beat_ms="100").keyed()
    cells = ("cells.sensor_cell", "cells.energy_cell")
    parts = (*SHIPPED.values(), *cells, "organs.meaning", "organs.notary", OWN, "tests.run_teller")

    async def whole() -> None:
        async with operator(load(home.environ, {}, "here"), lambda _: None) as bus:
            await lived(bus)

    with home.up(*(word for part in parts for word in ("--part", part))):
        asyncio.run(whole())
        yield home


def counted(done: Done) -> dict[str, int]:
    """How many decisions of which part were run again."""
    [line] = [line for line in done.err.splitlines() if line.startswith("  run again: ")]
    return {part: int(count) for count, part in re.findall(r"(\d+) of (\w+)", line)}


@pytest.mark.spec("X-03", "NIM-09", "NIM-13")
def test_every_decision_of_every_nerve_that_ships_comes_out_again(home: Home) -> None:
    """Nothing is named, and each shipped nerve's decisions are all made again; somebody's own are said to be left."""
    done = home.held("audit", "replay")
    assert set(SHIPPED) == set(counted(done))
    assert "decisions run again, 0 came out differently" in done.err
    assert "1 decisions of tally 1.0.0 were NOT run again" in done.err


@pytest.mark.spec("X-03", "NIM-09")
def test_decisions_come_out_again_elsewhere(home: Home) -> None:
    """On a machine with another site, as an auditor's is, the same decisions are made again to the same bytes."""
    here, elsewhere = (home.held("audit", "replay", *more) for more in ((), ("--set", "site=elsewhere")))
    assert set(SHIPPED) == set(counted(elsewhere))
    assert counted(here).keys() == counted(elsewhere).keys()
    assert "0 came out differently" in elsewhere.err


@pytest.mark.spec("X-03")
def test_who_is_named_is_run_again_once(home: Home) -> None:
    """One's own nerve is run again where it is named; one of ours that is named too still only once."""
    before = counted(home.held("audit", "replay"))
    done = home.held("audit", "replay", "--part", OWN, "--part", "nerves.collision")
    after = counted(done)
    assert (1, before["collision"]) == (after["tally"], after["collision"])
    assert "NOT run again" not in done.err


@pytest.mark.spec("X-03", "X-12")
def test_who_decides_nothing_is_refused(home: Home) -> None:
    """A cell or an organ has no decision to be run again: named, it is a wrong setting."""
    done = home.run("audit", "replay", "--part", "cells.math_cell")
    assert (int(Exit.CONFIG), True) == (done.code, "what decides is a nerve" in done.sentence)
