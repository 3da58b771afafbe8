"""The artifacts organ: nothing is registered before its content stands in the store and was read back whole."""

from __future__ import annotations

from typing import ClassVar

from shared.artifacts import Artifact, ArtifactStore, MemoryStore, check, checked_digest, has, store_of
from shared.codec import MAX_REASON_CHARS
from shared.constant import constant
from shared.errors import Damaged, Refusal, Refused
from shared.part.organ import Log, Organ
from shared.settings import Settings
from shared.subjects.artifacts import (
    ArchiveArtifact,
    ArtifactArchived,
    ArtifactRegistered,
    ArtifactState,
    ArtifactStated,
    ArtifactStatus,
    RegisterArtifact,
)
from shared.world import SimWorld, World

MAX_MADE_FROM = constant(100, "artifacts", "ILL-05")
MAX_LABEL_BYTES = constant(1_000, "bytes", "ILL-05")


class ArtifactsOrgan(Organ):
    """Registers and archives what others put into the store, and says what is there."""

    name: ClassVar[str] = "artifacts"
    version: ClassVar[str] = "1.0.0"
    cost_ulf: ClassVar[int] = constant(800_000, "micro-lifeforce", "ILL-05")

    def __init__(self, store: ArtifactStore) -> None:
        self.store = store

    @classmethod
    def build(cls, settings: Settings, world: World) -> ArtifactsOrgan:
        return cls(store_of(settings, world))

    @classmethod
    def simulate(cls, world: SimWorld) -> ArtifactsOrgan:  # noqa: ARG003 - as declared
        return cls(MemoryStore())

    def again(self, world: SimWorld) -> ArtifactsOrgan:
        return ArtifactsOrgan(self.store)

    async def open(self, log: Log) -> None:
        await self.store.prepare()

    async def close(self) -> None:
        await self.store.close()

    async def on_register(self, request: RegisterArtifact) -> list[ArtifactRegistered]:
        """Read the content whole, then decide; Refused where it or a parent is not there, or not what it says."""
        for what in (request.name, request.made_by):
            if len(what.encode()) > MAX_LABEL_BYTES:
                raise Refused(
                    Refusal("B003", f"a name of {len(what.encode())} bytes, at most {MAX_LABEL_BYTES} may be")
                )
        if len(request.parents) > MAX_MADE_FROM:
            raise Refused(Refusal("B003", f"{len(request.parents)} parents, at most {MAX_MADE_FROM} may be"))
        checked_digest(request.digest)
        for parent in request.parents:
            if parent == request.digest or not await has(self.store, parent):
                raise Refused(Refusal("S005", f"{parent} cannot be a parent of {request.digest}; put it first"))
        known = await check(self.store, request.digest)
        about = (known.sha256, known.size, known.media_type)
        said = (request.holds, request.name, request.made_by, request.parents)
        return [ArtifactRegistered(request.digest, *about, *said)]

    async def on_archive(self, request: ArchiveArtifact) -> list[ArtifactArchived]:
        """Archive first and decide then: a crash between the two is mended by asking again."""
        known = await self.store.archive(request.digest, request.reason)
        return [ArtifactArchived(known.blake3, known.sha256, known.size, known.archived)]

    async def on_status(self, request: ArtifactStatus) -> list[ArtifactStated]:
        """Say what the store holds under a digest."""
        return [await stated(self.store, request.digest, whole=request.whole)]


async def stated(store: ArtifactStore, digest: str, *, whole: bool) -> ArtifactStated:
    """Return what a store says of a digest, every byte read if `whole`. Refused S001."""
    try:
        known = await (check(store, digest) if whole else store.stat(digest))
    except Refused as no:
        if no.refusal.code != "S002":
            raise
        return ArtifactStated(digest, "missing", "", 0, "", "")
    except Damaged as fault:
        return ArtifactStated(digest, "damaged", "", 0, "", str(fault)[:MAX_REASON_CHARS])
    return _stated(known)


def _stated(known: Artifact) -> ArtifactStated:
    state: ArtifactState = "archived" if known.archived else "stored"
    return ArtifactStated(known.blake3, state, known.sha256, known.size, known.media_type, known.archived)
