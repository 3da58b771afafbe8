"""Another model server behind this one: what is not held here is asked there, unchanged in both directions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from organs.organd.ports import ModelFault
from shared.constant import constant
from shared.errors import Exit
from shared.world import within

if TYPE_CHECKING:
    import aiohttp
    from aiohttp import web

UPSTREAM_LIST_S = constant(5.0, "s", "NIM-16")
UPSTREAM_CONNECT_S = constant(10.0, "s", "NIM-16")
MAX_LIST_BYTES = constant(4_000_000, "bytes", "X-12")
_OK = 200
_KEPT = ("Content-Type",)


class UpstreamFault(ModelFault):
    """The model server behind this one does not answer, or broke off."""

    status = 502
    retry = True
    exit = Exit.UNREACHABLE


class Upstream:
    """A model server somewhere else, such as a real Ollama."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close every connection."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def forward(self, request: web.Request, raw: bytes, patience_s: float) -> web.StreamResponse:
        """Ask the same there, and answer what comes back as it comes. Raises UpstreamFault before the first byte.

        Whoever takes nothing for `patience_s` is left.
        """
        import aiohttp
        from aiohttp import web

        response: web.StreamResponse | None = None
        try:
            async with self._opened().request(
                request.method,
                self.url + request.path_qs,
                data=raw,
                headers={name: request.headers[name] for name in _KEPT if name in request.headers},
                allow_redirects=False,
            ) as answer:
                kept = {name: answer.headers[name] for name in _KEPT if name in answer.headers}
                response = web.StreamResponse(status=answer.status, headers=kept)
                if answer.content_length is not None:
                    response.content_length = answer.content_length
                await response.prepare(request)
                async for chunk in answer.content.iter_any():
                    await within(patience_s, response.write(chunk))
        except (aiohttp.ClientError, TimeoutError) as error:
            fault = UpstreamFault(f"{self.url} cannot be asked ({str(error) or type(error).__name__})")
            if response is None or not response.prepared:
                raise fault from error
            raise ConnectionResetError(str(fault)) from error  # what was begun is cut off, so nobody takes it for whole
        await response.write_eof()
        return response

    async def listed(self, path: str) -> list[dict[str, Any]]:
        """Return the models that it lists. Raises UpstreamFault."""
        import aiohttp

        try:
            return await within(UPSTREAM_LIST_S, self._list(path))
        except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as error:
            raise UpstreamFault(f"{self.url} cannot be asked ({str(error) or type(error).__name__})") from error

    async def _list(self, path: str) -> list[dict[str, Any]]:
        async with self._opened().get(self.url + path, allow_redirects=False) as answer:
            if answer.status != _OK:
                raise UpstreamFault(f"{self.url}{path} answers with status {answer.status}")
            raw = bytearray()
            async for chunk in answer.content.iter_any():
                raw += chunk
                if len(raw) > MAX_LIST_BYTES:
                    raise UpstreamFault(f"{self.url}{path} sends more than {MAX_LIST_BYTES} bytes")
            return msgspec.json.decode(raw, type=dict[str, list[dict[str, Any]]]).get("models", [])

    def _opened(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=UPSTREAM_CONNECT_S), auto_decompress=False
            )
        return self._session
