"""The client of model servers, against servers that answer whatever they like: each ends in a fault of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Fault, Unreachable
from shared.ollama import (
    MODEL_ANSWER_BYTES,
    BadAnswer,
    Busy,
    Generated,
    ModelFailed,
    ModelMissing,
    NotAccepted,
    OllamaClient,
)

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
SAID = b'{"response":"yes","done":true,"done_reason":"stop","eval_count":1,"new":"field"}'


def ask(status: int, body: bytes, *, wait_s: float = 10.0) -> Generated:
    """What the client makes of one answer."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body)

    return asyncio.run(served(answer, wait_s))


async def served(answer: Answer, wait_s: float) -> Generated:
    """Ask a server that gives this answer."""
    app = web.Application()
    app.router.add_post("/api/generate", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with OllamaClient(f"http://127.0.0.1:{runner.addresses[0][1]}/", timeout_s=wait_s) as client:
            return await client.generate("m", "p")
    finally:
        await runner.cleanup()


@pytest.mark.spec("NIM-17")
def test_fields_of_newer_servers_are_read_over() -> None:
    """What is known is read, what is not is left out, and what is missing counts nothing."""
    assert Generated("yes", "stop", 0, 1, 0) == ask(200, SAID)


@pytest.mark.spec("NIM-17")
@pytest.mark.parametrize(
    ("status", "body", "fault", "retry"),
    [
        (404, b'{"error":"model not found"}', ModelMissing, False),
        (400, b'{"error":"bad option"}', NotAccepted, False),
        (429, b"", Busy, True),
        (503, b'{"error":"busy"}', Busy, True),
        (500, b'{"error":"it crashed"}', ModelFailed, True),
        (302, b"", NotAccepted, False),
        (200, b"<html>", BadAnswer, False),
        (200, b'{"response":"half","done":false}', BadAnswer, False),
        (200, b'{"response":5,"done":true}', BadAnswer, False),
        (200, b"\xff", BadAnswer, False),
        (200, b" " * (MODEL_ANSWER_BYTES + 1), BadAnswer, False),
    ],
    ids=lambda value: str(value)[:20],
)
def test_each_failure_has_a_fault_of_its_own(status: int, body: bytes, fault: type[Fault], retry: bool) -> None:  # noqa: FBT001
    """Missing, refused, busy, failed, and nonsense are told apart, and so is what may succeed later."""
    with pytest.raises(fault) as found:
        ask(status, body)
    assert type(found.value) is fault
    assert retry == found.value.retry


@pytest.mark.spec("NIM-17")
def test_silence_and_a_broken_answer_are_unreachable() -> None:
    """A server that never answers, and one that hangs up in the middle."""

    async def never(_: web.Request) -> web.StreamResponse:
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    async def hangs_up(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = 100
        await response.prepare(request)
        await response.write(SAID)
        assert request.transport is not None
        request.transport.abort()
        return response

    async def nowhere() -> None:
        async with OllamaClient("no address at all") as client:
            await client.version()

    with pytest.raises(Unreachable, match="gave no answer"):
        asyncio.run(served(never, 0.05))
    with pytest.raises(Unreachable, match="cannot be asked"):
        asyncio.run(served(hangs_up, 10.0))
    with pytest.raises(Unreachable, match="cannot be asked"):
        asyncio.run(nowhere())


@pytest.mark.spec("NIM-17")
@given(body=st.binary(max_size=60))
def test_any_answer_is_read_or_is_a_fault(body: bytes) -> None:
    """Whatever a server sends with status 200, nothing but a fault leaves the client."""
    with pytest.raises(Fault):
        ask(200, body)
