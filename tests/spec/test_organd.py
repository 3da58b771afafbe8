"""organd as the official `ollama` client finds it: real workers on tiny models, one server for this whole file."""

from __future__ import annotations

import asyncio
import gzip
import json
import math
import os
import socket
import threading
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import ollama
import psutil
import pytest

from organs.organd.devices import Processor
from organs.organd.forward import MAX_LIST_BYTES, Upstream, UpstreamFault
from organs.organd.posts import ChatPost, GeneratePost
from organs.organd.rest import Rest
from organs.organd.service import Service
from shared.errors import Damaged
from shared.ollama import ModelMissing, NotAccepted, OllamaClient, Unreachable
from tests.gguf_models import CONTEXT, EMBEDDING_CONTEXT, WIDTH, write_gemma
from tests.organds import EMBEDS, SAYS, Organd, asked, organd

SHORT = {"temperature": 0, "num_predict": 8}
SCHEMA = {
    "type": "object",
    "properties": {"act": {"enum": ["stop", "go"]}, "speed": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["act", "speed"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Organd]:
    """One organd for all of these tests."""
    with organd(tmp_path_factory.mktemp("organd")) as running:
        yield running


@pytest.fixture
def client(here: Organd) -> Iterator[ollama.Client]:
    """The official client, as its users have it."""
    made = ollama.Client(here.rest.url)
    yield made
    made.close()


@pytest.mark.spec("NIM-16")
def test_the_official_client_is_answered(client: ollama.Client) -> None:
    """What a model says is the same each time where nothing is left to chance, and is counted."""
    first, again = (client.generate(SAYS, "hello", options=SHORT) for _ in range(2))
    assert first.response == again.response
    assert ("length", 8, True) == (first.done_reason, first.eval_count, first.done)
    assert 0 < (first.prompt_eval_count or 0) < CONTEXT
    assert (first.total_duration or 0) >= (first.eval_duration or 0) > 0


@pytest.mark.spec("NIM-16")
def test_a_conversation_is_streamed_piece_by_piece(client: ollama.Client) -> None:
    """Joined, the pieces are the whole answer; the last one, and it alone, is done."""
    turns = [{"role": "user", "content": "hi"}]
    pieces = list(client.chat(SAYS, turns, stream=True, options=SHORT))
    whole = client.chat(SAYS, turns, options=SHORT)
    assert whole.message.content == "".join(piece.message.content or "" for piece in pieces)
    assert [False] * (len(pieces) - 1) + [True] == [piece.done for piece in pieces]
    assert ("length", "assistant") == (pieces[-1].done_reason, pieces[0].message.role)
    assert len(pieces) > 2


@pytest.mark.spec("NIM-16")
def test_a_prompt_and_its_conversation_are_the_same(client: ollama.Client) -> None:
    """`generate` writes a prompt by the model's template, as `chat` does; raw, it is left as it is."""
    chatted = client.chat(
        SAYS, [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hello"}], options=SHORT
    )
    said = client.generate(SAYS, "hello", system="be kind", options=SHORT)
    assert (chatted.message.content, chatted.prompt_eval_count) == (said.response, said.prompt_eval_count)
    raw = client.generate(SAYS, "<bos>system be kind\n<bos>user hello\nassistant ", raw=True, options=SHORT)
    assert said.response == raw.response
    assert 5 == client.generate(SAYS, "hello", raw=True, options=SHORT).prompt_eval_count


@pytest.mark.spec("NIM-17")
@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_keeps_to_its_schema(client: ollama.Client, *, stream: bool) -> None:
    """Even a model of random weights says what the schema allows, without white space of its own choice."""
    for seed in range(5):
        options = {"temperature": 2.0, "seed": seed}
        if stream:
            pieces = client.chat(
                SAYS, [{"role": "user", "content": "go?"}], format=SCHEMA, options=options, stream=True
            )
            text = "".join(piece.message.content or "" for piece in pieces)
        else:
            text = client.generate(SAYS, "go?", format=SCHEMA, options=options).response or ""
        jsonschema.validate(json.loads(text), SCHEMA)
        assert text == json.dumps(json.loads(text), separators=(",", ":"))


@pytest.mark.spec("NIM-17")
def test_an_answer_that_was_cut_short_says_so(client: ollama.Client) -> None:
    """A length stop is passed on as what it is, with a schema too."""
    cut = client.generate(SAYS, "go?", format=SCHEMA, options={"num_predict": 3, "seed": 1})
    assert ("length", 3) == (cut.done_reason, cut.eval_count)


@pytest.mark.spec("NIM-17")
@pytest.mark.parametrize("schema", [{"type": "nonsense"}, {"$ref": "#/nowhere"}, {"patternProperties": {"(": {}}}])
def test_a_schema_that_nothing_can_be_held_to_is_refused(client: ollama.Client, schema: dict[str, Any]) -> None:
    """llama.cpp would ignore it and answer freely; here it is a 400, each time."""
    for _ in range(2):
        with pytest.raises(ollama.ResponseError, match="no JSON schema") as no:
            client.generate(SAYS, "x", format=schema, options=SHORT)
        assert 400 == no.value.status_code


@pytest.mark.spec("NIM-17")
def test_texts_become_vectors_of_length_one(client: ollama.Client) -> None:
    """One for each text, the same for the same text; what is too long is cut to what the model holds, or refused."""
    found = client.embed(EMBEDS, ["a b", "c d", "a b"]).embeddings
    assert [WIDTH] * 3 == [len(vector) for vector in found]
    assert found[0] == found[2] != found[1]
    assert all(math.isclose(1.0, sum(n * n for n in vector), rel_tol=1e-5) for vector in found)
    long = "a b c " * 100
    cut = " ".join(long.split()[: EMBEDDING_CONTEXT - 2])
    assert client.embed(EMBEDS, cut).embeddings == client.embed(EMBEDS, long).embeddings
    with pytest.raises(ollama.ResponseError, match="too large"):
        client.embed(EMBEDS, long, truncate=False)
    assert found[0] == client.embeddings(EMBEDS, "a b").embedding
    assert 4 == len(client.embed(EMBEDS, "a b", dimensions=4).embeddings[0])
    assert [] == list(client.embed(EMBEDS, []).embeddings)


@pytest.mark.spec("NIM-16")
def test_an_empty_prompt_loads_and_unloads(here: Organd, client: ollama.Client) -> None:
    """`keep_alive` 0 unloads: the process is gone and its memory with it when the answer comes."""
    assert "load" == client.generate(SAYS, keep_alive="10m").done_reason
    [row] = [model for model in client.ps().models if model.model == f"{SAYS}:latest"]
    assert CONTEXT == row.context_length
    assert 0 == row.size_vram
    pid = here.pid()
    assert psutil.Process(pid).memory_info().rss > 1_000_000
    assert "unload" == client.generate(SAYS, keep_alive=0).done_reason
    assert not psutil.pid_exists(pid)
    assert f"{SAYS}:latest" not in [model.model for model in client.ps().models]
    assert ["unloading", "verifying_release", "cold"] == here.states()[-3:]
    assert "unload" == client.chat(SAYS, [], keep_alive=0).done_reason


@pytest.mark.spec("NIM-16")
def test_a_model_leaves_when_its_time_is_over(here: Organd, client: ollama.Client) -> None:
    """Unused for as long as it was asked to stay, its process is gone; the next request loads it again."""
    client.generate(SAYS, "x", options=SHORT, keep_alive="1ms")
    here.settled("cold")
    assert ["idle", "unloading", "verifying_release", "cold"] == here.states()[-4:]
    assert not psutil.pid_exists(here.changes[-1].pid)
    assert 8 == client.generate(SAYS, "x", options=SHORT).eval_count


@pytest.mark.spec("NIM-17")
def test_the_models_are_listed_and_shown(client: ollama.Client) -> None:
    """`list` has the digest of each file; `show` says what the file says."""
    listed = {model.model: model for model in client.list().models}
    assert {f"{SAYS}:latest", EMBEDS} <= set(listed)
    row = listed[f"{SAYS}:latest"]
    assert 64 == len(row.digest or "")
    assert row.details is not None
    assert ("gemma3", "22.0K", "F32") == (
        row.details.family,
        row.details.parameter_size,
        row.details.quantization_level,
    )
    shown = client.show(SAYS)
    assert CONTEXT == (shown.modelinfo or {})["gemma3.context_length"]
    assert (["completion"], ["embedding"]) == (shown.capabilities, client.show(EMBEDS).capabilities)


@pytest.mark.spec("NIM-17")
def test_what_is_not_held_is_a_404_by_name(client: ollama.Client) -> None:
    """Each call about an unknown model says which, in Ollama's shape."""
    calls = [
        lambda: client.generate("nobody", "x"),
        lambda: client.chat("nobody", []),
        lambda: client.embed("nobody", "x"),
        lambda: client.show("nobody"),
    ]
    for call in calls:
        with pytest.raises(ollama.ResponseError, match="model 'nobody' not found") as no:
            call()
        assert 404 == no.value.status_code


@pytest.mark.spec("NIM-17")
def test_what_is_not_offered_says_what_to_do_instead(client: ollama.Client) -> None:
    """Models come and go as files, so pull, push, create, copy and delete are refused."""
    calls = [
        lambda: client.pull("llama3"),
        lambda: client.push(SAYS),
        lambda: client.create("x", from_=SAYS),
        lambda: client.copy(SAYS, "x"),
        lambda: client.delete(SAYS),
    ]
    for call in calls:
        with pytest.raises(ollama.ResponseError, match="nimmerverse models add") as no:
            call()
        assert 501 == no.value.status_code


REFUSED: list[tuple[str, object, str]] = [
    ("/api/generate", b"{", "no JSON"),
    ("/api/generate", b"", "missing request body"),
    ("/api/generate", {"prompt": "x"}, "model"),
    ("/api/generate", {"model": 5}, "valid string"),
    ("/api/generate", {"model": SAYS, "prompt": "x", "keep_alive": "soon"}, "keep_alive"),
    ("/api/generate", {"model": SAYS, "prompt": "x", "options": {"temperature": "warm"}}, "options.temperature"),
    ("/api/generate", {"model": SAYS, "prompt": "x", "options": {"num_gpu": 1}}, "options.num_gpu"),
    ("/api/generate", {"model": SAYS, "prompt": "x", "options": {"num_ctx": 9_999}}, "num_ctx"),
    ("/api/generate", {"model": SAYS, "prompt": "x", "images": ["aGk="]}, "image"),
    ("/api/generate", {"model": SAYS, "prompt": "x", "suffix": "y"}, "insert"),
    ("/api/generate", {"model": SAYS, "prompt": "x", "think": True}, "thinking"),
    ("/api/generate", {"model": SAYS, "prompt": "x " * 50_000}, "exceeds the available context"),
    ("/api/generate", {"model": SAYS, "prompt": "x " * 50_000, "stream": False}, "exceeds the available context"),
    ("/api/generate", {"model": EMBEDS, "prompt": "x"}, "does not support generate"),
    ("/api/chat", {"model": SAYS, "messages": [{"role": "user", "content": "x"}], "tools": [{}]}, "tools"),
    ("/api/chat", {"model": SAYS, "messages": [{"role": "alien", "content": "x"}]}, "role"),
    ("/api/chat", {"model": SAYS, "messages": "hello"}, "messages"),
    ("/api/embed", {"model": SAYS, "input": "x"}, "does not support embeddings"),
    ("/api/embed", {"model": EMBEDS, "input": ["x"] * 1_001}, "1001 texts"),
    ("/api/show", {}, "model is required"),
]


@pytest.mark.spec("NIM-17")
@pytest.mark.parametrize(("path", "body", "found"), REFUSED, ids=lambda value: str(value)[:40])
def test_a_wrong_request_is_a_400_that_names_what_is_wrong(here: Organd, path: str, body: object, found: str) -> None:
    """Bad JSON, wrong types, what no model here can do: an error in Ollama's shape, and the next one is answered."""
    status, answer = here.post(path, body)
    assert (400, ["error"]) == (status, list(answer))
    assert found in answer["error"]


@pytest.mark.spec("NIM-16")
def test_the_rest_of_the_protocol(here: Organd) -> None:
    """The banner for whoever looks whether somebody is there; an unknown path and too much are errors in the shape."""
    url = here.rest.url
    assert (200, "Ollama is running") == asked(url, None, "GET")
    assert (200, "") == asked(url, None, "HEAD")
    assert ["version"] == list(asked(f"{url}/api/version", None, "GET")[1])
    assert (404, {"error": "Not Found"}) == asked(f"{url}/api/nothing", None, "GET")
    assert 405 == asked(f"{url}/api/generate", None, "GET")[0]
    assert 413 == here.post("/api/generate", b" " * 4_000_001)[0]


@pytest.mark.spec("NIM-16")
def test_a_page_in_a_browser_is_not_answered(here: Organd) -> None:
    """Neither a foreign origin nor a name that was made to lead here gets anything."""
    body = {"model": SAYS, "prompt": "x", "stream": False}
    assert 403 == here.post("/api/generate", body, Origin="https://example.org")[0]
    assert 403 == here.post("/api/generate", body, Host="example.org")[0]
    assert 403 == here.post("/api/generate", body, Origin="null")[0]
    assert 200 == here.post("/api/generate", body, Origin="http://localhost:3000")[0]


@pytest.mark.spec("NIM-16")
def test_our_own_client_is_answered_too(here: Organd) -> None:
    """What cognition uses: typed answers, and a fault of its own for each thing that can go wrong."""

    async def main() -> None:
        async with OllamaClient(here.rest.url) as client:
            said = await client.generate(SAYS, "hello", options=SHORT)
            assert ("length", 8, False) == (said.done_reason, said.tokens, said.whole)
            assert 0 < said.compute_us <= 1_000 * (said.took_ms + 1)
            held = await client.chat(SAYS, [{"role": "user", "content": "go?"}], format=SCHEMA, options={"seed": 1})
            assert held.whole
            jsonschema.validate(json.loads(held.text), SCHEMA)
            assert [WIDTH, WIDTH] == [len(vector) for vector in await client.embed(EMBEDS, ["a", "b"])]
            assert {f"{SAYS}:latest", EMBEDS} <= set(await client.models())
            assert f"{SAYS}:latest" in [model.name for model in await client.running()]
            assert await client.version()
            with pytest.raises(ModelMissing, match="nobody"):
                await client.generate("nobody", "x")
            with pytest.raises(NotAccepted, match="context"):
                await client.generate(SAYS, "x " * 50_000)
            with pytest.raises(Unreachable, match="no answer in 0"):
                await client.generate(SAYS, "x", timeout_s=0)
        async with OllamaClient("http://127.0.0.1:1") as nobody:
            with pytest.raises(Unreachable, match="cannot be asked"):
                await nobody.version()

    here.run(main)


@pytest.mark.spec("NIM-16")
def test_a_model_whose_bytes_changed_is_refused_by_name(tmp_path: Path) -> None:
    """Its manifest says what it was; the model is not loaded, before and after it was loaded once; added anew it is."""
    with organd(tmp_path) as own:
        body = {"model": SAYS, "prompt": "x", "stream": False, "options": SHORT, "keep_alive": 0}
        assert 200 == own.post("/api/generate", body)[0]
        path = tmp_path / "models" / SAYS / "latest.gguf"
        raw = bytearray(path.read_bytes())
        raw[-1] ^= 1
        path.write_bytes(raw)
        status, answer = own.post("/api/generate", body)
        assert (500, True) == (status, "its manifest says" in answer["error"])
        assert str(path) in answer["error"]
        own.models.add(write_gemma(tmp_path / "other.gguf", seed=8), SAYS)
        assert 200 == own.post("/api/generate", body)[0]
        path.with_suffix(".json").write_text("{}")
        with pytest.raises(Damaged):
            own.run(lambda: own.models.look(SAYS))


@pytest.mark.spec("NIM-17")
def test_a_file_that_is_no_model_is_a_failed_load_that_says_why(tmp_path: Path) -> None:
    """Right digest, broken weights: the reason is llama.cpp's refusal, nothing is left running, others still work."""
    with organd(tmp_path) as own:
        whole = (tmp_path / "gemma.gguf").read_bytes()
        cut = tmp_path / "cut.gguf"
        cut.write_bytes(whole[:-20_000])
        own.models.add(cut, "cut")
        before = psutil.Process().children()
        status, answer = own.post("/api/generate", {"model": "cut", "prompt": "x"})
        assert (500, True) == (status, "model 'cut:latest' could not be loaded" in answer["error"])
        assert ["loading", "verifying_release", "failed"] == own.states("cut")[-3:]
        assert before == psutil.Process().children()
        assert 200 == own.post("/api/generate", {"model": SAYS, "prompt": "x", "stream": False, "options": SHORT})[0]


@pytest.mark.spec("NIM-16")
def test_one_place_means_one_model_after_the_other(tmp_path: Path) -> None:
    """On a device for one model the second takes the place of the first, under a lease with a greater token."""
    with organd(tmp_path, Processor(slots=1, leased=True)) as own:
        for _ in range(2):
            assert (
                200 == own.post("/api/generate", {"model": SAYS, "prompt": "x", "stream": False, "options": SHORT})[0]
            )
            assert 200 == own.post("/api/embed", {"model": EMBEDS, "input": "a"})[0]
        assert ["embed:v1.0"] == [slot.name for slot in own.supervisor.loaded()]
        tokens = [change.token for change in own.changes if change.state == "loading"]
        assert all(later > earlier for earlier, later in pairwise(tokens))
        assert 4 == len(tokens)


@pytest.mark.spec("NIM-16")
def test_a_second_organd_does_not_take_a_device_that_is_leased(tmp_path: Path) -> None:
    """While the first one's worker lives, the second is told so; when it is unloaded, the second loads."""
    runtime = tmp_path / "run"
    body = {"model": SAYS, "prompt": "x", "stream": False, "options": SHORT}
    (tmp_path / "other").mkdir()
    with (
        organd(tmp_path, Processor(slots=1, leased=True), runtime=runtime) as one,
        organd(tmp_path / "other", Processor(slots=1, leased=True), runtime=runtime) as two,
    ):
        assert 200 == one.post("/api/generate", body)[0]
        status, answer = two.post("/api/generate", body)
        assert (503, True) == (status, "another process holds the lease of cpu" in answer["error"])
        assert 200 == one.post("/api/generate", {"model": SAYS, "keep_alive": 0})[0]
        assert 200 == two.post("/api/generate", body)[0]
        assert 2 == next(change.token for change in two.changes if change.state == "ready")


@pytest.mark.spec("NIM-16")
def test_what_is_not_held_here_is_asked_upstream_unchanged(here: Organd, tmp_path: Path) -> None:
    """One client path: a server with an upstream answers for its models too, in pieces where that is wanted."""
    folder = tmp_path / "front"
    folder.mkdir()
    with organd(folder, upstream=here.rest.url) as front:
        here.models.add(write_gemma(tmp_path / "g.gguf", seed=9), "far")
        client, far = ollama.Client(front.rest.url), ollama.Client(here.rest.url)
        assert far.generate("far", "x", options=SHORT).response == client.generate("far", "x", options=SHORT).response
        pieces = list(client.chat("far", [{"role": "user", "content": "x"}], stream=True, options=SHORT))
        assert len(pieces) > 2
        assert "far:latest" in [model.model for model in client.list().models]
        assert "far:latest" in [model.model for model in client.ps().models]
        assert "far:latest" not in front.supervisor.slots
        with pytest.raises(ollama.ResponseError, match="model 'nobody' not found") as no:
            client.generate("nobody", "x")
        assert 404 == no.value.status_code
        assert "load" == client.generate(SAYS, keep_alive="1m").done_reason
        assert f"{SAYS}:latest" in front.supervisor.slots
        for each in (client, far):
            each.close()


@pytest.mark.spec("NIM-16")
def test_an_upstream_that_is_gone_is_a_502_by_name(tmp_path: Path) -> None:
    """What is held here is answered all the same."""
    with organd(tmp_path, upstream="http://127.0.0.1:1") as front:
        status, answer = front.post("/api/generate", {"model": "far", "prompt": "x"})
        assert (502, True) == (status, "http://127.0.0.1:1 cannot be asked" in answer["error"])
        assert 200 == front.post("/api/generate", {"model": SAYS, "prompt": "x", "options": SHORT, "stream": False})[0]
        _, listed = asked(f"{front.rest.url}/api/tags", None, "GET")
        assert {f"{SAYS}:latest", EMBEDS} == {row["name"] for row in listed["models"]}


@pytest.mark.spec("NIM-16")
def test_a_worker_is_this_users_alone(here: Organd) -> None:
    """Its socket lies in a private folder, and answers nobody who lacks the key with the lease's token."""
    assert 200 == here.post("/api/generate", {"model": SAYS})[0]
    [socket] = [path for path in here.runtime.glob(f"{os.getpid()}-*.sock") if path.is_socket()][-1:]
    assert 0o700 == here.runtime.stat().st_mode & 0o777

    async def main() -> int:
        import aiohttp

        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket))) as session,
            session.post("http://worker/v1/completions", json={"prompt": "x", "max_tokens": 1}) as answer,
        ):
            return answer.status

    assert 401 == here.run(main)


