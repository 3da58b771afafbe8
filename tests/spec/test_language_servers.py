"""Language on a real server: llama.cpp speaks the OpenAI protocol, with a model whose weights are drawn at random."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from organs.cognition import Asked, OpenAISpeaker, Quoting, Speaking
from shared.errors import Refused, Unreachable
from shared.openai import OpenAIServer
from tests.gguf_models import write_gemma

pytestmark = pytest.mark.spec("NIM-15", "NIM-17")

PROGRAM = Path(__file__).parents[1] / "llama_program.py"
SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"level": {"enum": ["LOW", "CRITICAL"]}, "sure": {"type": "boolean"}},
        "required": ["level", "sure"],
        "additionalProperties": False,
    }
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with room for a question."""
    return write_gemma(tmp_path_factory.mktemp("models") / "tiny.gguf", context=4_096)


@asynccontextmanager
async def llama(model: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, Speaking]]:
    """A server of its own, and a language that speaks through it."""
    pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    server = await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), str(model), stdin=pipe, stdout=pipe, stderr=nothing
    )
    assert server.stdout is not None
    url = (await server.stdout.readline()).decode().strip()
    language = Speaking(OpenAISpeaker(OpenAIServer(f"{url}/v1"), "tiny"), Quoting())
    try:
        yield server, language
    finally:
        await language.close()
        if server.returncode is None:
            server.kill()
        await server.wait()


def test_a_real_model_answers_in_the_shape_that_was_asked_for(model: Path) -> None:
    """Even random weights are held to the schema by the server's grammar; the answer is judged here all the same."""

    async def whole() -> None:
        async with llama(model) as (_, language):
            said = await language.answer(Asked("how is the battery?", (), "any", SCHEMA))
            assert ("structured", "openai") == (said.decision, language.engine)
            assert {"level", "sure"} == json.loads(said.answer).keys()
            assert said.model

    asyncio.run(whole())


def test_what_a_real_model_does_not_finish_is_no_answer(model: Path) -> None:
    """Random words go on until they are cut short: L003 after every attempt, never half a sentence as an answer."""

    async def whole() -> None:
        async with llama(model) as (_, language):
            with pytest.raises(Refused, match=r"L003 .* cut short"):
                await language.answer(Asked("say something", ()))

    asyncio.run(whole())


def test_a_real_server_that_is_killed_while_it_answers_is_unreachable(model: Path) -> None:
    """kill -9 in mid-sentence is a Fault that is worth another attempt, at once."""

    async def whole() -> None:
        async with llama(model) as (server, language):
            asking = asyncio.ensure_future(language.answer(Asked("say something long", ())))
            done, _ = await asyncio.wait([asking], timeout=0.05)
            assert not done
            server.kill()
            with pytest.raises(Unreachable):
                await asking

    asyncio.run(whole())
