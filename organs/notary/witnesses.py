"""The notary's port to witnesses: a request is posted, an answer comes back, over HTTP or in a simulation."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from typing import Protocol
from urllib.parse import urlsplit

from shared.constant import constant
from shared.errors import Unreachable
from shared.log.witness import PATH, Answer
from shared.world import World

MAX_WITNESS_ANSWER_BYTES = constant(65_536, "bytes", "X-12")
_HEAD_END = b"\r\n\r\n"
_STATUS_WORDS = 2


class Post(Protocol):
    """Whatever carries a request to a witness. It may wait for ever; the asker sets the bound."""

    async def post(self, url: str, body: bytes) -> Answer:
        """Return the answer of the witness at `url`; Unreachable if there is none that can be read."""
        ...


class HttpPost:
    """HTTP on a connection of its own for each request, without threads."""

    async def post(self, url: str, body: bytes) -> Answer:
        at = urlsplit(url)
        secure = ssl.create_default_context() if at.scheme == "https" else None
        port = at.port or (443 if secure else 80)
        try:
            reader, writer = await asyncio.open_connection(at.hostname, port, ssl=secure)
        except OSError as error:
            raise Unreachable(f"{at.hostname}:{port} does not answer ({error})") from error
        try:
            path = f"{at.path.rstrip('/')}{PATH}"
            head = (
                f"POST {path} HTTP/1.0\r\nHost: {at.netloc.rpartition('@')[2]}\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            writer.write(head.encode() + body)
            await writer.drain()
            return _read(await _until_closed(reader))
        except OSError as error:
            raise Unreachable(f"{at.hostname}:{port} hung up ({error})") from error
        finally:
            writer.transport.abort()


class SimPost:
    """Witnesses within a simulation: by address, each a function of the request, answering after a drawn delay."""

    def __init__(self, world: World, witnesses: Mapping[str, Callable[[bytes], Answer]], delay_s: float = 0.01) -> None:
        self.world, self.witnesses, self.delay_s = world, witnesses, delay_s

    async def post(self, url: str, body: bytes) -> Answer:
        await self.world.sleep(self.delay_s * self.world.chance())
        if url not in self.witnesses:
            raise Unreachable(f"{url} does not answer")
        answer = self.witnesses[url](body)
        await self.world.sleep(self.delay_s * self.world.chance())
        return answer


async def _until_closed(reader: asyncio.StreamReader) -> bytes:
    raw = b""
    while chunk := await reader.read(MAX_WITNESS_ANSWER_BYTES):
        raw += chunk
        if len(raw) > MAX_WITNESS_ANSWER_BYTES:
            raise Unreachable(f"the answer has more than {MAX_WITNESS_ANSWER_BYTES} bytes")
    return raw


def _read(raw: bytes) -> Answer:
    """Return an HTTP answer; Unreachable where it is none, or is cut short."""
    head, end, body = raw.partition(_HEAD_END)
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if not end or len(words) < _STATUS_WORDS or not words[0].startswith("HTTP/") or not _is_number(words[1]):
        raise Unreachable("the answer is no HTTP")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = headers.get("content-length", str(len(body)))
    if not _is_number(length) or int(length) != len(body) or "transfer-encoding" in headers:
        raise Unreachable("the answer's length is not what it says")
    return Answer(int(words[1]), headers.get("content-type", ""), body)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= len(str(MAX_WITNESS_ANSWER_BYTES))
