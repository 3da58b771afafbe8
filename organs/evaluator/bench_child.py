"""What the process of a bench runs: one model of one family, asked in lists of questions.

A question and an answer are texts as the family writes them: `boundary` is given prompts and says calls, `toxicity` is
given texts and says scores in millionths, `language` is given a context and a text and says how likely that is there.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from blake3 import blake3

CONTEXT_TOKENS = 2_048  #: of a language model: a context and a text

Answering = Callable[[list[str]], Awaitable[list[str]]]


def load(options: dict[str, Any], model: bytes) -> Callable[[dict[str, Any], bytes], tuple[dict[str, Any], bytes]]:
    """Return what answers lists of questions. Whatever a family raises says why this is no model of it."""
    loop = asyncio.new_event_loop()
    family = options["family"]
    answering = DEFAULTS[family]() if options["default"] else FAMILIES[family](model)

    def ask(_: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        questions = msgspec.json.decode(data, type=list[str])
        return {}, msgspec.json.encode(loop.run_until_complete(answering(questions)))

    return ask


def _boundary(model: bytes) -> Answering:
    from shared.boundary.llama import serve
    from shared.boundary.port import BoundaryFailed
    from shared.boundary.shelf import described
    from shared.boundary.task import TASK

    described(model, TASK)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        path.write_bytes(model)
        served = serve(path, TASK.schema, TASK.longest_call)

    async def answer(questions: list[str]) -> list[str]:
        said: list[str] = []
        for question in questions:
            try:
                said.append(await served.complete(question, 1))
            except BoundaryFailed as failed:
                said.append(f"no call: {failed}")
        return said

    return answer


def _toxicity(model: bytes) -> Answering:
    from shared.toxicity.learned import read_model

    return _scored(read_model(model, blake3(model).hexdigest()).scores)


def _toxicity_by_default() -> Answering:
    from cells.toxicity_cell.scorer import default_scorer

    return _scored(default_scorer().scores)


def _scored(scores: Callable[[list[str]], list[int]]) -> Answering:
    async def answer(questions: list[str]) -> list[str]:
        return [str(score) for score in scores(questions)]

    return answer


def _answers(model: bytes) -> Answering:
    recorded = {line["question"]: line["answer"] for line in map(msgspec.json.decode, model.splitlines())}
    if not recorded:
        raise ValueError("there is no answer in it")

    async def answer(questions: list[str]) -> list[str]:
        return [recorded[question] for question in questions]

    return answer


def _language(model: bytes) -> Answering:
    engine: Any = importlib.import_module("xllamacpp")
    given = engine.CommonParams()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        path.write_bytes(model)
        given.model.path = str(path)
        given.n_ctx, given.n_parallel, given.n_gpu_layers = CONTEXT_TOKENS, 1, 0
        given.cpuparams.n_threads = given.cpuparams_batch.n_threads = 1
        given.verbosity, given.warmup, given.offline = -1, False, True
        server = engine.Server(given)
        server.handle_completions({"prompt": "\n", "max_tokens": 1})

    async def answer(questions: list[str]) -> list[str]:
        return [_weighed(server, msgspec.json.decode(question)) for question in questions]

    return answer


def _weighed(server: Any, asked: dict[str, str]) -> str:  # noqa: ANN401 - a package without types
    """Return how likely a text is after its context: a grammar lets the model write nothing else.

    The log-probabilities are those before the grammar: what the model would have said unbound. Where llama.cpp cannot
    end a grammar that has come to its end, it may write on, and what follows the text is cut off.
    """
    only = f"root ::= {json.dumps(asked['text'], ensure_ascii=False)}"
    found = _tokens(server, asked, only) or _tokens(server, asked, rf"{only} [^\x00]*")
    if found is None:
        return "not weighed: the model cannot write it"
    total = round(sum(token["logprob"] for token in found) * 1e6)
    return msgspec.json.encode({"micro_nats": min(total, 0), "tokens": len(found)}).decode()


def _tokens(server: Any, asked: dict[str, str], grammar: str) -> list[Any] | None:  # noqa: ANN401 - without types
    """Return the tokens that are a text, byte for byte; None where what was written is another one."""
    wanted = asked["text"].encode()
    said = server.handle_completions(
        {
            "prompt": asked["context"] or "\n",
            "max_tokens": len(wanted) + 1,
            "temperature": 0.0,
            "n_probs": 1,
            "post_sampling_probs": False,
            "cache_prompt": False,
            "grammar": grammar,
        }
    )
    try:
        tokens = said["choices"][0]["logprobs"]["content"]
    except (KeyError, IndexError, TypeError):
        return None
    written, found = b"", list[Any]()
    for token in tokens:
        if written == wanted:
            break
        written += bytes(token["bytes"])
        found.append(token)
    return found if written == wanted else None


FAMILIES: dict[str, Callable[[bytes], Answering]] = {
    "boundary": _boundary,
    "toxicity": _toxicity,
    "language": _language,
    "answers": _answers,
}
DEFAULTS: dict[str, Callable[[], Answering]] = {"toxicity": _toxicity_by_default}
