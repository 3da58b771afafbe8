"""A client of model servers that speak Ollama's REST protocol: the organ `organd`, or a real Ollama.

    async with OllamaClient("http://127.0.0.1:11434") as models:
        said = await models.generate("mind:small", "Is it raining?", options={"temperature": 0})

Every call ends in a typed answer or in one of the Faults below; an answer that was cut short says so in `done_reason`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NotRequired, Self, TypedDict, TypeVar

import msgspec

from shared.codec import MAX_REASON_CHARS
from shared.constant import constant
from shared.errors import Exit, Fault, Unreachable
from shared.world import within

if TYPE_CHECKING:
    from types import TracebackType

    import aiohttp

CALL_S = constant(120.0, "s", "NIM-16")  # a call that loads a model first may take as long
MODEL_ANSWER_BYTES = constant(64_000_000, "bytes", "X-12")

Format = Literal["json"] | Mapping[str, Any]  #: any JSON, or what a JSON schema describes
KeepAlive = str | float  #: "5m", "1.5h" or seconds; 0 unloads at once, a negative one never
T = TypeVar("T")

_OK, _MISSING, _TOO_MANY, _SERVER_S = 200, 404, 429, 500
_UNAVAILABLE = 503


class ModelMissing(Fault):
    """The server holds no model of this name; the sentence is its own."""

    exit = Exit.CONFIG


class Busy(Fault):
    """The server's queue is full, or no memory is free for the model now."""

    retry = True
    exit = Exit.UNREACHABLE


class ModelFailed(Fault):
    """The model's process ended, or the server failed otherwise; the same call may succeed later."""

    retry = True
    exit = Exit.UNREACHABLE


class NotAccepted(Fault):
    """The server does not accept the request as it is: too long a prompt, a format it cannot hold to, an option."""

    exit = Exit.USAGE


class BadAnswer(Fault):
    """What answered is no model server: its answer has another shape, or is larger than anybody needs."""


class ChatMessage(TypedDict):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    images: NotRequired[list[bytes]]  #: PNG or JPEG pictures, for a model that sees; they travel as base64


@dataclass(frozen=True, slots=True)
class Generated:
    """What a model said. `done_reason` is `stop`, or `length` where it was cut short; then the text is no answer."""

    text: str
    done_reason: str
    prompt_tokens: int
    tokens: int
    took_ms: int  #: by the server's clock, loading included
    compute_us: int = 0  #: how long the model computed, by the server's measure: what the answer cost

    @property
    def whole(self) -> bool:
        """Whether the model ended by itself."""
        return self.done_reason == "stop"


class RunningModel(msgspec.Struct, frozen=True):
    """A loaded model: how much memory it takes, and when it leaves if nobody asks it."""

    name: str
    size: int  #: bytes
    size_vram: int  #: bytes of them on a card
    expires_at: str
    context_length: int = 0


