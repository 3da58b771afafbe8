"""One HTTP exchange with somebody who may be hostile: one deadline for all of it, a bound on the answer, no redirects.

HTTP/1.0 asks for one plain answer and the end of the connection, which every server can give: there are no chunks to
read, and no second request to smuggle.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from urllib.parse import urlsplit

from shared.constant import constant
from shared.errors import Refusal, Refused, Unreachable
from shared.world import within

MAX_HTTP_HEAD_BYTES = constant(16_384, "bytes", "X-12")
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])( .*)?")


async def exchange(  # noqa: PLR0913, PLR0917 - what a request has
    method: str, url: str, body: bytes, headers: dict[str, str], limit: int, timeout_s: float
) -> tuple[int, bytes]:
    """Return the status and the body of an answer. Raises Unreachable; Refused A004 where it breaks off or is huge."""
    at = urlsplit(url)
    assert at.scheme in ("http", "https"), url
    assert at.hostname, url
    host = at.netloc.rpartition("@")[2]
    lines = {"Host": host, "User-Agent": "nimmerverse", "Content-Length": str(len(body))} | headers
    head = f"{method} {at.path or '/'} HTTP/1.0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    secured = ssl.create_default_context() if at.scheme == "https" else None
    try:
        raw = await within(timeout_s, _converse(at.hostname, at.port, secured, f"{head}\r\n".encode() + body, limit))
    except (OSError, TimeoutError, ssl.SSLError) as error:
        found = "no answer in time" if isinstance(error, TimeoutError) else str(error)
        raise Unreachable(f"{at.scheme}://{host} cannot be asked ({found})") from error
    return _parsed(raw, host, limit)


async def _converse(host: str, port: int | None, secured: ssl.SSLContext | None, request: bytes, limit: int) -> bytes:
    """Send a request and return everything that comes back, up to a byte more than is allowed."""
    reader, writer = await asyncio.open_connection(host, port or (443 if secured else 80), ssl=secured)
    try:
        writer.write(request)
        await writer.drain()
        raw = bytearray()
        while len(raw) <= MAX_HTTP_HEAD_BYTES + limit and (more := await reader.read(65_536)):
            raw += more
        return bytes(raw)
    finally:
        writer.transport.abort()


def _parsed(raw: bytes, host: str, limit: int) -> tuple[int, bytes]:
    head, blank, body = raw.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    found = _STATUS.fullmatch(status)
    if not blank or found is None or len(head) > MAX_HTTP_HEAD_BYTES:
        raise _no(host, f"something that is no HTTP answer: {raw[:60]!r}")
    named = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
    if len(body) > limit:
        raise _no(host, f"more than the {limit} bytes that are read")
    if b"transfer-encoding" in named:
        raise _no(host, "chunks, which HTTP/1.0 does not have")
    length = named.get(b"content-length")
    if length is not None and (not length.isdigit() or int(length) != len(body)):
        raise _no(host, f"{len(body)} bytes where it announced {length.decode('ascii', 'replace')}")
    return int(found[1]), body


def _no(host: str, found: str) -> Refused:
    return Refused(Refusal("A004", f"{host} answered with {found}"))
