"""Whoever answers or follows the log is killed with -9 in the middle of that: told by name, made up for, done once."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TypeVar

import pytest

from deploy.attach import living
from deploy.host import OPERATOR, EmbeddedHost
from deploy.load import find_part
from shared.bus import Bus, Delivery
from shared.codec import decode, encode
from shared.config import load
from shared.envelope import rfc3339
from shared.errors import Exit, Refusal
from shared.home import Keys, Running, born_s, nkey_path
from shared.keys.sealed import CHEAP
from shared.message import AnyWaveFields, Decision, Reply, Request, lookup
from shared.subjects.boundary import TransformRequest
from shared.subjects.cognition import Answered, CognitiveRequest, CognitiveResponse, Unavailable
from shared.subjects.gates import GateRequest, OutcomeJudged, OutcomeRequest, SignalVerified, WeightChanged
from shared.subjects.meaning import UNKNOWN, MeaningRequest
from shared.subjects.memory import (
    MemoryStatus,
    MemoryStatusRequest,
    Origin,
    Passage,
    Remembered,
    RememberRequest,
)
from shared.subjects.nervous import MathRequest, MathResponse
from shared.subjects.system import Decided
from shared.subjects.thalamus import Escalated, Withheld
from shared.world import RealWorld, new_id, now_ms
from tests.commands import Home, Living

D = TypeVar("D", bound=Decision)
Ask = Callable[[int], Request]

ALL = (
    "organs.meaning",
    "organs.memory",
    "organs.cognition",
    "organs.boundary",
    "organs.records",
    "nerves.gate",
    "nerves.thalamus",
    "nerves.outcome",
)
ASKERS, AGAIN = 20, 1_000_000
ANSWER_S, PATIENCE_S = 3.0, 60.0
SINCE_S = 2.0  #: longer than a gate rests
DEAD_URL = "nats://127.0.0.1:1"  #: nobody listens there
STARTS = 2
HERE = Origin("file", "page.md", "", 0, 10)
STATE = {"battery": 90, "front": 200, "left": 100, "right": 120, "math": 10, "speech": 5, "speed": 3}
#: Who is asked what; nobody of one round needs another one of it.
ROUNDS: tuple[dict[str, Ask], ...] = (
    {
        "organs.cognition": lambda n: question(f"what is {n} like?"),
        "organs.boundary": lambda n: TransformRequest(STATE | {"battery": n % 100}),
        "nerves.gate": lambda n: GateRequest(f"heat{n % 2}"),
        "nerves.outcome": lambda n: OutcomeRequest("light", n.to_bytes(16, "big"), 1, 1, 0, "as expected"),
    },
    {
        "organs.memory": lambda n: RememberRequest(
            "page.md", (Passage("semantic", f"fact {n}", HERE, 0, 0),), "", renews=False
        )
    },
    {"organs.meaning": lambda n: MeaningRequest(f"the text with the number {n}")},
)


def question(text: str) -> CognitiveRequest:
    """A question that is answered by quoting."""
    return CognitiveRequest(
        "", "question", "operator", 1_000_000, text, (), 20_000_000, 5_000, "quote", "", personal=False
    )


class Crew:
    """Parts beside an organism that granted them, each a process of its own: `python -m organs.memory`."""

    def __init__(self, home: Home, stack: ExitStack) -> None:
        self.home, self.stack = home, stack
        self.parts: dict[str, Living] = {}
        self.keys = load(home.environ, {}, "here").settings

    async def start(self, names: Sequence[str]) -> None:
        """Start parts, all at once, and return when each of them works."""
        for name in names:
            nkey = nkey_path(self.keys, name.rpartition(".")[2])
            program = Home(
                self.home.folder, {**self.home.settings, "nats_nkey": str(nkey)}, (sys.executable, "-m", name)
            )
            self.parts[name] = self.stack.enter_context(program.living())
        for name in names:
            await asyncio.to_thread(self.parts[name].said, lambda line: " works in " in line)

    def kill(self, name: str) -> None:
        """Kill a part as the kernel does when memory runs out."""
        self.parts[name].process.kill()
        self.parts[name].end()


class Siege:
    """A person who asks, and what they were told."""

    def __init__(self, crew: Crew, bus: Bus) -> None:
        self.crew, self.bus = crew, bus
        self.told: dict[str, list[tuple[Request, Reply]]] = {name: [] for name in ALL}

    async def besiege(self, name: str, ask: Ask) -> None:
        """Let many ask a part on and on, kill it at the first answer, and take down what each was told until then.

        Until it is killed, whoever is not answered in time asks again.
        """
        numbers = itertools.count()

        async def one() -> Refusal:
            while True:
                asked = ask(next(numbers))
                answer = await self.bus.request(asked, ANSWER_S)
                if isinstance(answer, Refusal):
                    if self.told[name] or answer.code != "B006":
                        return answer
                    continue
                if not self.told[name]:
                    self.crew.kill(name)
                self.told[name].append((asked, answer))

        async with asyncio.timeout(PATIENCE_S):
            refused = await asyncio.gather(*(one() for _ in range(ASKERS)), self.cell())
        assert {"B006"} == {refusal.code for refusal in refused if refusal is not None}, (name, refused)

    async def cell(self) -> None:
        """Ask a cell: lower tiers are unaffected."""
        assert isinstance(await self.bus.request(MathRequest("2+3")), MathResponse)

    async def again(self, name: str, ask: Ask) -> None:
        """Ask a part that was started again."""
        answer = await self.bus.request(ask(AGAIN), PATIENCE_S)
        assert not isinstance(answer, Refusal), (name, answer)
        self.told[name].append((ask(AGAIN), answer))

    async def feel(self, domain: str, content: str) -> None:
        """Let two cells feel the same."""
        for cell in ("one", "two"):
            headers = {"ce-id": new_id(self.bus.world).hex(), "ce-time": rfc3339(now_ms(self.bus.world))}
            wave = encode(AnyWaveFields(domain, 900_000, content, 1))
            await self.bus.wire.publish(f"{self.bus.env}.trial.cells.{cell}.wave", wave, headers)

    async def killed_at(self, cls: type[Decision], name: str, act: Callable[[], Awaitable[object]]) -> None:
        """Act until a decision is published that a part follows, kill the part at that moment, and start it again."""
        heard = asyncio.Event()

        def hear(_: Delivery) -> None:
            if not heard.is_set():
                heard.set()
                self.crew.parts[name].process.kill()

        subscription = await self.bus.subscribe(cls.pattern(self.bus.env), hear)
        async with asyncio.timeout(PATIENCE_S):
            while not heard.is_set():  # waves that were too old when they arrived move no gate
                await act()
                with suppress(TimeoutError):
                    await asyncio.wait_for(heard.wait(), SINCE_S)
        await subscription.close()
        self.crew.parts[name].end()
        await self.cell()
        await self.crew.start([name])

    async def said(self, cls: type[D]) -> list[D]:
        """Return every decision of a class that counts; no event counts twice."""
        found, ids = list[D](), Counter[bytes]()
        async for verdict in self.bus.replay():
            for _, event in verdict.admitted():
                ids[bytes(event.id)] += 1
                if lookup(verdict.entry.subject) is cls:
                    found.append(decode(cls, bytes(event.data)))
        assert {1} == set(ids.values())
        return found

    async def owed(self, to: type[Decision], by: Sequence[type[Decision]], domains: Sequence[str]) -> None:
        """Return once every decision about these domains has had its consequence, once."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                causes = [one.signal for one in await self.said(to) if one.domain in domains]  # type: ignore[attr-defined]
                consequences = [one.signal for cls in by for one in await self.said(cls)]  # type: ignore[attr-defined]
                done = Counter(signal for signal in consequences if signal in causes)
                assert not [signal for signal, times in done.items() if times > 1], "done twice"
                if causes and set(done) == set(causes):
                    return
                await asyncio.sleep(0.1)


