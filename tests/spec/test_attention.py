"""Attention on a real server: waves in, verified signals, routes and outcomes out; `watch --gates` shows it."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.attach import operator
from shared.bus import Bus, Wire
from shared.codec import decode
from shared.config import load
from shared.errors import NoStream, Refusal
from shared.message import Decision, Message, lookup
from shared.subjects.gates import (
    GateReply,
    GateRequest,
    GateTransition,
    OutcomeJudged,
    OutcomeRequest,
    ReflexActed,
    ReflexFired,
    ReflexGranted,
    SignalVerified,
    WavesCorrelated,
    WeightChanged,
)
from shared.subjects.log import Checkpointed
from shared.subjects.meaning import UNKNOWN, WaveFelt
from shared.subjects.system import Decided, Heartbeat
from shared.subjects.thalamus import Escalated
from tests.commands import EVENT_S, Home, Living

PARTS = ("organs.meaning", "nerves.gate", "nerves.outcome", "nerves.thalamus", "organs.notary")
SINCE_S = 2.0  #: longer than a gate rests
PAIR = (("math", 600_000, "math"), ("calculate", 500_000, "work out the percentage"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home of this module's own."""
    return Home.at(tmp_path_factory.mktemp("attention")).without_records().set(beat_ms="200")


@pytest.fixture(scope="module")
def organism(home: Home) -> Iterator[Living]:
    """An organism of gates, with the sentence model."""
    home.keyed()
    words = [word for part in PARTS for word in ("--part", part)]
    with home.up(*words) as up:
        yield up


class Scene:
    """An operator who publishes waves as cells do, and reads what came of them."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.signals: list[Message] = []
        self.from_index = 0

    async def feel(self, cell: str, confidence_ppm: int, **more: Any) -> None:  # noqa: ANN401 - a wave's own fields
        """Publish one wave, as JSON by hand."""
        wave = {"domain": cell, "confidence_ppm": confidence_ppm, "content": cell, "cost_ulf": 1} | more
        await self.bus.wire.publish(f"dev.trial.cells.{cell}.wave", json.dumps(wave).encode())

    async def logged(self, cls: type[Decision], count: int = 1) -> list[Any]:
        """Return the decisions of a class since the scene began, once there are so many."""
        give_up = time.monotonic() + EVENT_S
        while True:
            found = [each for each in await self._decisions() if isinstance(each, cls)]
            if len(found) >= count:
                return found
            assert time.monotonic() < give_up, f"{len(found)} of {count} {cls.__name__}"
            await asyncio.sleep(0.02)

    async def until(self, cls: type[Decision], domain: str, act: Callable[[], Coroutine[Any, Any, None]]) -> Any:  # noqa: ANN401 - a decision
        """Return the first decision about a domain; until then act again and again, for late waves move no gate."""
        give_up, again = time.monotonic() + EVENT_S, 0.0
        while not (found := [each for each in await self.logged(cls, 0) if each.domain == domain]):
            now = time.monotonic()
            assert now < give_up, f"no {cls.__name__}"
            if now >= again:
                await act()
                again = now + SINCE_S
            await asyncio.sleep(0.02)
        return found[0]

    async def said(self, cls: type[Message]) -> list[Any]:
        """Return the signals of a class, once there is one."""
        give_up = time.monotonic() + EVENT_S
        while not (found := [each for each in self.signals if isinstance(each, cls)]):
            assert time.monotonic() < give_up, f"no {cls.__name__}"
            await asyncio.sleep(0.02)
        return found

    async def _decisions(self) -> list[Message]:
        out: list[Message] = []
        async for verdict in self.bus.replay():
            cls = lookup(verdict.entry.subject)
            if verdict.entry.index >= self.from_index and cls is not None:
                assert [] == verdict.void()
                out += [decode(cls, bytes(event.data)) for _, event in verdict.admitted()]
        return out


def play(home: Home, body: Callable[[Scene], Coroutine[Any, Any, None]]) -> None:
    """Play a scene; each has domains of its own, so its gates are at rest."""

    async def whole() -> None:
        async with operator(load(home.environ, {}, "here"), lambda _: None) as bus:
            scene = Scene(bus)
            newest = await bus.newest()
            scene.from_index = newest.index + 1 if newest else 0

            def hear(delivery: Any) -> None:  # noqa: ANN401 - a delivery
                cls = lookup(delivery.subject)
                if cls is not None and cls.kind == "signal":
                    scene.signals.append(decode(cls, delivery.data))

            for said in ("gate", "meaning"):
                await bus.subscribe(f"dev.nervous.{said}.>", hear)
            await body(scene)

    asyncio.run(whole())


@pytest.mark.spec("NIM-03", "NIM-04", "NIM-05", "NIM-07")
def test_the_seeds_example_on_a_real_server(home: Home, organism: Living) -> None:
    """Math 0.6 and calculate 0.5, felt by two cells nobody declared here, collapse once and escalate once, with both as
    evidence; at the similarity that is measured they amount to no more than 0.80. One of them alone does nothing.
    """

    async def body(scene: Scene) -> None:
        for cell, confidence_ppm, content in PAIR:
            await scene.feel(cell, confidence_ppm, content=content)
            await scene.said(WaveFelt)
            scene.signals.clear()
            await asyncio.sleep(SINCE_S)
        assert [] == await scene.logged(SignalVerified, 0)

        felt = list[str]()

        async def both() -> None:
            for cell, confidence_ppm, content in PAIR:
                await scene.feel(cell, confidence_ppm, content=content)
                felt.append(cell)

        verified = await scene.until(SignalVerified, "math", both)
        assert len(await scene.logged(SignalVerified)) <= len(felt) / len(PAIR)
        [escalated] = [each for each in await scene.logged(Escalated) if each.signal == verified.signal]
        assert ("math", 3, "weight") == (escalated.domain, escalated.tier, escalated.why)
        assert ("trial.cells.calculate", "trial.cells.math") == verified.sources
        assert 500_000 < verified.confidence_ppm <= 800_000
        assert {1_000_000} < {share.similarity_ppm for share in verified.shares}

    play(home, body)


@pytest.mark.spec("NIM-04", "NIM-07")
def test_what_nobody_knows_climbs_to_cognition(home: Home, organism: Living) -> None:
    """Two cells feel the same thing that no region is near to: the unknown's gate opens, and cognition is woken."""

    async def body(scene: Scene) -> None:
        async def both() -> None:
            for cell in ("one", "two"):
                await scene.feel(cell, 900_000, domain="zxqv", content="purple elephants recite medieval tax law")

        escalated = await scene.until(Escalated, UNKNOWN, both)
        assert (4, "novel_input", 20_000_000) == (escalated.tier, escalated.why, escalated.cost_ulf)

    play(home, body)


