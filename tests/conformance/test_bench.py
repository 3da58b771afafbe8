"""What every bench does, with models in processes or played by rules; and what only a process can get wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from organs.evaluator.bench import EngineBench
from organs.evaluator.port import Bench, Seated
from organs.evaluator.simulated import MODEL, SimBench
from shared.boundary.task import TASK
from shared.errors import Refused
from tests.boundaries import untrained
from tests.evaluations import DYING, SILENT, program

PROMPTS = [TASK.prompt(state) for state, _ in zip(TASK.corners(), range(5), strict=False)]


@pytest.fixture(params=["rules", "process"])
def seat(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Coroutine[Any, Any, Seated]]:
    """How to seat a sound boundary model."""
    if request.param == "rules":
        return lambda: SimBench().seat("boundary", MODEL)
    raw = untrained(tmp_path)
    return lambda: EngineBench().seat("boundary", raw)


@pytest.fixture(params=["rules", "process"])
def bench(request: pytest.FixtureRequest) -> Bench:
    """A bench without a model."""
    return SimBench() if request.param == "rules" else EngineBench()


@pytest.mark.spec("ILL-06")
def test_a_seated_model_answers_every_question_the_same_way_again(
    seat: Callable[[], Coroutine[Any, Any, Seated]],
) -> None:
    """Each question has its own answer, alone or among others, now and later; no questions have none."""

    async def life() -> None:
        seated = await seat()
        try:
            answers = await seated.ask(PROMPTS)
            assert len(PROMPTS) == len(answers)
            assert answers == await seated.ask(PROMPTS)
            assert answers[2:3] == await seated.ask(PROMPTS[2:3])
            assert [] == await seated.ask([])
            assert TASK.read_call(answers[0])
        finally:
            await seated.close()

    asyncio.run(life())


@pytest.mark.spec("ILL-06", "X-12")
def test_what_is_no_model_is_not_seated(bench: Bench) -> None:
    """Bytes that are no model of the family are refused by name, and nothing is left of them."""

    async def life() -> None:
        for family, model in (("boundary", b"no model"), ("boundary", b""), ("toxicity", b"\x80\x04pickle")):
            with pytest.raises(Refused) as no:
                await bench.seat(family, model)
            assert "V004" == no.value.refusal.code

    asyncio.run(life())


@pytest.mark.spec("ILL-06", "X-07")
@pytest.mark.parametrize("text", [DYING, SILENT])
def test_a_model_that_dies_or_does_not_answer_is_refused(tmp_path: Path, text: str) -> None:
    """A process that ends while it is asked, or leaves questions out, has measured nothing."""

    async def life() -> None:
        seated = await EngineBench(program(tmp_path, text)).seat("boundary", b"")
        try:
            with pytest.raises(Refused) as no:
                await seated.ask(PROMPTS)
            assert "V002" == no.value.refusal.code
        finally:
            await seated.close()
        assert seated.pid is None

    asyncio.run(life())
