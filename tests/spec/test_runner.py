"""What the runner does for every part: it receives, judges, hands over, publishes, answers, beats and drains."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from nats.micro.service import ServiceInfo, ServicePing, ServiceStats

from cells.math_cell import MathCell
from shared.bus import Bus, Delivery, Draft
from shared.bus.bus import DEAD_PER_SECOND, ERROR_CODE
from shared.codec import decode, encode
from shared.declaration import MAX_LARGE_BYTES
from shared.envelope import rfc3339
from shared.errors import LogFault, Refusal, Refused, Unreachable
from shared.keys import LocalSigner
from shared.message import MAX_MESSAGE_BYTES, DeclarationError, Reply, Request
from shared.part import Cell, Organ, Runner, declaration
from shared.part import runner as runner_module
from shared.part.handshake import claims
from shared.subjects.nervous import AssessRequest, MathRequest, MathResponse, MathWave
from shared.subjects.system import PHASES, DeadLetter, Decided, Handshake, HandshakeAck, Heartbeat, Phase, Tick
from shared.world import now_ms
from tests.ground import ENV, LOG, Body, Ground, noted, play_nats, play_sim, until
from tests.organisms import Life, Living, all_parts, live_nats, live_sim
from tests.parts import (
    Add,
    Added,
    Ask,
    BenchCell,
    Heard,
    Hint,
    LedgerOrgan,
    Said,
    Secret,
    Shown,
    Strange,
    Sum,
    TallyNerve,
    raw,
    replies,
    stage,
    tallying,
)

Play = Callable[[Body], None]
ASK = f"{ENV}.trial.bench.ask.request"
ID = {"ce-id": "0123456789abcdef" * 2}


@pytest.fixture(params=["sim", "nats"])
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Play:
    """Run a body on the simulated server and on a real one."""
    return play_sim if request.param == "sim" else lambda body: play_nats(body, tmp_path)


async def letters(heard: Heard, count: int) -> list[DeadLetter]:
    """The first dead letters, once there are so many."""
    return [decode(DeadLetter, delivery.data) for delivery in (await heard.at_least(count))[:count]]


# Requests


@pytest.mark.spec("NIM-01", "NIM-02", "NIM-12")
def test_the_math_cell_answers_and_waves(play: Play) -> None:
    """A request on `dev.nervous.cells.math.request` is answered, and its `.response` and `.wave` are published."""

    async def body(ground: Ground) -> None:
        async with stage(ground) as here:
            await here.carry(MathCell())
            asker, waves, responses = await here.asker(), Heard(), Heard()
            await asker.subscribe(f"{ENV}.nervous.cells.math.wave", waves)
            await asker.subscribe(f"{ENV}.nervous.cells.math.response", responses)
            answer = await asker.request(MathRequest("2 + 3*4/7"))
            assert MathResponse("2 + 3*4/7", 26 / 7, "26/7") == answer
            [wave], [response] = await waves.at_least(1), await responses.at_least(1)
            assert ("math", 900_000) == ((said := decode(MathWave, wave.data)).domain, said.confidence_ppm)
            assert answer == decode(MathResponse, response.data)

    play(body)


@pytest.mark.spec("NIM-02")
def test_what_a_part_says_names_its_cause(play: Play) -> None:
    """Whatever a message causes carries that message's id as causation, its correlation, and a stable id of its own."""

    async def body(ground: Ground) -> None:
        async with stage(ground) as here:
            await here.carry(BenchCell())
            asker, heard = await here.asker(), Heard()
            await asker.subscribe(Shown.pattern(ENV), heard)
            await raw(asker, ASK, Ask("hello"), ID | {"ce-correlation": "talk"})
            [shown] = await heard.at_least(1)
            assert (ID["ce-id"], "talk") == (shown.headers["ce-causation"], shown.headers["ce-correlation"])
            assert ("bench", 32) == (shown.headers["ce-source"], len(shown.headers["ce-id"]))
            assert shown.headers["ce-id"] != ID["ce-id"]

    play(body)


@pytest.mark.spec("X-01")
def test_a_json_request_is_answered_in_json(play: Play) -> None:
    """Who asks in JSON, by hand, reads the answer and the refusal in JSON."""

    async def body(ground: Ground) -> None:
        async with stage(ground) as here:
            await here.carry(BenchCell())
            asker = await here.asker()
            answer = await raw(asker, ASK, b'{"text": "hello"}')
            assert {"text": "hello", "weight": 1.0} == json.loads(answer.data)
            refusal = await raw(asker, ASK, b'{"text": "refuse"}')
            assert {"code": "B012", "detail": "as asked"} == json.loads(refusal.data)
            unreadable = await raw(asker, ASK, b'{"txet": "hello"}')
            assert ("B002", "B002") == (json.loads(unreadable.data)["code"], unreadable.headers[ERROR_CODE])

    play(body)


