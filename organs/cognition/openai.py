"""A speaker of the OpenAI chat protocol: llama.cpp's server, vLLM, or whoever else offers it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from organs.cognition.port import Spoken, Turn
from shared.constant import constant
from shared.errors import Fault, Unreachable
from shared.ollama import BadAnswer, Busy, ModelFailed, ModelMissing, NotAccepted

if TYPE_CHECKING:
    import aiohttp

MAX_COMPLETION_BYTES = constant(1_000_000, "bytes", "X-12")
MAX_TOKENS = constant(1_024, "tokens", "NIM-17")
SENTENCE_CHARS = constant(300, "characters", "X-12")

_OK, _MISSING, _TOO_MANY, _SERVER = 200, 404, 429, 500
_UNAVAILABLE = 503


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    model: str = ""


class OpenAISpeaker:
    """Asks one model of one server, at `url`, which ends where `/chat/completions` begins."""

    engine = "openai"

    def __init__(self, url: str, model: str, key: str = "") -> None:
        self.url, self.model, self.key = url.rstrip("/"), model, key
        self._session: aiohttp.ClientSession | None = None

    async def say(self, turns: Sequence[Turn], schema: dict[str, object] | None) -> Spoken:
        messages = [{"role": role, "content": content} for role, content in turns]
        body: dict[str, Any] = {"model": self.model, "messages": messages, "temperature": 0, "max_tokens": MAX_TOKENS}
        if schema is not None:
            form = {"name": "answer", "strict": True, "schema": schema}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        status, raw = await self._exchange(msgspec.json.encode(body))
        if status != _OK:
            raise self._fault(status, raw)
        try:
            said = msgspec.json.decode(raw, type=_Completion)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadAnswer(f"{self.url} sent something that is no completion: {error}") from None
        if not said.choices:
            raise BadAnswer(f"{self.url} sent a completion without a choice")
        first = said.choices[0]
        return Spoken(first.message.content or "", first.finish_reason == "stop", said.model or self.model, 0)

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _exchange(self, body: bytes) -> tuple[int, bytes]:
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        where = f"{self.url}/chat/completions"
        try:
            async with self._session.post(where, data=body, headers=headers, allow_redirects=False) as response:
                raw = bytearray()
                async for chunk in response.content.iter_any():
                    raw += chunk
                    if len(raw) > MAX_COMPLETION_BYTES:
                        raise BadAnswer(f"{self.url} sends more than {MAX_COMPLETION_BYTES} bytes")
                return response.status, bytes(raw)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            found = str(error) or type(error).__name__
            raise Unreachable(f"{self.url} cannot be asked ({found}); is a model server running there?") from error

    def _fault(self, status: int, raw: bytes) -> Fault:
        """Return the Fault that a status stands for, in the server's own words."""
        sentence = f"{self.url} answered {status}: {raw[:SENTENCE_CHARS].decode(errors='replace')}"
        if status == _MISSING:
            return ModelMissing(sentence)
        if status in (_TOO_MANY, _UNAVAILABLE):
            return Busy(sentence)
        return ModelFailed(sentence) if status >= _SERVER else NotAccepted(sentence)
