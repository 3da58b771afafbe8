"""A boundary model served by llama.cpp inside this process, held to the task's grammar."""

from __future__ import annotations

import asyncio
import importlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from shared.boundary.port import BoundaryFailed, BoundaryModel
from shared.boundary.tokens import CONTEXT_TOKENS
from shared.constant import constant

ANSWER_S = constant(2.0, "s", "NIM-14")  # a call takes milliseconds; longer means that the engine hangs
ANSWER_LOOKS = constant(20, "looks", "NIM-14")  # within that time: a process that stood still has missed one of them
WARMER = constant(0.7, "temperature", "NIM-14")  # per attempt after the first, which takes the likeliest call
QUIET = -1  #: llama.cpp's own log
#: Asked of every server as it starts: one that is let go before it has begun to listen to itself never ends.
FIRST: dict[str, Any] = {"prompt": "\n", "max_tokens": 1, "temperature": 0.0}


def serve(path: Path, schema: dict[str, Any], longest: int) -> BoundaryModel:
    """Load a GGUF file and return it as a model that says nothing but what the JSON Schema allows.

    `longest` is how many bytes an answer may have: no token is shorter than a byte, so whoever needs more tokens has
    said no call. BoundaryFailed where llama.cpp refuses the file.
    """
    return LlamaModel(path, schema, longest)


class LlamaModel:
    """One llama.cpp server on one thread. What is asked waits its turn, and for what nobody waits for any more."""

    def __init__(self, path: Path, schema: dict[str, Any], longest: int) -> None:
        self._question = _question(schema, longest)
        self._turn = asyncio.Lock()
        self._server: Any = _started(path)
        self._thread = ThreadPoolExecutor(1, "llama")
        self._open = True

    async def complete(self, prompt: str, attempt: int) -> str:
        async with self._turn:
            if not self._open:
                raise BoundaryFailed("not_loaded", "the model was closed")
            asked = self._question | {"prompt": prompt} | drawing(attempt)
            answering = asyncio.get_running_loop().run_in_executor(self._thread, self._answer, asked)
            try:
                if not await _is_done(answering):
                    raise BoundaryFailed("engine", f"no answer within {ANSWER_S} s")
                answer = answering.result()
            except (RuntimeError, ValueError, OSError) as error:
                raise BoundaryFailed("engine", f"{type(error).__name__}: {error}") from error
            finally:
                answering.cancel()
        return _text(answer)

    async def close(self) -> None:
        async with self._turn:
            if self._open:
                self._open = False
                freeing = asyncio.get_running_loop().run_in_executor(self._thread, self._free)
                self._thread.shutdown(wait=False)  # it ends with that
                await _is_done(freeing)

    def _answer(self, asked: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
        return self._server.handle_completions(asked)

    def _free(self) -> None:
        self._server = None  # the last reference: the server stops, and its memory is freed, as it goes


async def _is_done(work: asyncio.Future[Any]) -> bool:
    """Say whether something is done within ANSWER_S, in which this process did not stand still."""
    for _ in range(ANSWER_LOOKS):
        done, _ = await asyncio.wait((work,), timeout=ANSWER_S / ANSWER_LOOKS)
        if done:
            return True
    return False


def _question(schema: dict[str, Any], longest: int) -> dict[str, Any]:
    return {
        "json_schema": schema | {"x-guidance": {"whitespace_flexible": False}},
        "max_tokens": longest + 1,
        "cache_prompt": False,
    }


def drawing(attempt: int) -> dict[str, Any]:
    """Return how an attempt chooses its words: the first greedily, later ones drawn, each in a way of its own.

    What failed greedily would fail greedily again. The seed is the attempt's number, so a repeat draws the same.
    """
    if attempt == 1:
        return {"temperature": 0.0}
    return {"temperature": WARMER * (attempt - 1), "seed": attempt, "top_k": 0, "top_p": 1.0, "min_p": 0.0}


def _started(path: Path) -> Any:  # noqa: ANN401 - a package without types
    engine: Any = importlib.import_module("xllamacpp")
    given = engine.CommonParams()
    given.model.path = str(path)
    given.n_ctx, given.n_parallel, given.n_gpu_layers = CONTEXT_TOKENS, 1, 0
    given.cpuparams.n_threads = given.cpuparams_batch.n_threads = 1
    given.verbosity, given.warmup, given.offline = QUIET, False, True
    try:
        server = engine.Server(given)
        server.handle_completions(FIRST)
        return server
    except (RuntimeError, ValueError, OSError) as error:
        raise BoundaryFailed("engine", f"llama.cpp does not load {path.name}: {error}") from error


def _text(answer: Any) -> str:  # noqa: ANN401 - JSON
    """Return the text of a whole answer; BoundaryFailed where it was cut short or is an error."""
    try:
        choice: Any = answer["choices"][0]
        text, reason = str(choice["text"]), str(choice["finish_reason"])
    except (KeyError, IndexError, TypeError):
        raise BoundaryFailed("engine", str(answer)[:300]) from None
    if reason != "stop":
        raise BoundaryFailed("length", f"stopped by {reason} after {text!r}")
    return text
