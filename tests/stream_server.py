"""A server on loopback that gives X's filtered stream as it is told to: connection after connection, piece by piece."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

HEARTBEAT = b"\r\n"


@dataclass(frozen=True)
class Connection:
    """What one connection is answered with."""

    pieces: Sequence[bytes] = ()
    status: int = 200
    headers: Sequence[str] = ()
    cut: bool = False  #: the link breaks, instead of the answer ending in good order
    stays: bool = False  #: it goes on for as long as whoever listens wants


@dataclass
class StreamServer:
    """What it is told to give, and what it was asked for."""

    connections: list[Connection]
    url: str = ""
    asked: list[str] = field(default_factory=list[str])
    tokens: list[str] = field(default_factory=list[str])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.asked.append(head.splitlines()[0].split()[1])
        self.tokens += [
            line.split(": ", 1)[1] for line in head.splitlines() if line.lower().startswith("authorization")
        ]
        told = self.connections.pop(0) if self.connections else Connection(stays=True)
        lines = [f"HTTP/1.1 {told.status} Told", "transfer-encoding: chunked", *told.headers, "", ""]
        writer.write("\r\n".join(lines).encode())
        for piece in told.pieces:
            writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            await writer.drain()
        if told.stays:
            await reader.read()
        if told.cut:
            writer.write(b"ff\r\n{")
            await writer.drain()
            writer.transport.abort()
            return
        writer.write(b"0\r\n\r\n")
        writer.close()


def said(number: int, author: str = "7") -> bytes:
    """One post as the stream gives it."""
    users = [{"id": author, "name": "N", "username": f"user{author}"}]
    data = {"id": str(number), "text": f"this is what number {number} has to say", "author_id": author, "lang": "en"}
    whole: dict[str, Any] = {"data": data, "includes": {"users": users}, "matching_rules": []}
    return json.dumps(whole).encode() + HEARTBEAT


@asynccontextmanager
async def streaming(*connections: Connection) -> AsyncIterator[StreamServer]:
    """A server that listens on a free port."""
    made = StreamServer(list(connections))
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/2/tweets/search/stream"
    try:
        yield made
    finally:
        server.close()
