"""Model files in a folder of the user's home, each under its digest; each is read whole before it is loaded."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from blake3 import blake3

from organs.boundary.header import read_header
from organs.boundary.llama import serve
from organs.boundary.port import BoundaryModel, ModelFile
from organs.boundary.task import Task
from shared.constant import constant
from shared.errors import Refusal, Refused
from shared.files import private_folder, write_private

MAX_MODEL_BYTES = constant(256_000_000, "bytes", "NIM-14")
_DIGEST = re.compile(r"[0-9a-f]{64}")
TASK_KEY, PLAN_KEY = "nimmerverse.boundary.task", "nimmerverse.boundary.plan"


class FolderShelf:
    """`folder/{digest}.gguf`; the folder is open to its owner alone."""

    def __init__(self, folder: Path, task: Task) -> None:
        self.folder, self.task = folder, task

    async def look(self, digest: str) -> ModelFile:
        return await asyncio.to_thread(self._look, digest)

    async def load(self, digest: str) -> BoundaryModel:
        await self.look(digest)
        return await asyncio.to_thread(serve, self._path(digest), self.task.schema, self.task.longest_call)

    def put(self, raw: bytes, wanted: str | None = None) -> str:
        """Put a model's file here and return its digest. Refused F002 where it is no model of this task, or another."""
        digest = blake3(raw).hexdigest()
        if wanted not in (None, digest):
            raise Refused(Refusal("F002", f"the file has the digest {digest}, expected {wanted}"))
        described(raw, self.task)
        private_folder(self.folder)
        write_private(self._path(digest), raw)
        return digest

    def _path(self, digest: str) -> Path:
        return self.folder / f"{digest}.gguf"

    def _look(self, digest: str) -> ModelFile:
        checked_digest(digest)
        path = self._path(digest)
        try:
            size = path.stat().st_size
            if size > MAX_MODEL_BYTES:
                raise Refused(Refusal("F002", f"{path.name} has {size} bytes, at most {MAX_MODEL_BYTES} are loaded"))
            raw = path.read_bytes()
        except OSError as error:
            raise Refused(
                Refusal("S002", f"there is no model {digest} here ({error.strerror}); `boundary install FILE` puts it")
            ) from None
        found = blake3(raw).hexdigest()
        if found != digest:
            raise Refused(Refusal("F002", f"{path.name} holds bytes with BLAKE3 {found}"))
        return described(raw, self.task)


def checked_digest(digest: str) -> str:
    """Return a digest that is one, so that it can be part of a path; Refused S001."""
    if not _DIGEST.fullmatch(digest):
        raise Refused(Refusal("S001", f"found {digest[:80]!r}, expected 64 lower-case hexadecimal digits"))
    return digest


def described(raw: bytes, task: Task) -> ModelFile:
    """Return what a model's file says of itself. Refused F002 where it is no GGUF file, or of another task."""
    try:
        header = read_header(raw)
    except ValueError as error:
        raise Refused(Refusal("F002", str(error))) from None
    if header.get(TASK_KEY) != task.digest:
        raise Refused(
            Refusal("F002", f"the model's task is {header.get(TASK_KEY, 'not named')}, the one here is {task.digest}")
        )
    return ModelFile(len(raw), task.digest, str(header.get(PLAN_KEY, "")))