@pytest.mark.spec("NIM-23", "X-07")
def test_any_part_killed_in_the_middle_is_told_and_made_up_for(tmp_path: Path) -> None:
    """Each organ and nerve beside the reflexes is killed with -9 amid requests and amid entries: whoever asked is told
    B006, a cell answers meanwhile, and after the restart what was acknowledged stands in the log once, and what
    was owed is done once.
    """
    home = Home.at(tmp_path / "home").set(beat_ms="500")
    loaded = load(home.environ, {}, "here")
    Keys(loaded.settings, RealWorld("dev"), CHEAP)

    async def main(stack: ExitStack) -> None:
        async with living(loaded, ("cells.math_cell",)) as (host, organism):
            settings = loaded.settings.model_copy(update={"database_url": host.database_url})
            for name in ALL:
                await organism.grant(find_part(name).build(settings, host.world(name)))
            crew = Crew(home.set(nats_url=host.url, database_url=host.database_url), stack)
            await crew.start(ALL)
            bus = Bus(host.world(OPERATOR), await host.wire(OPERATOR), OPERATOR, "1", [])
            siege = Siege(crew, bus)
            for asks in ROUNDS:
                await asyncio.gather(*(siege.besiege(name, ask) for name, ask in asks.items()))
                crew.kill("organs.records") if "organs.memory" in asks else None
                await crew.start([*asks, *(["organs.records"] if "organs.memory" in asks else [])])
                for name, ask in asks.items():
                    await siege.again(name, ask)
            await judge_answers(siege)
            await judge_entries(siege)
            await bus.drain()
            verified = await asyncio.to_thread(home.held, "views", "verify", "--json", wait_s=PATIENCE_S)
            assert verified.documents[0]["ok"]
            await asyncio.to_thread(stack.close)

    with ExitStack() as stack:
        asyncio.run(main(stack))


