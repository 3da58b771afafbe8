"""A speaker of the OpenAI chat protocol: llama.cpp's server, vLLM, or whoever else offers it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from organs.cognition.port import Spoken, Turn
from shared.constant import constant
from shared.ollama import BadAnswer
from shared.openai import OpenAIServer

MAX_COMPLETION_BYTES = constant(1_000_000, "bytes", "X-12")
MAX_TOKENS = constant(1_024, "tokens", "NIM-17")

_JSON = {"Content-Type": "application/json"}


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    model: str = ""


class OpenAISpeaker:
    """Asks one model of one server."""

    engine = "openai"

    def __init__(self, server: OpenAIServer, model: str) -> None:
        self.server, self.model = server, model

    async def say(self, turns: Sequence[Turn], schema: dict[str, object] | None) -> Spoken:
        messages = [{"role": role, "content": content} for role, content in turns]
        body: dict[str, Any] = {"model": self.model, "messages": messages, "temperature": 0, "max_tokens": MAX_TOKENS}
        if schema is not None:
            form = {"name": "answer", "strict": True, "schema": schema}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        raw = await self.server.post("/chat/completions", msgspec.json.encode(body), MAX_COMPLETION_BYTES, _JSON)
        where = self.server.url
        try:
            said = msgspec.json.decode(raw, type=_Completion)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadAnswer(f"{where} sent something that is no completion: {error}") from None
        if not said.choices:
            raise BadAnswer(f"{where} sent a completion without a choice")
        first = said.choices[0]
        return Spoken(first.message.content or "", first.finish_reason == "stop", said.model or self.model, 0)

    async def close(self) -> None:
        await self.server.close()
