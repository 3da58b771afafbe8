"""The adapter of the artifact store at scale: a bucket of an S3-compatible server.

    {prefix}content/abcd…     the bytes, uploaded first          {prefix}sheets/abcd…     what they are, uploaded last

Content exists once its sheet does, so an upload that was cut short counts for nothing. A stream is written into a local
file without a name first: its digests have to be known before its upload can be signed, and the server then refuses
whatever differs from the signed SHA-256. Nothing the server sends back is trusted before it is hashed here.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import html
import os
import re
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, urlsplit

import msgspec

from shared.artifacts.http import Answer, Server, exchange
from shared.artifacts.port import (
    CHUNK_BYTES,
    Artifact,
    Taken,
    checked_digest,
    checked_media_type,
    checked_reason,
    missing,
    verified,
)
from shared.artifacts.sigv4 import Account, query_of, signed
from shared.constant import constant
from shared.errors import ConfigFault, Damaged, NotPermitted, Refused, StorageFault, Unreachable
from shared.files import open_private, private_folder, storing
from shared.world import World

T = TypeVar("T")

EXCHANGES = constant(4, "exchanges", "ILL-05")
AGAIN_S = constant(0.2, "s", "ILL-05")
PART_BYTES = constant(67_108_864, "bytes", "ILL-05")  # more than this goes up in parts; S3 takes 5 GiB at once
MAX_PARTS = constant(10_000, "parts", "ILL-05")
MAX_ANSWER_BYTES = constant(4_194_304, "bytes", "ILL-05")
NOTHING = hashlib.sha256(b"").hexdigest()

_PATH = re.compile(r"/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])((?:/[A-Za-z0-9._-]+)*)/?")
_OK, _FORBIDDEN, _NOT_FOUND = 200, (401, 403), 404


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket on a server, and what every key in it begins with."""

    server: Server
    name: str
    prefix: str

    @classmethod
    def at(cls, url: str) -> Bucket:
        """Read `s3+https://HOST[:PORT]/BUCKET[/PREFIX]`; ConfigFault where it is none."""
        parts, tls = urlsplit(url), url.startswith("s3+https://")
        found = _PATH.fullmatch(parts.path)
        if found is None or parts.hostname is None or parts.query or parts.fragment or parts.username:
            raise ConfigFault(f"artifact_url is {url!r}; expected s3+https://HOST:PORT/BUCKET or …/BUCKET/PREFIX")
        server = Server(parts.hostname, parts.port or (443 if tls else 80), tls)
        return cls(server, found[1], f"{found[2][1:]}/" if found[2] else "")


class _Spool:
    """A content on its way: an open file without a name, and what it is."""

    def __init__(self, descriptor: int, artifact: Artifact) -> None:
        self.descriptor, self.artifact = descriptor, artifact

    async def pieces(self, start: int, size: int) -> AsyncIterator[bytes]:
        """Yield a stretch of it."""
        end = start + size
        while start < end:
            piece = await asyncio.to_thread(os.pread, self.descriptor, min(CHUNK_BYTES, end - start), start)
            if not piece:
                raise StorageFault("the spooled content was cut short on the local disk; try again")
            start += len(piece)
            yield piece


