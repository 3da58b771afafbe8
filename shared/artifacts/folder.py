"""The embedded adapter of the artifact store: a private folder, everything in it named by digest.

    objects/ab/abcd…/content     the bytes                archive/ab/abcd…/   the same, taken out of use
    objects/ab/abcd…/sheet       what they are, as JSON   damaged/            what was found damaged and replaced
    drafts/…/                    what is being written    lock                shared by writers, exclusive for the sweep

One rename brings an object into its place with everything that belongs to it, so there is no moment at which half of it
exists. Several processes may use one folder at the same time.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import stat
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

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
from shared.constant import constant
from shared.errors import Damaged
from shared.files import open_private, private_folder, storage_fault, storing, sync_folder, write_private
from shared.world import World

CONTENT, SHEET = "content", "sheet"
MAX_SHEET_BYTES = constant(16_384, "bytes", "ILL-05")


class FolderStore:
    """Contents in a folder of mode 0700. Draft names come from the World."""

    def __init__(self, folder: Path, world: World) -> None:
        self.folder, self.world = folder, world
        self.objects, self.archived = folder / "objects", folder / "archive"
        self.drafts, self.damaged = folder / "drafts", folder / "damaged"

    async def prepare(self) -> None:
        for place in (self.folder, self.objects, self.archived, self.drafts, self.damaged):
            _no_link(place)
            private_folder(place)
        with storing(self.folder), self._lock(fcntl.LOCK_EX) as alone:
            if not alone:  # somebody writes right now: whoever opens the store later sweeps
                return
            for draft in self.drafts.iterdir():
                _remove(draft)
            for place in self._objects_in(self.objects):
                with suppress(Damaged):  # whoever reads it will hear of it
                    if self._sheet(place).archived:  # the move to the archive was interrupted
                        self._move(place, self._place(self.archived, place.name))

    async def close(self) -> None:
        return

    async def put(self, content: AsyncIterable[bytes], media_type: str) -> Artifact:
        checked_media_type(media_type)
        draft = self.drafts / self.world.entropy(16).hex()
        with self._lock(fcntl.LOCK_SH):
            try:
                with storing(draft):
                    draft.mkdir(mode=0o700)
                artifact = await self._write(draft, content, media_type)
                return await self._keep(draft, artifact)
            finally:
                _remove(draft)

    async def open(self, digest: str) -> AsyncGenerator[bytes]:
        place, known = self._known(digest)
        async for chunk in verified(_pieces(place / CONTENT), known):
            yield chunk

    async def stat(self, digest: str) -> Artifact:
        return self._known(digest)[1]

    async def list(self) -> AsyncIterator[str]:
        for digest in sorted(
            {place.name for root in (self.objects, self.archived) for place in self._objects_in(root)}
        ):
            yield digest

    async def archive(self, digest: str, reason: str) -> Artifact:
        checked_reason(reason)
        with self._lock(fcntl.LOCK_SH):
            place, known = self._known(digest)
            async for _ in self.open(digest):
                pass
            if not known.archived:
                known = msgspec.structs.replace(known, archived=reason)
                write_private(place / SHEET, msgspec.json.encode(known).decode())
            if place.is_relative_to(self.objects):
                self._move(place, self._place(self.archived, digest))
        return known

    # Writing

    async def _write(self, draft: Path, content: AsyncIterable[bytes], media_type: str) -> Artifact:
        """Fill a draft and bring it to the disk; each piece is hashed as it passes."""
        taken, path = Taken(), draft / CONTENT
        with os.fdopen(open_private(path, os.O_WRONLY | os.O_EXCL), "wb", buffering=0) as file:
            async for chunk in content:
                taken.take(chunk)
                _write_all(path, file.fileno(), chunk)
            with storing(path):
                await asyncio.to_thread(os.fsync, file.fileno())
        artifact = taken.artifact(media_type)
        write_private(draft / SHEET, msgspec.json.encode(artifact).decode())
        return artifact

    async def _keep(self, draft: Path, artifact: Artifact) -> Artifact:
        """Move a draft to its place, unless the same content stands there already, whole."""
        with suppress(Damaged):
            known = await self._whole(artifact.blake3)
            if known is not None:
                return known
        target = self._place(self.objects, artifact.blake3)
        _no_link(target.parent)
        for broken in (target, self._place(self.archived, artifact.blake3)):
            if _stands(broken):
                self._move(broken, self.damaged / f"{broken.name}.{draft.name}")
        private_folder(target.parent)
        self._move(draft, target)
        return artifact

    async def _whole(self, digest: str) -> Artifact | None:
        """Return what stands under a digest, every byte read; None where nothing does. Damaged."""
        if not any(_stands(self._place(root, digest)) for root in (self.objects, self.archived)):
            return None
        _, known = self._known(digest)
        async for _ in self.open(digest):
            pass
        return known

    def _move(self, source: Path, target: Path) -> None:
        """Rename a folder, and bring both names to the disk. A rival who was first has brought the same content."""
        _no_link(target.parent)
        with storing(target):
            target.parent.mkdir(mode=0o700, exist_ok=True)
            try:
                source.rename(target)
            except OSError:
                if not target.is_dir():
                    raise
                return
            sync_folder(target.parent)
            sync_folder(target.parent.parent)
            sync_folder(source.parent)

    @contextmanager
    def _lock(self, how: int) -> Generator[bool]:
        """Hold the folder's lock; False where an exclusive one cannot be had at once."""
        descriptor = open_private(self.folder / "lock", os.O_RDWR)
        held = True
        try:
            try:
                fcntl.flock(descriptor, how | (fcntl.LOCK_NB if how == fcntl.LOCK_EX else 0))
            except BlockingIOError:
                held = False
            yield held
        finally:
            os.close(descriptor)

    # Reading

    def _place(self, root: Path, digest: str) -> Path:
        return root / digest[:2] / digest

    def _find(self, digest: str) -> Path:
        """Return the folder of a digest; Refused S001, S002, and Damaged where a link stands in its place."""
        checked_digest(digest)
        for root in (self.objects, self.archived):
            place = self._place(root, digest)
            for part in (place.parent, place):
                _no_link(part)
            if place.is_dir():
                return place
        raise missing(digest)

    def _known(self, digest: str) -> tuple[Path, Artifact]:
        """Return where a content stands and what it is, also while it is on its way to the archive."""
        place = self._find(digest)
        try:
            return place, self._sheet(place)
        except Damaged:
            if place.is_dir():
                raise
            place = self._find(digest)
            return place, self._sheet(place)

    def _sheet(self, place: Path) -> Artifact:
        """Return what stands on an object's sheet; Damaged where it cannot be what was written there."""
        with _opened(place / SHEET) as descriptor:
            raw = os.read(descriptor, MAX_SHEET_BYTES + 1)
        if len(raw) > MAX_SHEET_BYTES:
            raise Damaged(f"{place / SHEET} has more than {MAX_SHEET_BYTES} bytes; restore it from a copy")
        try:
            known = msgspec.json.decode(raw, type=Artifact)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Damaged(f"{place / SHEET} is no sheet ({error}); restore it from a copy") from None
        if known.blake3 != place.name:
            raise Damaged(f"{place / SHEET} is the sheet of {known.blake3}; restore it from a copy")
        return known

    def _objects_in(self, root: Path) -> list[Path]:
        found = [place for prefix in root.iterdir() if not prefix.is_symlink() for place in prefix.iterdir()]
        return sorted(place for place in found if place.is_dir())


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    with _opened(path) as descriptor:
        offset = 0
        while chunk := await asyncio.to_thread(os.pread, descriptor, CHUNK_BYTES, offset):
            offset += len(chunk)
            yield chunk


@contextmanager
def _opened(path: Path) -> Generator[int]:
    """A descriptor on a regular file, never through a link; Damaged where there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise Damaged(f"{path} cannot be read ({error.strerror}); restore it from a copy") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Damaged(f"{path} is not a regular file; restore it from a copy")
        try:
            yield descriptor
        except OSError as error:
            raise Damaged(f"{path} cannot be read ({error.strerror}); restore it from a copy") from error
    finally:
        os.close(descriptor)


def _write_all(path: Path, descriptor: int, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        with storing(path):
            written = os.write(descriptor, rest)
        if written == 0:
            raise storage_fault(path, "nothing was written")
        rest = rest[written:]


def _stands(path: Path) -> bool:
    """Say whether anything has this name, also a link that leads nowhere."""
    return path.is_symlink() or path.exists()


def _no_link(path: Path) -> None:
    """Raise Damaged where a symbolic link stands in the place of a folder: it would lead out of the store."""
    if path.is_symlink():
        raise Damaged(f"{path} is a symbolic link, expected a folder; somebody changed the store, restore it")


def _remove(path: Path) -> None:
    """Remove a draft, whatever it is, without following a link."""
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)