@pytest.mark.spec("NIM-06", "NIM-08", "NIM-09")
def test_a_reflex_is_granted_acts_and_is_judged(home: Home, organism: Living) -> None:
    """The gate of danger is granted its reflex when first asked, acts on one wave, learns from the outcome; the outcome
    also stands in the stream that is kept for 30 days.
    """

    async def body(scene: Scene) -> None:
        looked = await scene.bus.request(GateRequest("danger"))
        assert isinstance(looked, GateReply)
        [granted] = await scene.logged(ReflexGranted)
        assert (True, 900_000) == (granted.granted, granted.weight_ppm)
        fired = await scene.until(
            ReflexFired, "danger", lambda: scene.feel("danger", 700_000, content="front range below limit")
        )
        acted, *_ = await scene.said(ReflexActed)
        assert acted.wave_id == fired.wave_id
        report = OutcomeRequest("danger", acted.wave_id, 0, 5, 10, "stopped 5 mm late")
        assert isinstance(await scene.bus.request(report), Decided)
        again = await scene.bus.request(report)
        assert isinstance(again, Refusal)
        assert "R006" == again.code
        [changed] = await scene.logged(WeightChanged)
        assert ("confirmed", 20_000) == (changed.outcome, pytest.approx(changed.after_ppm - changed.before_ppm, abs=5))
        await until_kept(scene.bus.wire, "OUTCOMES_dev", {OutcomeJudged})
        [kept] = await scene.bus.wire.read("OUTCOMES_dev", 0)
        assert lookup(kept.subject) is OutcomeJudged

    play(home, body)