class S3Store:
    """Contents in a bucket. `spool` is a local folder that holds what is on its way, for as long as it is."""

    def __init__(
        self, bucket: Bucket, account: Account, spool: Path, world: World, part_bytes: int = PART_BYTES
    ) -> None:
        self.bucket, self.account, self.spool, self.world = bucket, account, spool, world
        self.part_bytes = part_bytes

    async def prepare(self) -> None:
        private_folder(self.spool)
        for left in self.spool.iterdir():  # a file whose writer lives is open, and needs no name any more
            left.unlink(missing_ok=True)
        status, _ = await self._ask("HEAD", "")
        if status == _NOT_FOUND:
            raise ConfigFault(f"{self.bucket.server.name} has no bucket {self.bucket.name}; make it first")

    async def close(self) -> None:
        return

    async def put(self, content: AsyncIterable[bytes], media_type: str) -> Artifact:
        checked_media_type(media_type)
        path = self.spool / self.world.entropy(16).hex()
        descriptor = open_private(path, os.O_RDWR | os.O_EXCL)
        try:
            path.unlink()
            taken = Taken()
            async for chunk in content:
                taken.take(chunk)
                with storing(path):
                    _write(descriptor, chunk)
            artifact = taken.artifact(media_type)
            known = await self._whole(artifact.blake3)
            if known is not None:
                return known
            await self._upload(_Spool(descriptor, artifact))
            await self._write_sheet(artifact)
            return artifact
        finally:
            os.close(descriptor)

    async def open(self, digest: str) -> AsyncGenerator[bytes]:
        known = await self.stat(digest)
        async with aclosing(verified(self._content(digest), known)) as pieces:
            async for piece in pieces:
                yield piece

    async def stat(self, digest: str) -> Artifact:
        status, raw = await self._ask("GET", f"sheets/{checked_digest(digest)}")
        if status == _NOT_FOUND:
            raise missing(digest)
        try:
            known = msgspec.json.decode(raw, type=Artifact)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Damaged(f"the sheet of {digest} is none ({error}); restore it from a copy") from None
        if known.blake3 != digest:
            raise Damaged(f"under {digest} stands the sheet of {known.blake3}; restore it from a copy")
        return known

    async def list(self) -> AsyncIterator[str]:
        prefix, query = f"{self.bucket.prefix}sheets/", {"list-type": "2"}
        while True:
            _, raw = await self._ask("GET", "", query | {"prefix": prefix})
            text = raw.decode(errors="replace")
            for key in re.findall(r"<Key>([^<]*)</Key>", text):
                digest = html.unescape(key).removeprefix(prefix)
                with suppress(Refused):  # somebody else's object among ours is none of ours
                    yield checked_digest(digest)
            more = re.search(r"<NextContinuationToken>([^<]+)</NextContinuationToken>", text)
            if more is None:
                return
            query = {"list-type": "2", "continuation-token": html.unescape(more[1])}

    async def archive(self, digest: str, reason: str) -> Artifact:
        checked_reason(reason)
        known = await self.stat(digest)
        async for _ in self.open(digest):
            pass
        if not known.archived:
            known = msgspec.structs.replace(known, archived=reason)
            await self._write_sheet(known)
        return known

    # Writing

    async def _whole(self, digest: str) -> Artifact | None:
        """Return what stands under a digest, every byte read; None where nothing does, or where it is damaged."""
        try:
            known = await self.stat(digest)
            async for _ in self.open(digest):
                pass
        except Refused:
            return None
        except Damaged:
            return None
        return known

    async def _write_sheet(self, artifact: Artifact) -> None:
        raw = msgspec.json.encode(artifact)
        await self._ask("PUT", f"sheets/{artifact.blake3}", {}, raw, {"content-type": "application/json"})

    async def _upload(self, spool: _Spool) -> None:
        """Bring a content up, in one piece or in parts; nothing is there before all of it is."""
        a = spool.artifact
        key, size = f"content/{a.blake3}", self.part_bytes
        if a.size <= size:
            await self._send(key, {}, spool, 0, a.size, a.sha256, {"content-type": a.media_type})
            return
        _, raw = await self._ask("POST", key, {"uploads": ""}, b"", {"content-type": a.media_type})
        found = re.search(rb"<UploadId>([^<]+)</UploadId>", raw)
        if found is None:
            raise Unreachable(f"{self.bucket.server.name} began no upload in parts; look at its log")
        upload = {"uploadId": html.unescape(found[1].decode())}
        async with AsyncExitStack() as undo:
            undo.push_async_callback(self._give_up, key, upload)
            await self._upload_parts(spool, key, upload, max(size, -(-a.size // MAX_PARTS)))
            undo.pop_all()

    async def _give_up(self, key: str, upload: Mapping[str, str]) -> None:
        """Have the server forget what it has of an upload in parts."""
        with suppress(Unreachable, StorageFault, NotPermitted, Refused):
            await self._ask("DELETE", key, upload)

    async def _upload_parts(self, spool: _Spool, key: str, upload: Mapping[str, str], size: int) -> None:
        """Send every part, its own SHA-256 signed, and have them joined."""
        tags: list[str] = []
        for start in range(0, spool.artifact.size, size):
            part, length = {"partNumber": str(len(tags) + 1), **upload}, min(size, spool.artifact.size - start)
            tags.append(await self._send(key, part, spool, start, length, await _sha256(spool, start, length), {}))
        parts = "".join(
            f"<Part><PartNumber>{place}</PartNumber><ETag>{html.escape(tag)}</ETag></Part>"
            for place, tag in enumerate(tags, 1)
        )
        whole = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
        _, said = await self._ask("POST", key, upload, whole, {"content-type": "application/xml"})
        if b"<Error>" in said:  # it may say so under a status of 200
            raise StorageFault(f"{self.bucket.server.name} could not join the parts of {key}: {_code(said)}")

    async def _send(  # noqa: PLR0913, PLR0917 - which stretch of what goes where
        self,
        key: str,
        query: Mapping[str, str],
        spool: _Spool,
        start: int,
        size: int,
        sha256: str,
        headers: Mapping[str, str],
    ) -> str:
        """Send a stretch of a content whose SHA-256 is signed, and return its tag."""
        checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
        more = {**headers, "content-length": str(size), "x-amz-checksum-sha256": checksum}

        async def once() -> str:
            target, every = self._signed("PUT", key, query, more, sha256)
            async with exchange(self.bucket.server, "PUT", target, every, spool.pieces(start, size)) as answer:
                await self._settle(answer, key)
                return answer.headers.get("etag", "")

        return await self._patiently(once)

    # Asking

    async def _content(self, digest: str) -> AsyncGenerator[bytes]:
        target, headers = self._signed("GET", f"content/{digest}", {}, {}, NOTHING)
        async with exchange(self.bucket.server, "GET", target, headers) as answer:
            if answer.status == _NOT_FOUND:
                raise Damaged(f"the content of {digest} is gone; restore it from a copy")
            if answer.status != _OK:
                await self._settle(answer, digest)
            async for piece in answer.body:
                yield piece

    async def _ask(
        self,
        method: str,
        key: str,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """Return the status (200 or 404) and the whole body of one short exchange; Faults for the rest."""
        more = dict(headers or {}) | ({"content-length": str(len(body))} if body is not None else {})
        sha256 = hashlib.sha256(body or b"").hexdigest()

        async def once() -> tuple[int, bytes]:
            target, every = self._signed(method, key, query or {}, more, sha256)
            async with exchange(self.bucket.server, method, target, every, _one(body)) as answer:
                return answer.status, await self._settle(answer, key, may_be_missing=method in ("GET", "HEAD"))

        return await (once() if method == "POST" else self._patiently(once))  # a POST may have been carried out

    async def _patiently(self, once: Callable[[], Awaitable[T]]) -> T:
        """Return what an exchange gives that may be repeated; a server that stumbles is asked a few times."""
        for attempt in range(EXCHANGES - 1):
            try:
                return await once()
            except Unreachable:
                await self.world.sleep(AGAIN_S * 2**attempt)
        return await once()

    def _signed(
        self, method: str, key: str, query: Mapping[str, str], headers: Mapping[str, str], sha256: str
    ) -> tuple[str, dict[str, str]]:
        whole = f"{self.bucket.name}/{self.bucket.prefix}{key}" if key else self.bucket.name
        path = "/" + quote(whole, safe="/-_.~")
        every = {"host": self.bucket.server.name, **headers}
        return f"{path}?{query_of(query)}" if query else path, signed(
            self.account, method, path, query, every, sha256, self.world.now_ns()
        )

    async def _settle(self, answer: Answer, key: str, *, may_be_missing: bool = False) -> bytes:
        """Return the whole body of a good answer; the Fault that any other one means."""
        raw = b""
        async for piece in answer.body:
            raw += piece
            if len(raw) > MAX_ANSWER_BYTES:
                raise Unreachable(f"{self.bucket.server.name} answers with more than {MAX_ANSWER_BYTES} bytes")
        status, code = answer.status, _code(raw)
        where = f"{self.bucket.server.name} answered {status} {code} for {key or 'the bucket'}"
        if status // 100 == _OK // 100 or (may_be_missing and status == _NOT_FOUND and code != "NoSuchBucket"):
            return raw
        if status in _FORBIDDEN:
            raise NotPermitted(f"{where}; look at the access key in artifact_credentials and what it may do")
        if code == "NoSuchBucket":
            raise ConfigFault(f"{where}; make the bucket {self.bucket.name} first")
        if status in (429, 500, 502, 503, 504):
            raise Unreachable(f"{where}; it may answer later")
        raise StorageFault(f"{where}; look at the server's log")


async def _one(body: bytes | None) -> AsyncIterator[bytes]:
    if body:
        yield body


async def _sha256(spool: _Spool, start: int, size: int) -> str:
    hasher = hashlib.sha256()
    async for piece in spool.pieces(start, size):
        hasher.update(piece)
    return hasher.hexdigest()


def _write(descriptor: int, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _code(raw: bytes) -> str:
    """Return the code in an error's XML, empty where there is none."""
    found = re.search(rb"<Code>([A-Za-z0-9]{1,60})</Code>", raw)
    return found[1].decode() if found else ""
