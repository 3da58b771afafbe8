"""Ollama's REST protocol on this machine's loopback, as its own clients speak it.

    POST /api/generate, /api/chat        NDJSON, or one object where `stream` is false
    POST /api/embed, /api/embeddings, /api/show
    GET  /api/tags, /api/ps, /api/version, /
    POST /api/pull, /api/push, /api/create, /api/copy, DELETE /api/delete: refused by name

Every error is `{"error": sentence}`. A page in somebody's browser is not answered: neither a foreign `Origin` nor a
`Host` that is not this machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from organs.organd.forward import Upstream
from organs.organd.ports import BadRequest, ModelFault, NoSuchModel
from organs.organd.posts import (
    MAX_POST_BYTES,
    ChatPost,
    EmbeddingsPost,
    EmbedPost,
    GeneratePost,
    NamePost,
    read_post,
)
from organs.organd.service import Service
from shared.constant import constant
from shared.errors import Exit, Fault, InUse
from shared.journal import record
from shared.version import VERSION
from shared.world import within

if TYPE_CHECKING:
    from aiohttp import web

LOOPBACK = "127.0.0.1"
NEAR = frozenset({"127.0.0.1", "localhost", "::1"})
BANNER = "Ollama is running"
SHUTDOWN_S = 1.0
READ_PATIENCE_S = constant(30.0, "s", "X-12")  # with a client that sends no whole post, or takes nothing of its answer
_BUSY = 503
Handler = Callable[[bytes], Awaitable[dict[str, Any]]]


class Late(ModelFault):
    """Less of a post came than it announced, and no more for a while."""

    status = 408
    exit = Exit.USAGE


class Rest:
    """One server. Owns its socket from `open` to `close`."""

    def __init__(self, service: Service, upstream: Upstream | None, patience_s: float = READ_PATIENCE_S) -> None:
        self.service, self.upstream, self.patience_s = service, upstream, patience_s
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def open(self, port: int) -> None:
        """Listen on a port, a free one where it is 0. Raises InUse."""
        from aiohttp import web

        self._runner = web.AppRunner(
            self._app(),
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=SHUTDOWN_S,
            lingering_time=SHUTDOWN_S,
            auto_decompress=False,  # a few bytes may become a gigabyte
        )
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, LOOPBACK, port).start()
        except OSError as error:
            await self.close()
            raise InUse(f"the models cannot be served on {LOOPBACK}:{port} ({error}); choose another port") from error
        self.url = f"http://{LOOPBACK}:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        """Stop listening; what is being answered is cut off."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
        if self.upstream is not None:
            await self.upstream.close()

    def _app(self) -> web.Application:
        from aiohttp import web

        app = web.Application(client_max_size=MAX_POST_BYTES, middlewares=[self._guarded()])
        app.router.add_get("/", _banner)
        app.router.add_get("/api/version", self._plain(self._version))
        app.router.add_get("/api/tags", self._plain(self._tags))
        app.router.add_get("/api/ps", self._plain(self._running))
        app.router.add_post("/api/show", self._about(self._show))
        app.router.add_post("/api/embed", self._about(self._embed))
        app.router.add_post("/api/embeddings", self._about(self._embeddings))
        app.router.add_post("/api/generate", self._streams(GeneratePost))
        app.router.add_post("/api/chat", self._streams(ChatPost))
        for method, what in (("POST", "pull"), ("POST", "push"), ("POST", "create"), ("POST", "copy")):
            app.router.add_route(method, f"/api/{what}", self._about(self._never(what)))
        app.router.add_delete("/api/delete", self._about(self._never("delete")))
        return app

    # How a request is carried

    def _guarded(self) -> Any:  # noqa: ANN401 - aiohttp's own type
        """Return the middleware that turns everything that goes wrong into Ollama's shape."""
        from aiohttp import web

        @web.middleware
        async def guard(request: web.Request, handler: Any) -> web.StreamResponse:  # noqa: ANN401 - aiohttp's own type
            if not _near(request.headers.get("Host", ""), request.headers.get("Origin", "")):
                return _error(403, "only this machine is answered")
            try:
                return await handler(request)
            except web.HTTPException as no:
                return _error(no.status, no.reason)
            except Fault as fault:
                return _error(_status(fault), str(fault))
            except (ConnectionError, TimeoutError) as left:  # whoever asked listens no more
                raise asyncio.CancelledError from left

        return guard

    def _plain(self, answer: Callable[[], Awaitable[dict[str, Any]]]) -> Any:  # noqa: ANN401 - aiohttp's own type
        async def handle(_: web.Request) -> web.StreamResponse:
            return _json(await answer())

        return handle

    def _about(self, answer: Handler) -> Any:  # noqa: ANN401 - aiohttp's own type
        """Return the handler of a request about one model; one that is not held here goes on to the upstream."""

        async def handle(request: web.Request) -> web.StreamResponse:
            raw = await self._body(request)
            if await self._elsewhere(raw):
                assert self.upstream is not None
                return await self.upstream.forward(request, raw, self.patience_s)
            return _json(await answer(raw))

        return handle

    def _streams(self, shape: type[GeneratePost | ChatPost]) -> Any:  # noqa: ANN401 - aiohttp's own type
        async def handle(request: web.Request) -> web.StreamResponse:
            raw = await self._body(request)
            if await self._elsewhere(raw):
                assert self.upstream is not None
                return await self.upstream.forward(request, raw, self.patience_s)
            post = read_post(raw, shape)
            if not post.stream:
                return _json(await self.service.say_whole(post))
            return await self._stream(request, self.service.say(post))

        return handle

    async def _stream(self, request: web.Request, pieces: AsyncGenerator[dict[str, Any]]) -> web.StreamResponse:
        """Send pieces as lines. What goes wrong before the first is a status; after it, a last line with the error."""
        from aiohttp import web

        async with aclosing(pieces):
            first = await anext(pieces)
            response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
            await response.prepare(request)
            await within(self.patience_s, response.write(_line(first)))
            try:
                async for piece in pieces:
                    await within(self.patience_s, response.write(_line(piece)))
            except Fault as fault:
                await response.write(_line({"error": str(fault)}))
        await response.write_eof()
        return response

    async def _body(self, request: web.Request) -> bytes:
        """Return what was posted, whole. Raises BadRequest, or Late where it does not come."""
        if packed := request.headers.get("Content-Encoding", ""):
            raise BadRequest(f"the body is packed ({packed[:100]}): send it as it is")
        try:
            return await within(self.patience_s, request.read())
        except TimeoutError:
            raise Late(f"the body of {request.content_length or 'unknown'} bytes did not come") from None

    async def _elsewhere(self, raw: bytes) -> bool:
        """Say whether a request is about a model that the upstream may hold, and we do not."""
        if self.upstream is None:
            return False
        try:
            await self.service.models.look(read_post(raw, NamePost).named())
        except (NoSuchModel, BadRequest):
            return True
        except Fault:  # held, and damaged
            return False
        return False

    # What is answered

    async def _version(self) -> dict[str, Any]:
        return {"version": VERSION}

    async def _tags(self) -> dict[str, Any]:
        return await self._with_upstream("/api/tags", await self.service.tags())

    async def _running(self) -> dict[str, Any]:
        return await self._with_upstream("/api/ps", self.service.running())

    async def _with_upstream(self, path: str, ours: dict[str, Any]) -> dict[str, Any]:
        """Return our list and what the upstream lists besides; where it does not answer, ours alone."""
        if self.upstream is None:
            return ours
        try:
            theirs = await self.upstream.listed(path)
        except Fault as fault:
            record("organd", "upstream_unreachable", detail=str(fault))
            return ours
        held = {row["name"] for row in ours["models"]}
        return {"models": [*ours["models"], *(row for row in theirs if row.get("name") not in held)]}

    async def _show(self, raw: bytes) -> dict[str, Any]:
        return await self.service.show(read_post(raw, NamePost).named())

    async def _embed(self, raw: bytes) -> dict[str, Any]:
        return await self.service.embed(read_post(raw, EmbedPost))

    async def _embeddings(self, raw: bytes) -> dict[str, Any]:
        return await self.service.embeddings(read_post(raw, EmbeddingsPost))

    def _never(self, what: str) -> Handler:
        async def refuse(_: bytes) -> dict[str, Any]:
            raise self.service.not_offered(what)

        return refuse


def _status(fault: Fault) -> int:
    """Return the status that says what a fault is."""
    if isinstance(fault, ModelFault):
        return type(fault).status
    return _BUSY if fault.exit is Exit.UNREACHABLE else 500


def _near(host: str, origin: str) -> bool:
    """Say whether a request comes from this machine, and from no page of a stranger's."""
    return _name(f"//{host}") in NEAR and (not origin or _name(origin) in NEAR)


def _name(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


async def _banner(_: web.Request) -> web.Response:
    from aiohttp import web

    return web.Response(text=BANNER)


def _json(answer: dict[str, Any], status: int = 200) -> web.Response:
    from aiohttp import web

    return web.Response(body=msgspec.json.encode(answer), status=status, content_type="application/json")


def _error(status: int, sentence: str) -> web.Response:
    return _json({"error": sentence}, status)


def _line(piece: dict[str, Any]) -> bytes:
    return msgspec.json.encode(piece) + b"\n"