@pytest.mark.spec("X-07")
def test_a_repeated_message_is_answered_from_memory(play: Play) -> None:
    """The same message again, id and bytes, gets the same answer and does not reach the part a second time."""

    async def body(ground: Ground) -> None:
        async with stage(ground) as here:
            cell = BenchCell()
            runner = await here.carry(cell)
            asker = await here.asker()
            first = await raw(asker, ASK, Ask("hello"), ID)
            again = await raw(asker, ASK, Ask("hello"), ID)
            assert first.data == again.data == encode(Said("hello", 1.0))
            assert (["hello"], 1) == (cell.calls, runner.work.repeated)

    play(body)


class Heavy(Reply, subject="trial.heavy.reply", max_bytes=MAX_LARGE_BYTES):
    """An answer too large to be held for repeats."""

    data: bytes


class Weigh(Request, subject="trial.heavy.request", reply=Heavy):
    """Ask for so many bytes."""

    size: int


class HeavyCell(Cell):
    """Answers with many bytes, and counts."""

    name, version = "heavy", "1.0.0"

    def __init__(self) -> None:
        self.calls = 0

    def on_weigh(self, weigh: Weigh) -> Iterator[Heavy]:
        self.calls += 1
        yield Heavy(bytes(weigh.size))


@pytest.mark.spec("X-12")
def test_a_large_answer_is_made_again_for_a_repeat(play: Play) -> None:
    """It arrives whole, on a real server too; and thousands of them are not held in memory."""

    async def body(ground: Ground) -> None:
        async with stage(ground) as here:
            cell = HeavyCell()
            await here.carry(cell)
            asker = await here.asker()
            size = MAX_LARGE_BYTES - 100
            for _ in range(2):
                answer = await raw(asker, Weigh(size).subject(ENV), Weigh(size), ID)
                assert Heavy(bytes(size)) == decode(Heavy, answer.data)
            assert 2 == cell.calls

    play(body)


@pytest.mark.spec("X-07")
def test_a_borrowed_id_suppresses_nothing(play: Play) -> None:
    """A message with the id of another, but not its bytes or its subject, is a message of its own."""

    async def body(ground: Ground) -> None:
        async with stage(ground) as here:
            cell = BenchCell()
            await here.carry(cell)
            asker = await here.asker()
            await asker.wire.publish(f"{ENV}.trial.bench.hint.ann", encode(Hint("ann", 1)), ID)
            assert encode(Said("one", 1.0)) == (await raw(asker, ASK, Ask("one"), ID)).data
            assert encode(Said("two", 1.0)) == (await raw(asker, ASK, Ask("two"), ID)).data
            assert ["ann 1", "one", "two"] == cell.calls

    play(body)


@pytest.mark.spec("X-07")
def test_trouble_that_may_pass_is_not_remembered(play: Play) -> None:
    """After a fault that allows a retry the same message is tried again, not answered with the old failure."""

    async def body(ground: Ground) -> None:
        async with stage(ground) as here:
            await here.carry(BenchCell())
            asker = await here.asker()
            assert "B009" == (await raw(asker, ASK, Ask("later"), ID)).headers[ERROR_CODE]
            assert encode(Said("later", 1.0)) == (await raw(asker, ASK, Ask("later"), ID)).data

    play(body)


# What cannot be used


