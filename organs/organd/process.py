"""The real engine: a process for each loaded model, and what is said to it over its private socket.

Killing the process is how memory is freed. llama.cpp ignores a JSON schema that it cannot compile and answers without
it, so each schema is first tried with a token that no JSON begins with.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec
import psutil

from organs.organd.ports import (
    FENCE_S,
    BadRequest,
    BrokenFormat,
    Completion,
    Device,
    Held,
    Lease,
    LoadFailed,
    ModelFault,
    Piece,
    Vectors,
    WorkerDied,
)
from shared.constant import constant
from shared.world import World, within

if TYPE_CHECKING:
    import aiohttp

LOAD_S = constant(120.0, "s", "NIM-16")
MAX_CONTEXT = constant(4_096, "tokens", "NIM-16")  # as Ollama, where a model can hold more
THREADS = constant(4, "threads", "NIM-16")
SCHEMAS_TRIED = constant(64, "schemas", "X-12")
LAST_WORDS = constant(2_000, "bytes", "X-12")
NO_JSON = ","  #: no JSON text begins with it
FAVOUR = 1_000  #: bias that makes a token certain wherever it is allowed
_PROGRAM = Path(__file__).with_name("worker.py")
_COMPLETIONS = "/v1/completions"
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "PYTHONPATH", "TMPDIR", "VIRTUAL_ENV")
_OK, _BAD_REQUEST, _SERVER = 200, 400, 500


class Processes:
    """Starts workers; their sockets lie in one private folder."""

    def __init__(self, sockets: Path, world: World) -> None:
        self.sockets, self.world = sockets, world
        self._started = 0
        _sweep(sockets)

    async def start(self, model: Held, device: Device, lease: Lease) -> Process:
        self._started += 1
        socket = self.sockets / f"{os.getpid()}-{self.world.boot[:4]}-{self._started}.sock"  # short: a path has an end
        key = f"{lease.token}-{self.world.entropy(16).hex()}"
        context = min(model.facts.context, MAX_CONTEXT)
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            str(_PROGRAM),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=lease.descriptors,
            env=_environment(device),
        )
        process = Process(child, socket, key, context)
        asked = {
            "parent": os.getpid(),
            "path": str(model.path),
            "socket": str(socket),
            "key": key,
            "context": context,
            "threads": max(1, min(THREADS, (os.cpu_count() or 1) // 2)),
            "device": device.kind,
            "embeds": model.facts.embeds,
            "verbosity": -1,
        }
        if lease.until_s is not None:
            asked |= {"until_s": lease.until_s + FENCE_S, "descriptors": lease.descriptors}
            lease.renewed(process.extend)
        async with contextlib.AsyncExitStack() as undo:
            undo.push_async_callback(process.end)
            await process.begin(asked)
            undo.pop_all()
        return process


class Process:
    """One worker process. Owns its child, its socket and its connections."""

    def __init__(self, child: asyncio.subprocess.Process, socket: Path, key: str, context: int) -> None:
        self.context = context
        self._child, self._socket, self._key = child, socket, key
        self._session: aiohttp.ClientSession | None = None
        self._over = False
        self._words = bytearray()
        self._listening = asyncio.get_running_loop().create_task(self._listen())
        self._tried: OrderedDict[bytes, None] = OrderedDict()

    @property
    def pid(self) -> int:
        return self._child.pid

    def memory_bytes(self) -> int:
        try:
            return int(psutil.Process(self.pid).memory_info().rss)
        except psutil.NoSuchProcess:
            return 0

    async def begin(self, asked: dict[str, Any]) -> None:
        """Tell the process what to load, and wait until it has. Raises LoadFailed."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        try:
            self._child.stdin.write(json.dumps(asked).encode() + b"\n")
            await self._child.stdin.drain()
            line = await within(LOAD_S, self._child.stdout.readline())
        except TimeoutError:
            raise LoadFailed(f"it was not loaded within {LOAD_S:g} s") from None
        except ConnectionError as error:
            raise LoadFailed(f"its process ended at once ({error})") from error
        said: dict[str, str] = json.loads(line) if line else {}
        if "ready" not in said:
            reason = said.get("error") or f"its process ended ({_ending(await self._child.wait())})"
            raise LoadFailed(f"{reason}{self._last_words()}")

    def extend(self, until_s: float) -> None:
        """Tell its guard until when its lease lasts now."""
        assert self._child.stdin is not None
        if not (self._over or self._child.stdin.is_closing()):
            self._child.stdin.write(f"{until_s + FENCE_S}\n".encode())

    async def complete(self, asked: Completion) -> AsyncGenerator[Piece]:
        if asked.schema is not None:
            await self._try(asked.schema)
        prompt = asked.prompt if asked.prompt is not None else await self._written(asked.messages)
        body: dict[str, Any] = {**asked.options, "prompt": prompt}
        if asked.schema is not None:
            body["json_schema"] = _strict(asked.schema)
        whole = list[str]()
        async for text, reason, event in self._pieces(body, piecewise=asked.piecewise):
            whole.append(text)
            if reason:
                if asked.schema is not None and reason == "stop":
                    _check_json("".join(whole))
                yield _last(text, reason, event)
                return
            yield Piece(text)
        raise WorkerDied(f"the model's process broke off its answer{self._last_words()}")

    async def embed(self, texts: Sequence[str], *, truncate: bool) -> Vectors:
        given = [await self._cut(text) for text in texts] if truncate else list(texts)
        answer = await self._post("/v1/embeddings", {"input": given})
        vectors = [[float(number) for number in row["embedding"]] for row in answer["data"]]
        return Vectors(vectors, int(answer["usage"]["prompt_tokens"]))

    async def ended(self) -> str:
        code = await self._child.wait()
        return f"its process ended ({_ending(code)}){self._last_words()}"

    async def end(self) -> None:
        self._over = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        if self._child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(
                    self._child.pid, signal.SIGKILL
                )  # Popen.kill polls, and takes the status from asyncio's watcher
        await self._child.wait()
        if self._child.stdin is not None:
            self._child.stdin.close()
        await self._listening
        self._socket.unlink(missing_ok=True)

    async def _try(self, schema: Mapping[str, Any]) -> None:
        """Refuse a schema that llama.cpp does not hold to: with a true one no answer can begin with a comma."""
        canonical = msgspec.json.encode(schema, order="deterministic")
        if canonical in self._tried:
            self._tried.move_to_end(canonical)
            return
        probe = {"prompt": "{", "max_tokens": 1, "temperature": 0, "logit_bias": [[NO_JSON, FAVOUR]]}
        answer = await self._post(_COMPLETIONS, {**probe, "json_schema": _strict(schema)})
        if answer["choices"][0]["text"].startswith(NO_JSON):
            raise BadRequest("the format is no JSON schema that an answer can be held to")
        self._tried[canonical] = None
        while len(self._tried) > SCHEMAS_TRIED:
            self._tried.popitem(last=False)

    async def _cut(self, text: str) -> str:
        """Return the beginning of a text that the model holds, all of it where it fits."""
        room = self.context - await self._special()
        tokens = (await self._post("/tokenize", {"content": text, "add_special": False}))["tokens"]
        if len(tokens) <= room:
            return text
        return cast("str", (await self._post("/detokenize", {"tokens": tokens[:room]}))["content"])

    async def _special(self) -> int:
        """Return how many tokens the model adds to every text."""
        return len((await self._post("/tokenize", {"content": "", "add_special": True}))["tokens"])

    async def _written(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Return a conversation as a prompt, by the model's own template. Raises BadRequest."""
        return cast("str", (await self._post("/apply-template", {"messages": list(messages)}))["prompt"])

    async def _pieces(
        self, body: dict[str, Any], *, piecewise: bool
    ) -> AsyncGenerator[tuple[str, str, dict[str, Any]]]:
        """Yield each text, the reason with the last one, and what came with it."""
        if not piecewise:
            yield _read(await self._post(_COMPLETIONS, body))
            return
        async for event in self._events({**body, "stream": True, "stream_options": {"include_usage": True}}):
            yield _read(event)

    async def _events(self, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any]]:
        """Yield the events of a streamed answer."""
        async with self._asking(_COMPLETIONS, body) as response:
            async for line in response.content:
                if line.startswith(b"data: {"):
                    event: dict[str, Any] = msgspec.json.decode(line[6:])
                    _raise_error(event, _SERVER)
                    yield event
                elif line.startswith(b"error: {"):
                    _raise_error({"error": msgspec.json.decode(line[7:])}, _SERVER)

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        async with self._asking(path, body) as response:
            return cast("dict[str, Any]", msgspec.json.decode(await response.read()))

    @contextlib.asynccontextmanager
    async def _asking(self, path: str, body: dict[str, Any]) -> AsyncGenerator[aiohttp.ClientResponse]:
        """Open a request; its own errors and the process's end are told apart. Raises BadRequest, WorkerDied."""
        import aiohttp

        try:
            async with self._opened().post(f"http://worker{path}", data=msgspec.json.encode(body)) as response:
                if response.status != _OK:
                    _raise_error(msgspec.json.decode(await response.read()), response.status)
                    raise ModelFault(f"the model's process answered with status {response.status}")
                yield response
        except (aiohttp.ClientError, OSError, msgspec.DecodeError) as error:
            found = str(error) or type(error).__name__
            raise WorkerDied(f"the model's process ended while it was asked ({found}){self._last_words()}") from error

    def _opened(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._over:
            raise WorkerDied("the model's process was ended")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # a kept connection may be closed from there just as it is used again, which looks like a death
                connector=aiohttp.UnixConnector(str(self._socket), limit=0, force_close=True),
                timeout=aiohttp.ClientTimeout(total=None),
                headers={"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"},
                read_bufsize=1 << 20,
            )
        return self._session

    async def _listen(self) -> None:
        """Keep the last words of the process."""
        assert self._child.stderr is not None
        while chunk := await self._child.stderr.read(4_096):
            self._words += chunk
            del self._words[:-LAST_WORDS]

    def _last_words(self) -> str:
        lines = self._words.decode(errors="replace").strip().splitlines()
        return f": {lines[-1][:200]}" if lines else ""


