"""What the process of a bench runs: one model of one family, asked in lists of questions.

A question and an answer are texts as the family writes them: `boundary` is given prompts and says calls, `toxicity` is
given texts and says scores in millionths, `language` is given what `organs/evaluator/weighing.py` describes.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from blake3 import blake3

Answering = Callable[[list[str]], Awaitable[list[str]]]


def load(options: dict[str, Any], model: bytes) -> Callable[[dict[str, Any], bytes], tuple[dict[str, Any], bytes]]:
    """Return what answers lists of questions. Whatever a family raises says why this is no model of it."""
    loop = asyncio.new_event_loop()
    answering = FAMILIES[options["family"]](model)

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

    scorer = read_model(model, blake3(model).hexdigest())

    async def answer(questions: list[str]) -> list[str]:
        return [str(score) for score in scorer.scores(questions)]

    return answer


FAMILIES: dict[str, Callable[[bytes], Answering]] = {"boundary": _boundary, "toxicity": _toxicity}