@pytest.mark.spec("X-12")
@pytest.mark.parametrize(
    ("code", "data", "headers"),
    [
        ("B002", b"\xc1 not a message", {}),
        ("B002", b"", {}),
        ("B002", encode(Ask("hello")) + b"\0", {}),
        ("B002", encode(Ask("hello")).replace(b"\xa5hello", b"\xd9\x05hello"), {}),
        ("B002", encode(Hint("ann", 1)), {}),
        ("B003", encode(Ask("x" * 50_000)) + bytes(MAX_MESSAGE_BYTES), {}),
        ("B002", encode(Ask("hello")), {"ce-id": "not hex"}),
        ("B002", encode(Ask("hello")), {"ce-time": "yesterday"}),
        ("B010", encode(Ask("hello")), {"ce-time": "2000-01-01T00:00:00.000Z"}),
        ("R001", encode(Ask("hello")), {"ce-time": "2999-01-01T00:00:00.000Z"}),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(code: str, data: bytes, headers: dict[str, str]) -> None:
    """Wrong bytes or schema, oversize, stale and future requests are refused by name, dead-lettered, and survived."""

    async def body(ground: Ground) -> None:
        async with stage(ground) as here:
            cell = BenchCell()
            runner = await here.carry(cell)
            asker, dead = await here.asker(), await here.dead()
            answer = await raw(asker, ASK, data, headers)
            assert code == answer.headers.get(ERROR_CODE) == decode(Refusal, answer.data).code
            [letter] = await letters(dead, 1)
            assert ("bench", ASK, code) == (letter.part, letter.original, letter.code)
            assert (data[:48_000], len(data) <= 48_000) == (letter.data, letter.whole)
            assert Said("hello", 1.0) == await asker.request(Ask("hello"))
            assert (["hello"], 1) == (cell.calls, runner.work.refused)

    play_sim(body)


@pytest.mark.spec("X-12")
def test_age_is_judged_by_the_parts_own_clock() -> None:
    """A request lives its declared time and no longer; half a minute of skew is allowed, more is the future."""

    async def body(ground: Ground) -> None:
        async with stage(ground) as here:
            await here.carry(BenchCell())
            asker = await here.asker()
            now = now_ms(ground.world)
            for age_ms, code in ((4_900, ""), (5_100, "B010"), (-29_000, ""), (-31_000, "R001")):
                answer = await raw(asker, ASK, Ask("hello"), {"ce-time": rfc3339(now - age_ms)})
                assert code == answer.headers.get(ERROR_CODE, ""), age_ms

    play_sim(body)


@pytest.mark.spec("X-12")
def test_a_subject_that_the_message_cannot_have_is_refused(play: Play) -> None:
    """A payload whose own subject is another one, or none at all, is refused; the part stays alive."""

    async def body(ground: Ground) -> None:
        async with stage(ground) as here:
            cell = BenchCell()
            await here.carry(cell)
            asker, dead = await here.asker(), await here.dead()
            for data in (encode(Hint("bob", 1)), b'{"who": "", "n": 1}', b'{"who": "' + b"x" * 200 + b'", "n": 1}'):
                await asker.wire.publish(f"{ENV}.trial.bench.hint.ann", data)
            assert ["B002"] * 3 == [letter.code for letter in await letters(dead, 3)]
            assert Said("hello", 1.0) == await asker.request(Ask("hello"))
            assert ["hello"] == cell.calls

    play(body)


@pytest.mark.spec("X-12")
def test_a_subject_nobody_declared_is_refused(play: Play) -> None:
    """What arrives on a subject that no class declares is refused B001; here a durable wildcard lets it through."""

    async def body(ground: Ground) -> None:
        async with stage(ground) as here:
            runner = await here.carry(BenchCell())
            asker, dead = await here.asker(), await here.dead()
            await runner.bus.subscribe(f"{ENV}.trial.bench.>", runner._receive)
            await asker.wire.publish(f"{ENV}.trial.bench.no.such.thing", b"")
            await asker.wire.publish(f"{ENV}.trial.bench.secret.told", encode(Secret(1)))
            assert ["B001", "B001"] == [letter.code for letter in await letters(dead, 2)]

    play(body)


@pytest.mark.spec("X-09", "X-12")
def test_only_an_inbox_is_answered(play: Play) -> None:
    """A request whose reply subject is not an inbox is refused B004, and nothing is published there."""

    async def body(ground: Ground) -> None:
        async with stage(ground) as here:
            cell = BenchCell()
            await here.carry(cell)
            asker, dead, stolen = await here.asker(), await here.dead(), Heard()
            for target in (f"{ENV}.trial.desk.event.a.noted", f"{ENV}.trial.bench.hint.ann", "$SRV.PING"):
                await asker.subscribe(target, stolen)
                await asker.wire.publish(ASK, encode(Ask("hello")), None, target)
                await asker.wire.publish("$SRV.PING", b"", None, target)
            assert {"B004"} == {letter.code for letter in await letters(dead, 3)}
            assert Said("hello", 1.0) == await asker.request(Ask("hello"))
            assert ["hello"] == cell.calls
            assert {b""} >= {delivery.data for delivery in stolen.all}, "only what the thief published itself"
            assert None is await asker.wire.last(LOG, f"{ENV}.>")

    play(body)


@pytest.mark.spec("X-12")
def test_dead_letters_are_bounded() -> None:
    """A flood of garbage is counted whole and dead-lettered within the bound; the part still answers."""

    async def body(ground: Ground) -> None:
        async with stage(ground) as here:
            runner = await here.carry(BenchCell())
            asker, dead = await here.asker(), await here.dead()
            for _ in range(5 * DEAD_PER_SECOND):
                await asker.wire.publish(ASK, b"\xc1")
            await until(lambda: runner.work.refused == 5 * DEAD_PER_SECOND)
            assert Said("hello", 1.0) == await asker.request(Ask("hello"))
            assert len(dead.all) <= 2 * DEAD_PER_SECOND
            assert 5 * DEAD_PER_SECOND == runner.bus.counters.dead
            assert len(dead.all) + runner.bus.counters.dead_dropped == 5 * DEAD_PER_SECOND

    play_sim(body)


@pytest.mark.spec("X-12")
def test_a_full_queue_says_busy() -> None:
    """What finds the queue full is answered B008 at once and counted; what waits is answered."""

    async def body(ground: Ground) -> None:
        async with stage(ground) as here:
            runner = await here.carry(BenchCell())
            asker = await here.asker()
            inbox, heard = await replies(asker)
            for n in range(runner_module.QUEUE + 30):
                runner._receive(Delivery(ASK, encode(Ask(f"{n}")), {}, inbox))
            await heard.at_least(runner_module.QUEUE + 30)
            codes = [d.headers.get(ERROR_CODE, "") for d in heard.all]
            assert (30, runner_module.QUEUE) == (codes.count("B008"), codes.count(""))
            assert 30 == runner.work.dropped

    play_sim(body)


# The part's own failures


@pytest.mark.spec("X-12")
@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("broken", "B009", "ZeroDivisionError: as asked"),
        ("undeclared", "B009", "undeclared Secret"),
        ("infinite", "B009", "floats must be finite"),
        ("nobody", "B009", "1 to 128 characters"),
        ("endless", "B009", "more than 1000 messages"),
    ],
)
def test_a_failing_handler_is_named_and_survived(text: str, code: str, says: str) -> None:
    """Whatever the part's own code raises or wrongly says is answered B009, dead-lettered and survived."""

    async def body(ground: Ground) -> None:
        async with stage(ground) as here:
            runner = await here.carry(BenchCell())
            asker, dead, shown = await here.asker(), await here.dead(), Heard()
            await asker.subscribe(Shown.pattern(ENV), shown)
            answer = await asker.request(Ask(text))
            assert isinstance(answer, Refusal)
            assert (code, True) == (answer.code, says in answer.detail), answer
            [letter] = await letters(dead, 1)
            assert (ASK, encode(Ask(text)), answer.detail) == (letter.original, letter.data, letter.detail)
            assert Said("hello", 1.0) == await asker.request(Ask("hello"))
            assert 1 == len(await shown.at_least(1)), "nothing of the failed message is published"
            runner.raise_if_broken()

    play_sim(body)