@contextmanager
def serving(handle: Callable[[StreamReader, StreamWriter], Awaitable[None]]) -> Iterator[str]:
    """A server of raw bytes, in a loop of its own; yields its address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(asyncio.start_server(handle, "127.0.0.1", 0), loop).result(10)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        asyncio.run_coroutine_threadsafe(_ended(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _ended(server: asyncio.Server) -> None:
    """End a server with everything that it still does."""
    server.close()
    answering = asyncio.all_tasks() - {asyncio.current_task()}
    for task in answering:
        task.cancel()
    await asyncio.gather(*answering, return_exceptions=True)


@pytest.mark.spec("NIM-16")
def test_an_upstream_whose_list_comes_in_pieces_is_read_to_its_end() -> None:
    """A list that no socket holds at once, 3 MB, is read piece by piece and whole."""
    rows = [{"name": f"far-{n:05}", "digest": "0" * 64} for n in range(30_000)]
    raw = json.dumps({"models": rows}).encode()

    async def large(reader: StreamReader, writer: StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(raw) + raw)
        await writer.drain()
        writer.close()

    with serving(large) as url:

        async def listed() -> list[dict[str, Any]]:
            upstream = Upstream(url)
            try:
                return await upstream.listed("/api/tags")
            finally:
                await upstream.close()

        assert rows == asyncio.run(listed())


@pytest.mark.spec("NIM-16", "X-12")
def test_an_upstream_that_lists_without_end_is_named() -> None:
    """More bytes than a list may have are an UpstreamFault that says so, and nothing more is read."""

    async def endless(reader: StreamReader, writer: StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(b" " * 1_000_000)
                await writer.drain()

    with serving(endless) as url:

        async def listed() -> None:
            upstream = Upstream(url)
            with pytest.raises(UpstreamFault, match=f"more than {MAX_LIST_BYTES} bytes"):
                await upstream.listed("/api/tags")
            await upstream.close()

        asyncio.run(listed())


class Endless(Service):
    """Never stops saying something, as a model with a long context may, and notes when nobody wants any more."""

    over = threading.Event()

    async def say(self, post: GeneratePost | ChatPost) -> AsyncGenerator[dict[str, Any]]:
        try:
            while True:
                yield {"response": post.model * 100_000}
                await asyncio.sleep(0)
        finally:
            self.over.set()


def impatient(here: Organd, service: Service, upstream: str, deed: Callable[[int], None]) -> None:
    """Do something to a server that waits a fifth of a second for whoever asks it."""
    rest = Rest(service, Upstream(upstream) if upstream else None, patience_s=0.2)
    here.run(lambda: rest.open(0))
    try:
        deed(int(rest.url.rsplit(":", 1)[1]))
    finally:
        here.run(rest.close)


def post_of(body: bytes, length: int, *headers: bytes) -> bytes:
    """The bytes of a post that says it is so long."""
    lines = (b"POST /api/generate HTTP/1.1", b"Host: 127.0.0.1", b"Content-Length: %d" % length, *headers)
    return b"\r\n".join((*lines, b"", body))


@pytest.mark.spec("NIM-17", "X-12")
@pytest.mark.parametrize("body", [b"abc", gzip.compress(b'{"model": "tiny"}', mtime=0)])
@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "nonsense"])
def test_a_packed_body_is_a_400_in_the_shape(here: Organd, coding: str, body: bytes) -> None:
    """Nothing is unpacked, so neither what is corrupt nor what would become a gigabyte does any harm."""
    status, answer = here.post("/api/generate", body, **{"Content-Encoding": coding})
    assert (400, ["error"]) == (status, list(answer))
    assert f"the body is packed ({coding})" in answer["error"]


@pytest.mark.spec("NIM-17", "X-12")
def test_a_body_that_does_not_come_is_not_waited_for_without_end(here: Organd) -> None:
    """Fewer bytes than were announced are a 408 in the shape after a while, and the connection is closed."""

    def deed(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), 30) as client:
            client.sendall(post_of(b"{}", 100))
            answer = b"".join(iter(lambda: client.recv(4_096), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b" 408 " in head.splitlines()[0]
        assert "did not come" in json.loads(body)["error"]

    impatient(here, here.rest.service, "", deed)


@pytest.mark.spec("NIM-16", "X-12")
def test_a_client_that_reads_nothing_holds_no_model(here: Organd) -> None:
    """An answer that nobody takes is broken off after a while."""
    service = Endless(here.supervisor, here.models, here.world)

    def deed(port: int) -> None:
        body = b'{"model": "tiny", "prompt": "x"}'
        with socket.create_connection(("127.0.0.1", port), 30) as client:
            client.sendall(post_of(body, len(body)))
            assert service.over.wait(30)

    impatient(here, service, "", deed)


@pytest.mark.spec("NIM-16", "X-12")
def test_a_client_that_reads_nothing_holds_no_model_of_the_upstream(here: Organd) -> None:
    """What is passed on and taken by nobody is broken off after a while, there too."""
    over = threading.Event()

    async def endless(reader: StreamReader, writer: StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                writer.write(b" " * 1_000_000)
                await writer.drain()
        except ConnectionError:
            over.set()

    def deed(port: int) -> None:
        body = b'{"model": "elsewhere", "prompt": "x"}'
        with socket.create_connection(("127.0.0.1", port), 30) as client:
            client.sendall(post_of(body, len(body)))
            assert over.wait(30)

    with serving(endless) as url:
        impatient(here, here.rest.service, url, deed)
