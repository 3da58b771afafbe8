"""The simulated adapter of the artifact store: the same behaviour in memory, with the faults that disks have."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator

import msgspec

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
from shared.errors import Damaged, StorageFault


class MemoryStore:
    """Contents in a dictionary. `room` is what may still be stored, in bytes; None is without end."""

    def __init__(self, room: int | None = None) -> None:
        self.room = room
        self.contents: dict[str, bytearray] = {}
        self.sheets: dict[str, Artifact] = {}

    async def prepare(self) -> None:
        return

    async def close(self) -> None:
        return

    async def put(self, content: AsyncIterable[bytes], media_type: str) -> Artifact:
        checked_media_type(media_type)
        taken, draft = Taken(), bytearray()
        async for chunk in content:
            taken.take(chunk)
            draft += chunk
            if self.room is not None and len(draft) > self.room:
                raise StorageFault(f"the store has room for {self.room} bytes; free some space")
        artifact = taken.artifact(media_type)
        if artifact.blake3 in self.sheets and await self._is_whole(artifact.blake3):
            return self.sheets[artifact.blake3]
        if self.room is not None:
            self.room -= artifact.size
        self.contents[artifact.blake3], self.sheets[artifact.blake3] = draft, artifact
        return artifact

    async def open(self, digest: str) -> AsyncGenerator[bytes]:
        known = await self.stat(digest)
        async for chunk in verified(self._pieces(digest), known):
            yield chunk

    async def stat(self, digest: str) -> Artifact:
        if checked_digest(digest) not in self.sheets:
            raise missing(digest)
        return self.sheets[digest]

    async def list(self) -> AsyncIterator[str]:
        for digest in sorted(self.sheets):
            yield digest

    async def archive(self, digest: str, reason: str) -> Artifact:
        checked_reason(reason)
        known = await self.stat(digest)
        async for _ in self.open(digest):
            pass
        if not known.archived:
            self.sheets[digest] = msgspec.structs.replace(known, archived=reason)
        return self.sheets[digest]

    async def _is_whole(self, digest: str) -> bool:
        try:
            async for _ in self.open(digest):
                pass
        except Damaged:
            return False
        return True

    async def _pieces(self, digest: str) -> AsyncIterator[bytes]:
        content = self.contents.get(digest)
        if content is None:
            raise Damaged(f"the content of {digest} is gone; restore it from a copy")
        for start in range(0, len(content), CHUNK_BYTES):
            yield bytes(content[start : start + CHUNK_BYTES])