@pytest.mark.spec("X-12")
def test_a_refusal_is_an_answer_and_no_failure(play: Play) -> None:
    """A refusal that a cell yields or raises reaches who asked; nothing is dead-lettered, silence is answered B012."""

    async def body(ground: Ground) -> None:
        async with stage(ground) as here:
            runner = await here.carry(BenchCell())
            asker, dead = await here.asker(), await here.dead()
            assert Refusal("B012", "as asked") == await asker.request(Ask("refuse"))
            assert Refusal("B011", "as asked") == await asker.request(Ask("raise"))
            assert Refusal("B012", "bench has no answer to this request") == await asker.request(Ask("silent"))
            assert (0, []) == (runner.work.failed, dead.all)

    play(body)


@pytest.mark.spec("X-12")
def test_a_refused_signal_is_dead_lettered() -> None:
    """A signal that a cell or a nerve refuses becomes a dead letter, because nobody waits for an answer."""

    async def body(ground: Ground) -> None:
        async with stage(ground) as here:
            await here.carry(BenchCell())
            await here.carry(TallyNerve())
            asker, dead = await here.asker(), await here.dead()
            await asker.emit(Hint("ann", 13))
            found = {(letter.part, letter.code, letter.detail) for letter in await letters(dead, 2)}
            assert {("bench", "B012", "not 13"), ("tally", "B012", "13 is no hint")} == found

    play_sim(body)


@pytest.mark.spec("X-12")
def test_a_broken_assertion_stops_the_part(play: Play) -> None:
    """A failed assertion is a bug of ours: the part stops wholly, says why, and lets another one take its work."""

    async def body(ground: Ground) -> None:
        async with stage(ground) as here:
            broken, healthy = await here.carry(BenchCell()), await here.carry(BenchCell())
            asker = await here.asker()
            stopped: list[AssertionError] = []

            def is_stopped() -> bool:
                try:
                    broken.raise_if_broken()
                    healthy.raise_if_broken()
                except AssertionError as error:
                    stopped.append(error)
                return bool(stopped)

            await asker.wire.publish(ASK, encode(Ask("wrong")))
            await until(is_stopped)
            assert "a bug of ours" in str(stopped[0])
            dead, alive = (broken, healthy) if broken._tasks[0].done() else (healthy, broken)
            await until(lambda: not dead._aside and all(task.done() for task in dead._tasks))
            for n in range(5):
                assert Said(f"{n}", 1.0) == await asker.request(Ask(f"{n}"))
            alive.raise_if_broken()

    play(body)


# Beating, discovery and draining


@pytest.mark.spec("NIM-02")
def test_a_part_beats(play: Play) -> None:
    """A part says that it is alive, which version it is, and what it did, on its own heartbeat subject."""

    async def body(ground: Ground) -> None:
        async with stage(ground) as here:
            asker, beats = await here.asker(), Heard()
            await asker.subscribe(f"{ENV}.system.parts.heartbeat.bench", beats)
            runner = await here.carry(BenchCell())
            await asker.request(Ask("hello"))
            await asker.request(Ask("broken"))
            first = decode(Heartbeat, (await beats.at_least(1))[0].data)
            assert ("bench", "1.0.0", runner.world.boot, 1) == (first.part, first.version, first.boot, first.beat)
            pulse = runner.pulse(2)
            assert (2, 0, 1, 0) == (pulse.handled, pulse.refused, pulse.failed, pulse.dropped)

    play(body)


@pytest.mark.spec("NIM-02")
def test_heartbeats_come_every_five_seconds() -> None:
    """Under simulated time a minute holds twelve heartbeats and the one at the start."""

    async def body(ground: Ground) -> None:
        async with stage(ground) as here:
            asker, beats = await here.asker(), Heard()
            await asker.subscribe(Heartbeat.pattern(ENV), beats)
            await here.carry(BenchCell())
            await ground.world.sleep(60.5)
            assert [*range(1, 14)] == [decode(Heartbeat, delivery.data).beat for delivery in beats.all]

    play_sim(body)