def _strict(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema whose answers hold no white space of the model's choice."""
    return {**schema, "x-guidance": {"whitespace_flexible": False}}


def _check_json(text: str) -> None:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BrokenFormat(f"the model ended, and what it said is no JSON ({error})") from None


def _read(event: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """Return the text of an answer or of a piece of it, the reason of its end or nothing, and itself."""
    choice: dict[str, Any] = event["choices"][0]
    return choice["text"], choice["finish_reason"] or "", event


def _last(text: str, reason: str, event: Mapping[str, Any]) -> Piece:
    usage, timings = event["usage"], event["timings"]
    return Piece(
        text,
        reason,
        int(usage["prompt_tokens"]),
        int(usage["completion_tokens"]),
        round(timings["prompt_ms"] * 1e6),
        round(timings["predicted_ms"] * 1e6),
    )


def _raise_error(answer: Mapping[str, Any], status: int) -> None:
    """Raise what an answer says went wrong, if anything."""
    error = answer.get("error")
    if error is None:
        return
    code, sentence = error.get("code", status), error.get("message", "no reason")
    too_long = "too large to process" in sentence  # llama.cpp calls it an error of its own
    raise BadRequest(sentence) if code == _BAD_REQUEST or too_long else ModelFault(sentence)


def _ending(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"status {code}"


def _environment(device: Device) -> dict[str, str]:
    """Return what a worker's environment is: nothing of ours but where its libraries lie, and which card it sees."""
    kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    return {**kept, "CUDA_VISIBLE_DEVICES": device.id if device.kind == "gpu" else ""}


def _sweep(folder: Path) -> None:
    """Remove the sockets of supervisors that are gone."""
    for socket in folder.glob("*.sock"):
        pid = socket.name.partition("-")[0]
        if not (pid.isdigit() and psutil.pid_exists(int(pid))):
            socket.unlink(missing_ok=True)
