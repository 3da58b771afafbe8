"""Servers on loopback that speak as the outside does: an OpenTimestamps calendar, a time-stamp authority, a node."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from organs.anchor.authorities import LocalAuthority
from organs.anchor.calendars import LocalCalendar
from organs.anchor.ots import SHA256, Bitcoin, Op, path, timestamp, write_timestamp
from organs.anchor.store import MemoryProofStore
from shared.world import RealWorld
from tests.vectors.block_358391 import BLOCK_HASH, HEADER, HEIGHT

Answer = tuple[int, bytes]
Handler = Callable[[str, str, bytes], Awaitable[Answer]]
CLAIMED = 700_000  #: the block that the calendar below says it got into


class Calendar:
    """A calendar that promises, and from `mine` on claims a block; `say` replaces its answers by raw bytes."""

    url = ""

    def __init__(self) -> None:
        self.say: bytes | None = None
        self.asked: list[str] = []
        self._promised: set[bytes] = set()
        self._mined = False

    def mine(self) -> None:
        """Claim that a block holds everything promised so far."""
        self._mined = True

    async def handle(self, method: str, where: str, body: bytes) -> Answer:
        """Answer as the OpenTimestamps servers do."""
        self.asked.append(f"{method} {where}")
        if (method, where) == ("POST", "/digest"):
            made = await LocalCalendar(MemoryProofStore(), RealWorld("dev"), self.url).submit(body)
            self._promised |= {message for message, _ in made.attested()}
            return 200, write_timestamp(made)
        commitment = bytes.fromhex(where.removeprefix("/timestamp/"))
        if commitment not in self._promised or not self._mined:
            return 404, b"Pending confirmation in Bitcoin blockchain"
        steps = [Op(SHA256), Op(SHA256)]
        return 200, write_timestamp(path(commitment, steps, lambda root: timestamp(root, [Bitcoin(CLAIMED)])))


@asynccontextmanager
async def calendar() -> AsyncIterator[Calendar]:
    """A calendar that listens."""
    made = Calendar()
    async with listening(made.handle, lambda: made.say) as url:
        made.url = url
        yield made


@asynccontextmanager
async def authority(folder: Path) -> AsyncIterator[tuple[str, Path]]:
    """An authority that listens: its URL and the certificate it is trusted by."""
    signing = LocalAuthority(folder / "outside")

    async def handle(method: str, where: str, body: bytes) -> Answer:
        return 200, await signing.reply(body)

    async with listening(handle) as url:
        yield url, folder / "outside" / "tsa.pem"


@asynccontextmanager
async def node() -> AsyncIterator[str]:
    """A Bitcoin node that knows one real block, for whoever asks over JSON-RPC."""

    async def handle(method: str, where: str, body: bytes) -> Answer:
        asked = json.loads(body)
        known = {"getblockcount": HEIGHT + 6, "getblockhash": BLOCK_HASH, "getblockheader": HEADER.hex()}
        return 200, json.dumps({"result": known[asked["method"]], "error": None, "id": asked["id"]}).encode()

    async with listening(handle) as url:
        yield url.replace("://", "://user:password@")


@asynccontextmanager
async def listening(handle: Handler, instead: Callable[[], bytes | None] = lambda: None) -> AsyncIterator[str]:
    """An HTTP server on loopback, one request per connection; `instead` may replace a whole answer."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            method, where, _ = (await reader.readline()).decode().split(" ", 2)
            headers = {}
            while line := (await reader.readline()).strip().decode():
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            raw = instead()
            if raw is None:
                status, content = await handle(method, where, body)
                raw = f"HTTP/1.0 {status} so\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content
            writer.write(raw)
            await writer.drain()
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()