@pytest.mark.spec("NIM-02")
def test_discovery_answers_as_a_nats_service(play: Play) -> None:
    """`$SRV.PING`, `.INFO` and `.STATS`, to all, by name and by id, are answered as nats-py's micro client expects."""

    async def body(ground: Ground) -> None:
        async with stage(ground) as here:
            runner = await here.carry(BenchCell())
            asker = await here.asker()
            await asker.request(Ask("hello"))
            boot = runner.world.boot
            for to in ("", ".bench", f".bench.{boot}"):
                ping = ServicePing.from_dict(_micro(await raw(asker, f"$SRV.PING{to}", b""), "ping"))
                info = ServiceInfo.from_dict(_micro(await raw(asker, f"$SRV.INFO{to}", b""), "info"))
                stats = ServiceStats.from_dict(_micro(await raw(asker, f"$SRV.STATS{to}", b""), "stats"))
                assert {("bench", boot, "1.0.0")} == {(x.name, x.id, x.version) for x in (ping, info, stats)}
                assert (
                    {ASK, f"{ENV}.trial.bench.hint.*"}
                    == {e.subject for e in info.endpoints}
                    == {e.subject for e in stats.endpoints}
                )
                assert {"bench"} == {e.queue_group for e in info.endpoints}
                assert {1} == {e.num_requests for e in stats.endpoints}
            with pytest.raises(Refused, match="B006"):
                await raw(asker, f"$SRV.PING.bench.{'0' * 16}", b"", wait_s=0.2)

    play(body)


def _micro(answer: Delivery, verb: str) -> dict[str, object]:
    said: dict[str, object] = json.loads(answer.data)
    assert f"io.nats.micro.v1.{verb}_response" == said["type"]
    return said


@pytest.mark.spec("X-07")
def test_a_drain_finishes_what_arrived() -> None:
    """Stopping takes no more messages and answers every one that had arrived."""

    async def body(ground: Ground) -> None:
        async with stage(ground) as here:
            runner = await here.carry(BenchCell())
            asker = await here.asker()
            inbox, heard = await replies(asker)
            for n in range(200):
                runner._receive(Delivery(ASK, encode(Ask(f"{n}")), {}, inbox))
            await runner.stop()
            await heard.at_least(200)
            assert Refusal("B006", f"nobody listens on {ASK}") == await asker.request(Ask("late"))
            assert (200, 0) == (runner.work.handled, runner.work.dropped)

    play_sim(body)


@pytest.mark.spec("X-07")
@pytest.mark.parametrize("fast", [True, False], ids=["lane", "no lane"])
def test_a_drain_loses_nothing_that_the_server_delivered(tmp_path: Path, *, fast: bool) -> None:
    """Requests under way when a part stops are answered by it, or by the other member of its group: none is lost, not
    even one that the part has not read yet.
    """

    async def body(ground: Ground) -> None:
        async with stage(ground) as here:
            leaving = await here.carry(BenchCell())
            await here.carry(BenchCell())
            asker = await here.asker()
            inbox, heard = await replies(asker)
            wire: Any = leaving.bus.wire
            reading = wire.client._transport._io_writer.transport
            reading.pause_reading()
            for n in range(400):
                await asker.wire.publish(ASK, encode(Ask(f"{n}")), None, inbox)
            await asker.wire.confirm(ASK)
            stopping = asyncio.create_task(leaving.stop())
            await asyncio.sleep(0.1)
            reading.resume_reading()
            await stopping
            await heard.at_least(400)

    play_nats(body, tmp_path, fast=fast)


# Ticks, nerves and organs


@pytest.mark.spec("NIM-12")
def test_a_cell_that_hears_ticks_is_beaten(play: Play) -> None:
    """A part whose handler hears Tick gets one per beat, numbered from one, with the World's time."""

    class Clock(Cell):
        """Remembers its ticks."""

        name = "clock"
        version = "1.0.0"

        def __init__(self) -> None:
            self.beats: list[int] = []

        def on_tick(self, tick: Tick) -> list[Shown]:
            self.beats.append(tick.beat)
            return []

    async def body(ground: Ground) -> None:
        async with stage(ground) as here:
            clock = Clock()
            await here.carry(clock, beat_s=0.01)
            await until(lambda: len(clock.beats) >= 3)
            assert [1, 2, 3] == clock.beats[:3]
            info = json.loads((await raw(await here.asker(), "$SRV.INFO.clock", b"")).data)
            assert [] == info["endpoints"], "nobody else may tick"

    play(body)


