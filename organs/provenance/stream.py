"""X's filtered stream, live: it is connected again whenever it breaks, and asks for what was missed meanwhile.

A line of white space every 20 seconds says that the connection lives; silence for longer is a broken one. How long to
wait before another try is what X asks for: little after a broken link, longer after an error, longest after too many
requests, unless the answer says when the limit ends.
Source: X API v2, "Filtered stream: consuming streaming data".
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from organs.provenance.pages import MAX_PAGE_BYTES, end_of, posts_of
from organs.provenance.post import Post, Read
from shared.artifacts.http import Answer, Server, exchange
from shared.constant import constant
from shared.errors import ConfigFault, KeyFault, NotPermitted, Refused, Unreachable
from shared.files import OPEN_TO_OTHERS
from shared.journal import record
from shared.world import World

URL: Final = "https://api.x.com/2/tweets/search/stream"
FIELDS: Final = "tweet.fields=lang,created_at,author_id,note_tweet&expansions=author_id&user.fields=username"
MAX_BACKFILL_MINUTES = constant(5, "minutes", "COL-01")
STREAM_FLUSH_S = constant(60.0, "s", "COL-03")  # so long a partial batch waits for more
POSTS_WAITING = constant(2_000, "posts", "COL-03")  # taken from the link and not yet from here; then the link waits
LINK_S = (constant(0.25, "s", "COL-01"), constant(16.0, "s", "COL-01"))  # a broken link: first and longest wait
ERROR_S = (constant(5.0, "s", "COL-01"), constant(320.0, "s", "COL-01"))
LIMIT_S = (constant(60.0, "s", "COL-01"), constant(900.0, "s", "COL-01"))
_OK, _TOO_MANY = 200, 429
_FORBIDDEN = (401, 403)
_SAID_BYTES = 300


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the stream is, and the bearer token for it."""

    server: Server
    target: str
    token: str

    @classmethod
    def of(cls, url: str, token: str) -> Endpoint:
        """Return the endpoint at an address. ConfigFault where it is none."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigFault(f"{url!r} is no address of a stream; the public one is {URL}")
        tls = parts.scheme == "https"
        query = f"{parts.query}&{FIELDS}" if parts.query else FIELDS
        return cls(
            Server(parts.hostname, parts.port or (443 if tls else 80), tls), f"{parts.path or '/'}?{query}", token
        )


def read_token(path: Path) -> str:
    """Return the bearer token in a file that its owner alone may read; KeyFault says what is wrong with it."""
    try:
        mode, text = path.stat().st_mode, path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFault(f"{path} cannot be read ({error}); write the bearer token into it") from error
    if mode & OPEN_TO_OTHERS:
        raise KeyFault(f"{path} can be read by others; run `chmod 600 {path}`")
    if not text or not text.isprintable() or " " in text:
        raise KeyFault(f"{path} does not hold one bearer token; correct it")
    return text


class LiveStream:
    """Posts as they are written. `resumed` says that some were taken in before, so that what was missed is asked for.

    It ends after `most` posts, or stays until it is stopped. What comes twice is found by its id, as everywhere.
    """

    size: int | None = None

    def __init__(self, endpoint: Endpoint, world: World, *, resumed: bool, count: int, most: int | None = None) -> None:
        self._endpoint, self._world, self._most = endpoint, world, most
        self._given = count  #: posts given so far, in all runs
        self._heard_s: float | None = None  #: when the link last said anything
        self._resumed = resumed
        self._queue: asyncio.Queue[Post] = asyncio.Queue(POSTS_WAITING)
        self._stopping = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._listen())  #: ends where trying again helps nothing

    def stop(self) -> None:
        """Take nothing more: what was heard is given as a last, partial batch."""
        self._stopping.set()

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def take(self, most: int) -> Read:
        most = min(most, self._most - self._given) if self._most is not None else most
        posts: list[Post] = []
        until_s = self._world.elapsed_s() + STREAM_FLUSH_S
        while len(posts) < most:
            waited = self._queue.empty()
            found = await self._next(until_s - self._world.elapsed_s()) if waited else self._queue.get_nowait()
            if found is None:
                break
            posts.append(found)
        if self._task.done() and not posts:
            self._task.result()
        self._given += len(posts)
        whole = self._most is not None and self._given >= self._most
        stopped = self._stopping.is_set() and not whole
        return Read(posts, self._given, ended=whole or stopped, stopped=stopped)

    async def _next(self, wait_s: float) -> Post | None:
        """Return what comes next; None where nothing does in time, or nothing is wanted or can be had any more."""
        getting = asyncio.ensure_future(self._queue.get())
        stopping = asyncio.ensure_future(self._stopping.wait())
        sleeping = asyncio.ensure_future(self._world.sleep(max(wait_s, 0)))
        waiting: set[asyncio.Future[object]] = {getting, stopping, sleeping}  # pyright: ignore[reportAssignmentType] - each result is looked at by its own name
        try:
            await asyncio.wait({*waiting, self._task}, return_when=asyncio.FIRST_COMPLETED)
            return getting.result() if getting.done() else None
        finally:
            for one in waiting:
                one.cancel()

    # The link

    async def _listen(self) -> None:
        """Connect, again and again; what cannot be mended by trying again ends it, and is raised to whoever takes."""
        waits = _Waits()
        while True:
            wait_s = await self._once(waits)
            if wait_s:
                await self._world.sleep(wait_s)

    async def _once(self, waits: _Waits) -> float:
        """Hear one connection to its end; return how long to wait before the next."""
        endpoint = self._endpoint
        target = endpoint.target + self._backfill()
        headers = {"host": endpoint.server.name, "authorization": f"Bearer {endpoint.token}"}
        try:
            async with exchange(endpoint.server, "GET", target, headers) as answer:
                if answer.status != _OK:
                    return await self._refused(answer, waits)
                waits.forget()
                await self._hear(answer)
        except Unreachable as fault:
            record("provenance", "stream_broken", detail=str(fault))
        return waits.link()

    def _backfill(self) -> str:
        """Ask for the minutes that were missed, as many as X keeps."""
        if self._heard_s is None:
            return f"&backfill_minutes={MAX_BACKFILL_MINUTES}" if self._resumed else ""
        missed = int((self._world.elapsed_s() - self._heard_s) // 60) + 1
        return f"&backfill_minutes={min(missed, MAX_BACKFILL_MINUTES)}"

    async def _hear(self, answer: Answer) -> None:
        """Hand on every post of a connection, in its order; white space says only that it lives."""
        async with aclosing(_objects(answer.body)) as objects:
            async for raw in objects:
                self._heard_s = self._world.elapsed_s()
                for post in _read(raw):
                    await self._queue.put(post)

    async def _refused(self, answer: Answer, waits: _Waits) -> float:
        """Return how long to wait after an error; NotPermitted, ConfigFault where waiting helps nothing."""
        said = b""
        async with aclosing(answer.body) as body:
            async for piece in body:
                said += piece[:_SAID_BYTES]
                if len(said) >= _SAID_BYTES:
                    break
        name, text = self._endpoint.server.name, said.decode(errors="replace")
        if answer.status in _FORBIDDEN:
            raise NotPermitted(f"{name} answered {answer.status}: look at the bearer token and what it may do ({text})")
        if answer.status == _TOO_MANY:
            return waits.limit(self._until_reset(answer.headers))
        if answer.status // 100 == 4:  # noqa: PLR2004 - the class of answers that blame who asks
            raise ConfigFault(f"{name} answered {answer.status} to {self._endpoint.target}: {text}")
        record("provenance", "stream_refused", status=answer.status)
        return waits.error()

    def _until_reset(self, headers: Mapping[str, str]) -> float | None:
        reset = headers.get("x-rate-limit-reset", "")
        return max(int(reset) - self._world.now_ns() / 1e9, LINK_S[0]) if reset.isdecimal() else None


class _Waits:
    """How long to wait before the next try; every kind of trouble grows by its own rule until something is heard."""

    def __init__(self) -> None:
        self._tries = dict.fromkeys(("link", "error", "limit"), 0)

    def forget(self) -> None:
        """Begin anew: somebody answered."""
        self._tries = dict.fromkeys(self._tries, 0)

    def link(self) -> float:
        """Grow by steps of one length."""
        self._tries["link"] += 1
        return min(LINK_S[0] * self._tries["link"], LINK_S[1])

    def error(self) -> float:
        """Double."""
        self._tries["error"] += 1
        return min(ERROR_S[0] * 2 ** (self._tries["error"] - 1), ERROR_S[1])

    def limit(self, until_reset_s: float | None) -> float:
        """Double, unless the server said for how long."""
        self._tries["limit"] += 1
        return (
            min(until_reset_s, LIMIT_S[1])
            if until_reset_s is not None
            else min(LIMIT_S[0] * 2 ** (self._tries["limit"] - 1), LIMIT_S[1])
        )


def _read(raw: bytes) -> list[Post]:
    """Return the posts of an object; one that cannot be read is told of in the journal, for nobody here can mend it."""
    try:
        return posts_of(raw, "the stream") if raw else []
    except Refused as no:
        record("provenance", "post_refused", code=no.refusal.code, detail=no.refusal.detail)
        return []


async def _objects(body: AsyncIterable[bytes]) -> AsyncGenerator[bytes]:
    """Yield each JSON object of a body, and nothing (b"") for every piece that ends none."""
    held = b""
    async for piece in body:
        held += piece
        yield b""
        try:
            while (end := end_of(held)) is not None:
                yield held[:end]
                held = held[end:]
        except Refused as no:
            raise Unreachable(f"the stream gives something else than objects: {no}") from None
        if len(held) > MAX_PAGE_BYTES:
            raise Unreachable(f"the stream gives an object of {len(held)} bytes or more, at most {MAX_PAGE_BYTES}")
        if not held.strip():
            held = b""