async def judge_answers(siege: Siege) -> None:
    """Hold what was acknowledged to the log: each of it is there, and once."""
    positions = {
        (verdict.entry.index, offset): bytes(event.id).hex()
        async for verdict in siege.bus.replay()
        for offset, event in verdict.admitted()
    }
    for told in siege.told.values():
        for _, answer in told:
            if isinstance(answer, Decided):
                assert answer.id == positions[answer.index, answer.offset]
    answered = Counter(one.content for one in await siege.said(Answered))
    for asked, answer in siege.told["organs.cognition"]:
        assert isinstance(asked, CognitiveRequest)
        assert isinstance(answer, CognitiveResponse)
        assert 1 == answered[asked.structured_input]
    kept = {one.id for said in await siege.said(Remembered) for one in said.passages}
    async with asyncio.timeout(PATIENCE_S):
        while True:
            status = await siege.bus.request(MemoryStatusRequest(whole=False))
            assert isinstance(status, MemoryStatus)
            if status.passages == len(kept):
                break
            await asyncio.sleep(0.1)


async def judge_entries(siege: Siege) -> None:
    """Kill who follows the log at an entry: what it owes for the entry is done once, after the restart."""
    await siege.killed_at(Escalated, "organs.cognition", lambda: siege.feel(UNKNOWN, "purple elephants recite tax law"))
    await siege.owed(Escalated, [Answered, Unavailable], [UNKNOWN])
    await siege.killed_at(SignalVerified, "nerves.thalamus", lambda: siege.feel("heat", "heat"))
    await siege.owed(SignalVerified, [Escalated, Withheld], ["heat", UNKNOWN])
    signal = next(one.signal for one in await siege.said(SignalVerified) if one.domain == "heat")
    report = OutcomeRequest("heat", signal, 1, 1, 0, "as expected")
    await siege.killed_at(OutcomeJudged, "nerves.gate", lambda: siege.bus.request(report))
    await siege.owed(OutcomeJudged, [WeightChanged], ["heat"])


@pytest.mark.spec("X-07")
def test_a_part_waits_out_an_organism_that_it_cannot_join(tmp_path: Path) -> None:
    """A part whose organism was killed tries the next one again while that is unreachable, and joins the one after."""
    home = Home.at(tmp_path / "home").without_records().keyed()
    settings = load(home.environ, {}, "here").settings
    with home.up("--part", "cells.battery_cell") as up, home.living("part", "cells.math_cell", "--json") as part:
        assert "math_cell" == part.document()["part"]
        up.process.kill()
        up.end()
        nowhere = Running(DEAD_URL, os.getpid(), born_s(os.getpid()), "dev", "", "")
        nowhere.write(settings)
        assert "no usable nats-server" in part.said(lambda line: '"join_failed"' in line)
        Running.path(settings).unlink()
        with home.up("--part", "cells.battery_cell"):
            part.said(lambda _: sum('"part_started"' in line for line in list(part.errors)) == STARTS)
            assert "42" in home.held("ask", "6*7").out
            assert 0 == part.stop().code


@pytest.mark.spec("X-07", "X-10")
def test_a_part_that_no_steward_answers_ends_as_if_it_reached_nothing(tmp_path: Path) -> None:
    """Where the bus works and no steward does, a part says so and ends with 5: whoever starts it may try again."""
    home = Home.at(tmp_path / "home").without_records().keyed()

    async def body() -> None:
        host = EmbeddedHost(load(home.environ, {}, "here").settings)
        try:
            await host.start(database=False)
            host.announce("")
            done = await asyncio.to_thread(home.run, "part", "cells.math_cell")
        finally:
            await host.stop()
        assert int(Exit.UNREACHABLE) == done.code, done
        assert "the steward does not grant math_cell now: B006" in done.sentence

    asyncio.run(body())
