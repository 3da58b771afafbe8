"""One HTTP/1.1 exchange over asyncio: a body of known length out, an answer in, its body in pieces as it comes.

Only what an S3-compatible server needs; one connection for each exchange. Whatever the link does is Unreachable.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from shared.constant import constant
from shared.errors import Unreachable

PIECE_BYTES = constant(262_144, "bytes", "ILL-05")
MAX_HEAD_BYTES = constant(65_536, "bytes", "ILL-05")
SILENCE_S = constant(30.0, "s", "ILL-05")
STATUS_PARTS = 2
#: What the link and the reader raise: cut, silent, ended early, or an endless line.
BROKEN = (OSError, TimeoutError, EOFError, asyncio.LimitOverrunError)
HEX = 16


@dataclass(frozen=True, slots=True)
class Server:
    """Where to connect."""

    host: str
    port: int
    tls: bool

    @property
    def name(self) -> str:
        """The `host` header; a scheme's own port is left out of it."""
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return shown if self.port == (443 if self.tls else 80) else f"{shown}:{self.port}"


@dataclass(frozen=True)
class Answer:
    """The status and headers of an answer, and its body, to be read once."""

    status: int
    headers: Mapping[str, str]
    body: AsyncGenerator[bytes]


@asynccontextmanager
async def exchange(
    server: Server, method: str, target: str, headers: Mapping[str, str], body: AsyncIterable[bytes] | None = None
) -> AsyncGenerator[Answer]:
    """Send a request and yield the answer; `content-length` stands in the headers where there is a body."""
    try:
        context = ssl.create_default_context() if server.tls else None
        async with asyncio.timeout(SILENCE_S):
            reader, writer = await asyncio.open_connection(server.host, server.port, ssl=context, limit=MAX_HEAD_BYTES)
    except (OSError, TimeoutError) as error:
        raise _trouble(server, error) from error
    try:
        head = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        try:
            writer.write("\r\n".join([*head, "connection: close", "", ""]).encode())
            if body is not None:
                await _send(writer, body)
            answer = await _head(server, method, reader)
        except (*BROKEN, ValueError) as error:
            raise _trouble(server, error) from error
        yield answer
        await answer.body.aclose()
    finally:
        writer.transport.abort()


async def _send(writer: asyncio.StreamWriter, body: AsyncIterable[bytes]) -> None:
    """Send a body; a server that has answered and closed before the end is heard afterwards."""
    async for piece in body:
        writer.write(piece)
        try:
            async with asyncio.timeout(SILENCE_S):
                await writer.drain()
        except ConnectionError:
            return


async def _head(server: Server, method: str, reader: asyncio.StreamReader) -> Answer:
    async with asyncio.timeout(SILENCE_S):
        status = 100
        headers: dict[str, str] = {}
        while status // 100 == 1:
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            version, code = lines[0].split(" ", STATUS_PARTS)[:STATUS_PARTS]
            if not version.startswith("HTTP/1."):
                raise ValueError(f"it speaks {version!r}")
            status = int(code)
            pairs = (line.split(":", 1) for line in lines[1:] if line)
            headers = {name.strip().lower(): value.strip() for name, value in pairs}
    empty = method == "HEAD" or status in (204, 304)
    return Answer(status, headers, _body(server, reader, {"content-length": "0"} if empty else headers))


async def _body(server: Server, reader: asyncio.StreamReader, headers: Mapping[str, str]) -> AsyncGenerator[bytes]:
    """Yield a body as it comes; Unreachable if the connection ends before it does."""
    try:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            while size := int((await _in_time(reader.readline())).split(b";")[0], HEX):
                async for piece in _exactly(reader, size):
                    yield piece
                await _in_time(reader.readexactly(2))
            return
        async for piece in _exactly(reader, int(headers["content-length"])):
            yield piece
    except (*BROKEN, ValueError, KeyError) as error:
        raise _trouble(server, error) from error


async def _exactly(reader: asyncio.StreamReader, size: int) -> AsyncIterator[bytes]:
    if size < 0:
        raise ValueError(f"it promises {size} bytes")
    while size:
        piece = await _in_time(reader.read(min(size, PIECE_BYTES)))
        if not piece:
            raise EOFError(f"the answer ends {size} bytes early")
        size -= len(piece)
        yield piece


async def _in_time(reading: Awaitable[bytes]) -> bytes:
    async with asyncio.timeout(SILENCE_S):
        return await reading


def _trouble(server: Server, error: Exception) -> Unreachable:
    said = str(error) or type(error).__name__
    return Unreachable(f"the server {server.name} does not answer as it should ({said}); look at its log")