@pytest.mark.spec("NIM-01", "X-02")
def test_a_nerve_decides_and_answers_with_the_position(play: Play) -> None:
    """A command is decided, appended, admitted, and answered with its position; the state is the fold of the log."""

    async def body(ground: Ground) -> None:
        async with stage(ground) as here:
            _, signer = await tallying(ground)
            runner = await here.carry(TallyNerve(), [signer])
            asker, sums = await here.asker(), Heard()
            await asker.subscribe(Sum.pattern(ENV), sums)
            first, second = await asker.request(Add("ann", 2)), await asker.request(Add("ann", 3))
            assert isinstance(first, Decided)
            assert isinstance(second, Decided)
            assert (f"{ENV}.trial.tally.event.ann.added", 0, "pending") == (
                first.subject_of_event,
                first.offset,
                first.proof,
            )
            assert [Sum("ann", 2), Sum("ann", 5)] == [decode(Sum, d.data) for d in await sums.at_least(2)]
            logged = {v.entry.index: v async for v in asker.replay()}
            assert Added("ann", 3, 5) == decode(Added, bytes(logged[second.index].events[second.offset].data))
            assert runner.mind is not None
            assert 5 == runner.mind.state("ann").total

    play(body)


@pytest.mark.spec("X-07")
def test_a_repeated_command_gets_the_same_position(play: Play) -> None:
    """A command repeated with its id gets the first position, from memory and after a restart."""

    async def body(ground: Ground) -> None:
        async with stage(ground) as here:
            _, signer = await tallying(ground)
            runner = await here.carry(TallyNerve(), [signer])
            asker = await here.asker()
            subject = f"{ENV}.trial.tally.add.request"
            answers = [decode(Decided, (await raw(asker, subject, Add("ann", 2), ID)).data) for _ in range(2)]
            await runner.stop()
            await here.carry(TallyNerve(), [signer])
            answers.append(decode(Decided, (await raw(asker, subject, Add("ann", 2), ID)).data))
            places = {(a.index, a.offset, a.id, a.subject_of_event) for a in answers}
            assert (1, [False, False, True]) == (len(places), [a.duplicate for a in answers])
            stolen = decode(Decided, (await raw(asker, subject, Add("ann", 4), ID)).data)
            assert not stolen.duplicate, "another command with a borrowed id is decided for itself"

    play(body)


@pytest.mark.spec("X-12")
@pytest.mark.parametrize(
    ("message", "code", "says"),
    [
        (Add("ann", 13), "B012", "13 is not added"),
        (Add("", 1), "B002", "1 to 128 characters"),
        (Add("x" * 129, 1), "B002", "1 to 128 characters"),
        (Add("ann", 99), "B009", "undeclared Strange"),
        (Add("ann", 100), "B009", "decided about"),
    ],
)
def test_a_nerve_seals_nothing_it_should_not(message: Add, code: str, says: str) -> None:
    """What a nerve refuses, cannot place, does not declare, or decides about somebody else never reaches the log."""

    async def body(ground: Ground) -> None:
        async with stage(ground) as here:
            _, signer = await tallying(ground)
            await here.carry(TallyNerve(), [signer])
            asker = await here.asker()
            before = await asker.wire.last(LOG, f"{ENV}.>")
            answer = await asker.request(message)
            assert isinstance(answer, Refusal)
            assert (code, True) == (answer.code, says in answer.detail), answer
            assert before == await asker.wire.last(LOG, f"{ENV}.>")
            assert isinstance(await asker.request(Add("ann", 1)), Decided)

    play_sim(body)


@pytest.mark.spec("X-02")
def test_evidence_has_a_bound_with_a_name() -> None:
    """A window that outgrew the evidence's bound fails by name, and nothing is sealed."""

    async def body(ground: Ground) -> None:
        async with stage(ground) as here:
            _, signer = await tallying(ground)
            runner = await here.carry(TallyNerve(), [signer])
            asker = await here.asker()
            assert Refusal("B012", "tally has no answer to this request") == await asker.request(Add("ann", 101))
            answer = await asker.request(Add("ann", 1))
            assert isinstance(answer, Refusal)
            assert ("B009", True) == (answer.code, "bound the window" in answer.detail)
            assert runner.mind is not None
            runner.mind.windows.clear()
            assert isinstance(await asker.request(Add("ann", 1)), Decided)

    play_sim(body)


@pytest.mark.spec("X-02")
def test_several_decisions_of_one_message_are_one_batch() -> None:
    """Decisions made from one message are appended together, each with the evidence, and the first answers."""

    async def body(ground: Ground) -> None:
        async with stage(ground) as here:
            _, signer = await tallying(ground)
            await here.carry(TallyNerve(), [signer])
            asker = await here.asker()
            answer = await asker.request(Add("ann", 102))
            assert isinstance(answer, Decided)
            verdicts = [v async for v in asker.replay()][answer.index :]
            assert [0, 1] == [v.sealed.attributes.batch for v in verdicts if v.sealed]
            assert 1 == len({event.evidence for v in verdicts for event in v.events})

    play_sim(body)