class OllamaClient:
    """Asks one server; keeps its connections until `close`. Belongs to the event loop of its first call."""

    def __init__(self, url: str, *, timeout_s: float = CALL_S) -> None:
        self.url, self.timeout_s = url.rstrip("/"), timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection; a later call opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def generate(  # noqa: PLR0913 - a request has as many facts as it has
        self,
        model: str,
        prompt: str,
        *,
        format: Format | None = None,  # noqa: A002 - Ollama's name for it
        options: Mapping[str, Any] | None = None,
        keep_alive: KeepAlive | None = None,
        timeout_s: float | None = None,
    ) -> Generated:
        """Return what a model says to a prompt; an empty prompt loads it (or unloads it, where `keep_alive` is 0).

        Raises Unreachable, ModelMissing, Busy, ModelFailed, NotAccepted, BadAnswer.
        """
        body = {"model": model, "prompt": prompt, "format": format, "options": options, "keep_alive": keep_alive}
        said = await self._ask("/api/generate", body, _Generate, timeout_s)
        return _generated(said, said.response)

    async def chat(  # noqa: PLR0913 - a request has as many facts as it has
        self,
        model: str,
        messages: Sequence[ChatMessage],
        *,
        format: Format | None = None,  # noqa: A002 - Ollama's name for it
        options: Mapping[str, Any] | None = None,
        keep_alive: KeepAlive | None = None,
        timeout_s: float | None = None,
    ) -> Generated:
        """Return a model's next turn in a conversation. Raises as `generate`."""
        body = {"model": model, "messages": messages, "format": format, "options": options, "keep_alive": keep_alive}
        said = await self._ask("/api/chat", body, _Chat, timeout_s)
        return _generated(said, said.message.content)

    async def embed(
        self,
        model: str,
        texts: Sequence[str],
        *,
        keep_alive: KeepAlive | None = None,
        timeout_s: float | None = None,
    ) -> list[list[float]]:
        """Return one vector for each text, in their order. Raises as `generate`."""
        body = {"model": model, "input": list(texts), "keep_alive": keep_alive}
        said = await self._ask("/api/embed", body, _Embed, timeout_s)
        if len(said.embeddings) != len(texts):
            raise BadAnswer(f"{self.url} sent {len(said.embeddings)} vectors for {len(texts)} texts")
        return said.embeddings

    async def capabilities(self, model: str, *, timeout_s: float | None = None) -> list[str]:
        """Return what the server says a model can do: `completion`, `embedding`, `vision`; empty where it says nothing.

        Raises as `generate`.
        """
        return (await self._ask("/api/show", {"model": model}, _Shown, timeout_s)).capabilities

    async def models(self, *, timeout_s: float | None = None) -> list[str]:
        """Return the names of the models that the server holds."""
        said = await self._ask("/api/tags", None, _Tags, timeout_s)
        return [model.name for model in said.models]

    async def running(self, *, timeout_s: float | None = None) -> list[RunningModel]:
        """Return the models that the server has loaded."""
        return (await self._ask("/api/ps", None, _Running, timeout_s)).models

    async def version(self, *, timeout_s: float | None = None) -> str:
        """Return the server's version; whoever answers this is a model server."""
        return (await self._ask("/api/version", None, _Version, timeout_s)).version

    async def _ask(self, path: str, body: dict[str, Any] | None, shape: type[T], timeout_s: float | None) -> T:
        """Return the answer to a POST with a body, or to a GET; what was left out of the body is not sent."""
        deadline_s = self.timeout_s if timeout_s is None else timeout_s
        try:
            status, raw = await within(deadline_s, self._exchange(path, body))
        except TimeoutError:
            raise Unreachable(f"{self.url}{path} gave no answer in {deadline_s:g} s") from None
        if status != _OK:
            raise _fault(status, f"{self.url}{path}", raw)
        try:
            return msgspec.json.decode(raw, type=shape)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadAnswer(f"{self.url}{path} sent something that is no answer: {error}") from None

    async def _exchange(self, path: str, body: dict[str, Any] | None) -> tuple[int, bytes]:
        import aiohttp

        given = None if body is None else {name: value for name, value in body.items() if value is not None}
        sent = None if given is None else msgspec.json.encode({**given, "stream": False})
        try:
            session = self._opened()
            async with session.request(
                "GET" if sent is None else "POST",
                self.url + path,
                data=sent,
                headers={"Content-Type": "application/json"},
                allow_redirects=False,
            ) as response:
                return response.status, await self._read(response)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            found = str(error) or type(error).__name__
            raise Unreachable(f"{self.url} cannot be asked ({found}); is a model server running there?") from error

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        raw = bytearray()
        async for chunk in response.content.iter_any():
            raw += chunk
            if len(raw) > MODEL_ANSWER_BYTES:
                raise BadAnswer(f"{self.url} sends more than {MODEL_ANSWER_BYTES} bytes")
        return bytes(raw)

    def _opened(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))
        return self._session


class _Counted(msgspec.Struct):
    """What every answer of a model says of itself; servers add fields of their own."""

    done: bool
    done_reason: str = "stop"
    prompt_eval_count: int = 0
    eval_count: int = 0
    total_duration: int = 0  #: ns
    prompt_eval_duration: int = 0  #: ns
    eval_duration: int = 0  #: ns


class _Generate(_Counted, kw_only=True):
    response: str


class _Turn(msgspec.Struct):
    content: str


class _Chat(_Counted, kw_only=True):
    message: _Turn


class _Embed(msgspec.Struct):
    embeddings: list[list[float]]


class _Shown(msgspec.Struct):
    capabilities: list[str] = []


class _Named(msgspec.Struct):
    name: str


class _Tags(msgspec.Struct):
    models: list[_Named]


class _Running(msgspec.Struct):
    models: list[RunningModel]


class _Version(msgspec.Struct):
    version: str


class _Error(msgspec.Struct):
    error: str


def _generated(said: _Counted, text: str) -> Generated:
    if not said.done:
        raise BadAnswer("the model server's one answer says that it is not the last")
    took_ms = said.total_duration // 1_000_000
    compute_us = (said.prompt_eval_duration + said.eval_duration) // 1_000
    return Generated(text, said.done_reason, said.prompt_eval_count, said.eval_count, took_ms, compute_us)


def _fault(status: int, where: str, raw: bytes) -> Fault:
    """Return the Fault that a status stands for, in the server's own words where it has any."""
    try:
        found = msgspec.json.decode(raw, type=_Error).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        found = f"status {status}"
    sentence = f"{where}: {found[:MAX_REASON_CHARS]}"
    if status == _MISSING:
        return ModelMissing(sentence)
    if status in (_TOO_MANY, _UNAVAILABLE):
        return Busy(sentence)
    return ModelFailed(sentence) if status >= _SERVER_S else NotAccepted(sentence)
