"""A client of servers that speak OpenAI's protocol: llama.cpp's, vLLM, LocalAI, or whoever offers it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from shared.constant import constant
from shared.errors import Fault, KeyFault, Unreachable
from shared.files import OPEN_TO_OTHERS
from shared.ollama import BadAnswer, Busy, ModelFailed, ModelMissing, NotAccepted

if TYPE_CHECKING:
    import aiohttp

SENTENCE_CHARS = constant(300, "characters", "X-12")

_OK, _MISSING, _TOO_MANY, _SERVER = 200, 404, 429, 500
_UNAVAILABLE = 503


class OpenAIServer:
    """One server, at `url`, which ends where the path of a call begins. Its key is sent with every call."""

    def __init__(self, url: str, key: str = "") -> None:
        self.url, self.key = url.rstrip("/"), key
        self._session: aiohttp.ClientSession | None = None

    async def post(
        self, path: str, body: bytes | aiohttp.FormData, most_bytes: int, headers: Mapping[str, str] | None = None
    ) -> bytes:
        """Return the body of an answer of status 200.

        Raises Unreachable, ModelMissing, Busy, ModelFailed, NotAccepted, and BadAnswer beyond `most_bytes`.
        """
        status, raw = await self._exchange(f"{self.url}{path}", body, most_bytes, headers or {})
        if status != _OK:
            raise self._fault(status, raw)
        return raw

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _exchange(
        self, where: str, body: bytes | aiohttp.FormData, most_bytes: int, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))
        sent = {**headers, **({"Authorization": f"Bearer {self.key}"} if self.key else {})}
        try:
            async with self._session.post(where, data=body, headers=sent, allow_redirects=False) as response:
                raw = bytearray()
                async for chunk in response.content.iter_any():
                    raw += chunk
                    if len(raw) > most_bytes:
                        raise BadAnswer(f"{self.url} sends more than {most_bytes} bytes")
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


def server_at(url: str, key: Path | None) -> OpenAIServer:
    """Return the server at an address, with the key in a file where one is named. Raises KeyFault."""
    return OpenAIServer(url, read_key(key) if key else "")


def read_key(path: Path) -> str:
    """Return the key in a file that its owner alone may read; KeyFault says what is wrong with it."""
    try:
        mode, key = path.stat().st_mode, path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFault(f"{path} cannot be read ({error}); write the API key into it") from error
    if mode & OPEN_TO_OTHERS:
        raise KeyFault(f"{path} can be read by others; run `chmod 600 {path}`")
    if not key or not key.isprintable() or not key.isascii() or " " in key:
        raise KeyFault(f"{path} does not hold one API key in one line; correct it")
    return key