@pytest.mark.spec("X-03")
def test_a_state_that_cannot_be_folded_closes_its_entity_alone() -> None:
    """After a logged decision that cannot be folded nothing is decided about its entity; others go on."""

    async def body(ground: Ground) -> None:
        async with stage(ground) as here:
            founded, _ = await tallying(ground)
            signer = await founded.introduce("tally", f"{ENV}.trial.tally.event.>")
            await here.carry(TallyNerve(), [signer], beat_s=1.0)
            asker = await here.asker()
            elsewhere = Bus(ground.world, await ground.wire("tally"), "tally", "9.9.9", [signer])
            await elsewhere.append(noted_strange("ann", ground))
            answer = await asker.request(Add("ann", 1))
            assert isinstance(answer, Refusal)
            assert ("B009", True) == (answer.code, "decided by version 9.9.9" in answer.detail), answer
            assert isinstance(await asker.request(Add("bob", 1)), Decided)

    play_sim(body)


def noted_strange(who: str, ground: Ground) -> Draft:
    """A decision of the nerve's own key that its fold knows nothing of."""
    return Draft(Strange(who), noted(ground.world, 1).event_id)


@pytest.mark.spec("NIM-01", "X-07")
def test_an_organ_is_driven_by_the_log(play: Play) -> None:
    """An organ hears every decision of its class and every entry; a retryable fault brings the entry back."""

    async def body(ground: Ground) -> None:
        async with stage(ground) as here:
            _, signer = await tallying(ground)
            await ground.create_durable(LOG, "ledger", f"{ENV}.>")
            organ = LedgerOrgan(Unreachable("not yet"))
            await here.carry(organ)
            await here.carry(TallyNerve(), [signer])
            asker = await here.asker()
            assert organ.open_now
            for n in (1, 2, 3):
                await asker.request(Add("ann", n))
            await until(lambda: len(organ.entries) >= 5)
            assert ([0, 1, 2, 3, 4], [1, 3, 6]) == (sorted(organ.entries), organ.added)
            await here.runners[0].stop()
            assert not organ.open_now

    play(body)


@pytest.mark.spec("X-12")
def test_a_poison_entry_is_dead_lettered_and_passed() -> None:
    """An entry that an organ can never use becomes a dead letter; the next one is handled."""

    async def body(ground: Ground) -> None:
        async with stage(ground) as here:
            _, signer = await tallying(ground)
            await ground.create_durable(LOG, "ledger", f"{ENV}.>")
            dead, organ = await here.dead(), LedgerOrgan(LogFault("a gap"), KeyError("a bug"))
            await here.carry(organ)
            await here.carry(TallyNerve(), [signer])
            await (await here.asker()).request(Add("ann", 1))
            await until(lambda: organ.entries)
            assert ([2], 2) == (organ.entries, len(dead.all))

    play_sim(body)


@pytest.mark.spec("X-12")
def test_a_broken_assertion_on_an_entry_stops_the_organ_and_keeps_the_entry() -> None:
    """An organ that breaks on an entry stops; the entry is not settled and comes to its successor."""

    async def body(ground: Ground) -> None:
        async with stage(ground) as here:
            await tallying(ground)
            await ground.create_durable(LOG, "ledger", f"{ENV}.>", ack_wait_s=1.0)
            runner = await here.carry(LedgerOrgan(AssertionError("a bug of ours")))

            def is_broken() -> bool:
                try:
                    runner.raise_if_broken()
                except AssertionError:
                    return True
                return False

            await until(is_broken)
            await runner.stop()
            successor = LedgerOrgan()
            await here.carry(successor)
            await until(lambda: 0 in successor.entries)

    play_sim(body)


# The start-up handshake


@pytest.fixture(params=["sim", "nats"])
def live(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Life], None]:
    """Let an organism with the math cell live on the simulated server and on a real one."""
    if request.param == "sim":
        return lambda life: live_sim(life, lambda _: [MathCell()])
    return lambda life: live_nats(life, tmp_path, lambda _: [MathCell()])


def good_claims(living: Living, phase: Phase) -> dict[str, str]:
    """What the granted math cell truthfully asserts."""
    runner = living.organism.runners["math_cell"]
    return claims(phase, runner.declared, runner.bus)


@pytest.mark.spec("NIM-22")
def test_a_part_is_greeted_in_five_phases(live: Callable[[Life], None]) -> None:
    """A granted part asserts identity, environment, vocabulary, connection and attention, and each is acknowledged."""

    async def life(living: Living) -> None:
        assert "accepted" == living.organism.runners["math_cell"].greeted
        boot = living.organism.runners["math_cell"].world.boot
        bus = living.organism.runners["math_cell"].bus
        for phase in PHASES:
            asked = Handshake(phase, "math_cell", "1.0.0", boot, good_claims(living, phase))
            assert HandshakeAck(phase, accepted=True, reason="") == await bus.request(asked)

    live(life)