@pytest.mark.spec("NIM-08", "NIM-09")
def test_gardens_are_traced_unlike(home: Home, organism: Living) -> None:
    """On a real server everything that virtual parts say is kept, and of real parts nothing but turns and outcomes."""

    async def body(scene: Scene) -> None:
        wire = scene.bus.wire
        verified = await scene.until(SignalVerified, "heat", lambda: felt_hot(scene, "oven", "stove"))
        await scene.bus.request(GateRequest("heat"))
        report = OutcomeRequest("heat", verified.signal, 0, 0, 10, "it was hot")
        assert isinstance(await scene.bus.request(report), Decided)
        for part, classes in KEPT.items():
            await until_kept(wire, f"TRACES_dev_{part}", classes)
        await until_kept(wire, "TRANSITIONS_dev_gate", {GateTransition})
        await until_kept(wire, "TRANSITIONS_dev_notary", {Checkpointed})
        await until_kept(wire, "OUTCOMES_dev", {OutcomeJudged})
        for part in ("outcome", "notary"):
            with pytest.raises(NoStream):
                await wire.read(f"TRACES_dev_{part}", 0)

    play(home, body)


KEPT: dict[str, set[type[Message]]] = {
    "meaning": {WaveFelt, Heartbeat},
    "gate": {WavesCorrelated, GateReply, Heartbeat},
    "thalamus": {Heartbeat},
}


async def until_kept(wire: Wire, stream: str, classes: set[type[Message]]) -> None:
    """Wait until a stream holds messages of these classes; anything else in it is of theirs too."""
    give_up = time.monotonic() + EVENT_S
    while not classes <= {lookup(entry.subject) for entry in await wire.read(stream, 0)}:
        assert time.monotonic() < give_up, f"{stream} lacks one of {classes}"
        await asyncio.sleep(0.05)


async def felt_hot(scene: Scene, *cells: str) -> None:
    """Let cells feel heat."""
    for cell in cells:
        await scene.feel(cell, 800_000, domain="heat")


def heard(words: str, watcher: Living) -> bool:
    """Say whether a watcher printed some words."""
    return any(words in line for line in list(watcher.lines))


@pytest.mark.spec("NIM-11")
def test_attention_can_be_watched(home: Home, organism: Living) -> None:
    """`watch --gates` shows a gate open, the signal climb and the mode change, a line each; as JSON for programs."""
    with home.living("watch", "--gates") as people, home.living("watch", "--gates", "--json") as program:
        people.said(lambda line: "watching" in line)

        async def body(scene: Scene) -> None:
            give_up = time.monotonic() + EVENT_S  # a program does not say when it begins to watch
            while not (heard('"after":"OPEN"', program) and heard("▶ FOCUSED", people)):
                assert time.monotonic() < give_up
                await felt_hot(scene, "heat", "oven")
                await asyncio.sleep(SINCE_S)

        play(home, body)
        people.said(lambda line: "heat" in line and "STABLE ▶ OPEN" in line and "heat 0.80×1.00" in line)
        people.said(lambda line: "⇒ tier 3 (weight)" in line)
        program.said(lambda line: "nervous.gate.transition.heat" in line and '"after":"OPEN"' in line)


@pytest.mark.spec("NIM-05", "X-03")
def test_every_decision_comes_out_again(home: Home, organism: Living) -> None:
    """`audit replay` makes each decision of these nerves again from its evidence, and none differs."""
    told = re.search(r"; (\d+) decisions run again, (\d+) came out differently", home.held("audit", "replay").err)
    assert told
    assert int(told[1]) > 0
    assert "0" == told[2]


@pytest.mark.spec("NIM-23")
def test_lower_steps_work_alone(tmp_path: Path) -> None:
    """Without gates a cell answers; without a thalamus gates open; nothing waits for what is not there."""
    home = Home.at(tmp_path).without_records().keyed()
    with home.up("--part", "cells.math_cell"):
        assert "5\n" == home.held("ask", "2+3").out
    with home.up("--part", "organs.meaning", "--part", "nerves.gate"):

        async def body(scene: Scene) -> None:
            await scene.until(SignalVerified, "heat", lambda: felt_hot(scene, "heat", "oven"))

        play(home, body)
