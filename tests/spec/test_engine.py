"""Engines: libraries that may crash or hang, in processes of their own; here one that does so when it is asked to."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from shared.engine import Engine, EngineDied, EngineFailed, EngineMissing, EngineNotBegun
from tests.ground import until

pytestmark = pytest.mark.spec("NIM-16")

PROGRAM = Path(__file__).parents[1] / "engine_program.py"
PATIENCE_S = 30.0


@asynccontextmanager
async def engine(**options: str) -> AsyncIterator[Engine]:
    """An engine, ended at the end."""
    made = Engine(PROGRAM, options)
    try:
        yield made
    finally:
        await made.close()


def run(body: Callable[[Engine], Coroutine[Any, Any, None]], **options: str) -> None:
    """Try an engine."""

    async def whole() -> None:
        async with engine(**options) as made:
            await body(made)

    asyncio.run(whole())


async def pid_of(made: Engine) -> int:
    """The process that answers, with what it was sent."""
    answer, data = await made.ask({"do": "echo"}, b"\0\xff" * 200_000, PATIENCE_S)
    assert b"\0\xff" * 200_000 == data
    return answer["pid"]


def test_one_process_answers_and_stays_warm() -> None:
    """Nothing is started before it is needed; then the same process answers, whatever it prints in between."""

    async def body(made: Engine) -> None:
        assert made.pid is None
        first = await pid_of(made)
        assert [first, first, made.pid] == [*await asyncio.gather(pid_of(made), pid_of(made)), first]
        assert os.getpid() != first

    run(body)


def test_a_process_that_is_killed_while_it_is_asked_is_replaced_and_asked_again(tmp_path: Path) -> None:
    """kill -9 in the middle of a request: another process answers it, and nobody notices."""
    mark = tmp_path / "waits"

    async def body(made: Engine) -> None:
        first = await pid_of(made)
        asking = asyncio.ensure_future(made.ask({"do": "wait", "mark": str(mark)}, b"", PATIENCE_S))
        await until(mark.exists)
        os.kill(first, signal.SIGKILL)
        answer, _ = await asking
        assert first != answer["pid"] == made.pid

    run(body)


def test_a_process_that_died_in_between_is_replaced() -> None:
    """Killed while nothing was asked, it is found dead by the next request, which is answered."""

    async def body(made: Engine) -> None:
        first = await pid_of(made)
        os.kill(first, signal.SIGKILL)
        assert first != await pid_of(made)

    run(body)


def test_what_kills_every_process_is_told_and_the_next_request_is_answered() -> None:
    """A request that ends two processes is EngineDied, with how they ended; the engine itself goes on."""

    async def body(made: Engine) -> None:
        with pytest.raises(EngineDied, match=r"2 times \(killed by SIGKILL"):
            await made.ask({"do": "die"}, b"", PATIENCE_S)
        assert await pid_of(made) == made.pid

    run(body)


def test_silence_is_ended_and_told(tmp_path: Path) -> None:
    """An engine that says nothing in time is ended; half an answer is never taken for the next one's."""

    async def body(made: Engine) -> None:
        first = await pid_of(made)
        with pytest.raises(EngineFailed, match="said nothing within"):
            await made.ask({"do": "wait", "mark": str(tmp_path / "waits")}, b"", 0.05)
        assert not psutil.pid_exists(first)
        assert await pid_of(made) == made.pid

    run(body)


def test_an_error_of_the_engine_is_told_and_its_process_is_replaced(tmp_path: Path) -> None:
    """What the library raises is EngineFailed in its own words, on one line; it is asked once, and its process ends."""
    mark = tmp_path / "asked"

    async def body(made: Engine) -> None:
        first = await pid_of(made)
        with pytest.raises(EngineFailed, match=r"ValueError: not this$"):
            await made.ask({"do": "raise", "mark": str(mark)}, b"", PATIENCE_S)
        assert ["asked"] == mark.read_text().splitlines()
        assert not psutil.pid_exists(first)
        assert first != await pid_of(made)

    run(body)


def test_a_request_costs_what_was_computed() -> None:
    """The engine's own processor time: more than nothing, and no more than passed meanwhile."""

    async def body(made: Engine) -> None:
        await pid_of(made)
        began = time.perf_counter_ns()
        answer, _ = await made.ask({"do": "compute", "terms": 100_000}, b"", PATIENCE_S)
        passed_us = (time.perf_counter_ns() - began) / 1_000
        assert 4_999_950_000 == answer["sum"]
        assert 0 < answer["cpu_us"] <= passed_us

    run(body)


def test_each_process_begins_with_what_it_is_given() -> None:
    """It is fetched for each process anew; where it cannot be had, no process is started."""
    files = [b"a model's file" * 100_000, b"another"]

    async def given() -> bytes:
        if not files:
            raise FileNotFoundError
        return files.pop(0)

    async def whole() -> None:
        made = Engine(PROGRAM, given=given)
        for expected in tuple(files):
            assert expected == (await made.ask({"do": "given"}, b"", PATIENCE_S))[1]
            assert expected == (await made.ask({"do": "given"}, b"", PATIENCE_S))[1]
            await made.close()
        with pytest.raises(FileNotFoundError):
            await made.ask({"do": "given"}, b"", PATIENCE_S)
        assert made.pid is None

    asyncio.run(whole())


@pytest.mark.spec("X-12")
@pytest.mark.parametrize(
    "words",
    ["", "hello", "7", "{}", '{"bytes": null}', '{"bytes": -1}', '{"bytes": 99999999999}', "[" * 20_000, "x" * 200_000],
)
def test_what_is_no_answer_is_told_and_ended(words: str) -> None:
    """A process that says anything but a frame is not believed: EngineFailed, and the next request finds another."""

    async def body(made: Engine) -> None:
        first = await pid_of(made)
        with pytest.raises(EngineFailed, match="no answer"):
            await made.ask({"do": "babble", "words": words}, b"", PATIENCE_S)
        assert first != await pid_of(made)

    run(body)


@pytest.mark.parametrize(
    ("begin", "fault", "sentence"),
    [
        ("missing", EngineMissing, "No module named 'engine'"),
        ("broken", EngineNotBegun, "does not begin: ValueError: it was never any good"),
        ("dead", EngineNotBegun, r"ended as it began \(killed by SIGKILL"),
    ],
)
def test_an_engine_that_does_not_begin_says_why(begin: str, fault: type[EngineFailed], sentence: str) -> None:
    """What is missing, what is broken and what dies at once are told apart."""

    async def body(made: Engine) -> None:
        with pytest.raises(fault, match=sentence):
            await made.ask({"do": "echo"}, b"", PATIENCE_S)
        assert made.pid is None

    run(body, begin=begin)


def test_a_cancelled_request_leaves_no_half_answer(tmp_path: Path) -> None:
    """Whoever is cancelled while it waits takes the process along."""

    async def body(made: Engine) -> None:
        mark = tmp_path / "waits"
        asking = asyncio.ensure_future(made.ask({"do": "wait", "mark": str(mark)}, b"", PATIENCE_S))
        await until(mark.exists)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert made.pid is None
        assert await pid_of(made) == made.pid

    run(body)


def test_an_engine_ends_with_its_parent() -> None:
    """A parent that is killed takes its engine along: nothing is left behind."""
    source = f"""
import asyncio
from shared.engine import Engine
from pathlib import Path

async def main():
    engine = Engine(Path({str(PROGRAM)!r}))
    answer, _ = await engine.ask({{"do": "echo"}}, b"", 30.0)
    print(answer["pid"], flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
    parent = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert [] == psutil.wait_procs([child], timeout=PATIENCE_S)[1]