@pytest.mark.spec("NIM-22")
@pytest.mark.parametrize(
    ("phase", "part", "lie", "reason"),
    [
        ("identity", "stranger", {}, "stranger was never granted"),
        ("identity", "math_cell", {"key": "0" * 32}, f"its key is {'0' * 32}, the log knows"),
        ("environment", "math_cell", {"env": "prod"}, "it runs for 'prod', this is 'dev'"),
        (
            "vocabulary",
            "math_cell",
            {"nervous.cells.math.wave": "0" * 32},
            "its schema differs for nervous.cells.math.wave",
        ),
        ("connection", "math_cell", {"ping": "$SRV.PING.overload.1"}, "is not its own discovery subject"),
        ("connection", "math_cell", {"ping": f"$SRV.PING.math_cell.{'0' * 16}"}, "does not hear its own"),
        (
            "attention",
            "math_cell",
            {"nervous.cells.math.request": "signal"},
            "hears nervous.cells.math.request as another kind",
        ),
    ],
)
def test_a_phase_is_refused_with_its_reason(phase: Phase, part: str, lie: dict[str, str], reason: str) -> None:
    """A stranger, a wrong key, environment, vocabulary, connection or kind is refused in its phase, with the reason."""

    async def life(living: Living) -> None:
        bus = living.organism.runners["math_cell"].bus
        asked = Handshake(phase, part, "1.0.0", "0" * 16, good_claims(living, phase) | lie)
        answer = await bus.request(asked, 10.0)
        assert isinstance(answer, HandshakeAck)
        assert (phase, False, True) == (answer.phase, answer.accepted, reason in answer.reason), answer.reason

    live_sim(life, lambda _: [MathCell()])


@pytest.mark.spec("NIM-22")
def test_a_refused_part_lets_go(live: Callable[[Life], None]) -> None:
    """A part with a wrong key does not start, and leaves nothing behind that would swallow messages or stay linked."""

    async def life(living: Living) -> None:
        await living.organism.runners.pop("math_cell").stop()
        wire = await living.host.wire("math_cell")
        impostor = Bus(living.host.world("math_cell"), wire, "math_cell", "1.0.0", [LocalSigner(bytes(32))])
        with pytest.raises(Refused, match=r"B005 .* in phase identity: its key is"):
            await Runner(MathCell(), impostor).start()
        assert not wire.connected
        answer = await living.operator.request(MathRequest("1 + 1"))
        assert isinstance(answer, Refusal)
        assert "nobody listens" in answer.detail

    live(life)


@pytest.mark.spec("NIM-22", "NIM-23")
def test_without_a_steward_the_lower_steps_work(play: Play) -> None:
    """Where no steward is up the handshake is unanswered, and the part works all the same."""

    async def body(ground: Ground) -> None:
        async with stage(ground) as here:
            runner = await here.carry(MathCell(), handshake=True)
            assert "unanswered" == runner.greeted
            assert MathResponse("1 + 1", 2.0, "2") == await (await here.asker()).request(MathRequest("1 + 1"))

    play(body)


@pytest.mark.spec("NIM-23")
@pytest.mark.parametrize("steps", range(1, 6))
def test_the_boot_may_stop_at_any_step(steps: int) -> None:
    """However many of the parts have started, those that have answer, and the missing ones are named as such."""

    async def life(living: Living) -> None:
        started = set(living.organism.runners) - {"steward"}
        assert steps == len(started)
        await living.world.sleep(5)
        for name, request in (("math_cell", MathRequest("1 + 1")), ("overload", AssessRequest("sim"))):
            answer = await living.operator.request(request)
            missing = isinstance(answer, Refusal) and answer.code == "B006"
            assert missing == (name not in started), (name, answer)
        living.organism.raise_if_broken()

    live_sim(life, lambda world: all_parts(world)[:steps])


# Declarations


class Deaf(Cell):
    """Two handlers for one class."""

    name = "deaf"
    version = "1.0.0"

    def on_one(self, hint: Hint) -> list[Shown]:
        """Hear it."""
        return []

    def on_two(self, hint: Hint) -> list[Shown]:
        """Hear it too."""
        return []


class Bold(Cell):
    """A cell that hears a decision."""

    name = "bold"
    version = "1.0.0"

    def on_added(self, added: Added) -> list[Shown]:
        """Hear it."""
        return []


class Judge(Cell):
    """A cell that decides."""

    name = "judge"
    version = "1.0.0"

    def on_hint(self, hint: Hint) -> list[Added]:
        """Decide."""
        return []


class Spaced(Cell):
    """A name that is two tokens."""

    name = "two.tokens"
    version = "1.0.0"

    def on_hint(self, hint: Hint) -> list[Shown]:
        """Hear it."""
        return []


class Mute(Organ):
    """No handler at all."""

    name = "mute"
    version = "1.0.0"


@pytest.mark.spec("X-01")
@pytest.mark.parametrize(
    ("part", "says"),
    [
        (Deaf, "two handlers hear Hint"),
        (Bold, "cannot hear Added"),
        (Judge, "a cell decides nothing"),
        (Spaced, "not one token"),
        (Mute, "has no handler"),
    ],
)
def test_a_declaration_that_could_not_work_is_refused(part: type[Cell | Organ], says: str) -> None:
    """A part that would be deaf, mute or unlawful is refused before it starts, with the reason."""
    with pytest.raises(DeclarationError, match=says):
        declaration(part())
