"""The port to an artifact store: content under the BLAKE3 digest of its bytes, its SHA-256 beside it.

Bytes that come out of a store are hashed as they pass. They may be trusted only when the iterator has ended well: a
mismatch is the fault Damaged, raised before the end, and whoever acted on earlier bytes acted on bytes nobody vouched
for. `read` returns nothing that is not verified whole.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from typing import Protocol

import msgspec
from blake3 import blake3

from shared.constant import constant
from shared.errors import Damaged, Refusal, Refused

CHUNK_BYTES = constant(1_048_576, "bytes", "ILL-05")
MAX_REASON_BYTES = constant(1_000, "bytes", "ILL-05")

_DIGEST = re.compile(r"[0-9a-f]{64}")
#: RFC 6838 section 4.2: what a registered type and subtype may be; parameters are not part of what a store keeps.
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}")


class Artifact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a store says of one content; `archived` is the reason why it was taken out of use, empty while it is not."""

    blake3: str
    sha256: str
    size: int
    media_type: str
    archived: str = ""


class ArtifactStore(Protocol):
    """Content by its digest. What was put stays: retention archives it, and the digest remains provable."""

    async def prepare(self) -> None:
        """Make the place ready and sweep away what an interrupted `put` or `archive` left. Call it before the rest."""
        ...

    async def close(self) -> None: ...

    async def put(self, content: AsyncIterable[bytes], media_type: str) -> Artifact:
        """Store a stream in bounded memory and return what it is; the same content again changes nothing.

        All of it is stored and on disk, or nothing is: StorageFault for a full disk, Refused S004 for the media type,
        and whatever the stream raises. The media type of the first `put` stands. A stored copy found damaged is put
        aside and replaced.
        """
        ...

    def open(self, digest: str) -> AsyncGenerator[bytes]:
        """Yield the content; trusted only if the iterator ends well. Refused S001, S002; Damaged."""
        ...

    async def stat(self, digest: str) -> Artifact:
        """Return what the store says of a digest, archived or not; no byte is read. Refused S001, S002; Damaged."""
        ...

    def list(self) -> AsyncIterator[str]:
        """Yield the digest of everything stored, archived or not, in order; nothing of it is read."""
        ...

    async def archive(self, digest: str, reason: str) -> Artifact:
        """Take verified content out of use, for a reason; again, it changes nothing. Refused S001, S002; Damaged."""
        ...


async def has(store: ArtifactStore, digest: str) -> bool:
    """Say whether a store holds a digest. Refused S001; Damaged."""
    try:
        await store.stat(digest)
    except Refused as no:
        if no.refusal.code != "S002":
            raise
        return False
    return True


async def read(store: ArtifactStore, digest: str, limit: int) -> bytes:
    """Return a whole content of at most `limit` bytes, verified. Refused S001, S002, S003; Damaged."""
    known = await store.stat(digest)
    if known.size > limit:
        raise Refused(Refusal("S003", f"{digest} has {known.size} bytes, {limit} were asked for at most"))
    return b"".join([chunk async for chunk in store.open(digest)])


async def check(store: ArtifactStore, digest: str) -> Artifact:
    """Read every byte of a content and return what it is. Refused S001, S002; Damaged."""
    known = await store.stat(digest)
    async for _ in store.open(digest):
        pass
    return known


def checked_digest(digest: str) -> str:
    """Return a digest that is one, so that it can be part of a path; Refused S001."""
    if not _DIGEST.fullmatch(digest):
        raise Refused(Refusal("S001", f"found {digest[:80]!r}, expected 64 lower-case hexadecimal digits"))
    return digest


def checked_media_type(media_type: str) -> str:
    """Return a media type that is one; Refused S004."""
    if not _MEDIA_TYPE.fullmatch(media_type):
        raise Refused(Refusal("S004", f"found {media_type[:80]!r}, expected for instance application/octet-stream"))
    return media_type


def checked_reason(reason: str) -> str:
    """Return the reason of an archiving, which is never empty and never long; Refused B002."""
    if not reason.strip() or len(reason.encode()) > MAX_REASON_BYTES:
        raise Refused(Refusal("B002", f"say in 1 to {MAX_REASON_BYTES} bytes why the artifact is archived"))
    return reason


def missing(digest: str) -> Refused:
    """The refusal for what a store does not hold."""
    return Refused(Refusal("S002", f"nothing is stored under {digest}; `nimmerverse artifact list` shows what is"))


class Taken:
    """The digests and the size of what has passed so far."""

    def __init__(self) -> None:
        self._blake3, self._sha256, self.size = blake3(), hashlib.sha256(), 0

    def take(self, chunk: bytes) -> None:
        """Hash one more piece."""
        self._blake3.update(chunk)
        self._sha256.update(chunk)
        self.size += len(chunk)

    def artifact(self, media_type: str) -> Artifact:
        """Return what has passed, as an artifact."""
        return Artifact(self._blake3.hexdigest(), self._sha256.hexdigest(), self.size, media_type)


async def verified(pieces: AsyncIterable[bytes], known: Artifact) -> AsyncGenerator[bytes]:
    """Yield the pieces of a stored content; Damaged at the first one too many, or at the end if they are not it.

    The last piece is held back until everything is verified, so nobody is given a whole content that is not.
    """
    taken, held = Taken(), b""
    async for piece in pieces:
        taken.take(piece)
        if taken.size > known.size:
            raise Damaged(f"{known.blake3} has more than its {known.size} bytes; restore it from a copy")
        if held:
            yield held
        held = piece
    found = taken.artifact(known.media_type)
    if found.size < known.size:
        raise Damaged(f"{known.blake3} ends at {found.size} of {known.size} bytes; restore it from a copy")
    if (found.blake3, found.sha256) != (known.blake3, known.sha256):
        raise Damaged(
            f"{known.blake3} holds bytes with BLAKE3 {found.blake3} and SHA-256 {found.sha256}, expected the digest "
            f"itself and {known.sha256}; restore it from a copy"
        )
    if held:
        yield held
