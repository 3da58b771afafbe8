"""Engines: libraries that may crash or hang, in processes of their own; here one that does so when it is asked to."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from shared.engine import Engine, EngineDied, EngineFailed, EngineMissing
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
    assert answer["cpu_us"] >= 0
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


def test_an_error_of_the_engine_is_told_and_ends_nothing() -> None:
    """What the library raises is EngineFailed in its own words, and the process stays."""

    async def body(made: Engine) -> None:
        first = await pid_of(made)
        with pytest.raises(EngineFailed, match="ValueError: not this"):
            await made.ask({"do": "raise"}, b"", PATIENCE_S)
        assert first == await pid_of(made)

    run(body)


@pytest.mark.parametrize(
    ("begin", "fault", "sentence"),
    [
        ("missing", EngineMissing, "No module named 'engine'"),
        ("broken", EngineFailed, "does not begin: it was never any good"),
        ("dead", EngineFailed, r"ended as it began \(killed by SIGKILL"),
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
