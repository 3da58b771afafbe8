"""The boundary's model files: each under its digest, and a model of this task by its own word."""

from __future__ import annotations

import asyncio
from pathlib import Path

from shared.artifacts import ArtifactStore, has, read
from shared.boundary.header import read_header
from shared.boundary.llama import serve
from shared.boundary.port import BoundaryModel, ModelFile
from shared.boundary.task import Task
from shared.errors import Refusal, Refused
from shared.models import MAX_MODEL_BYTES, ModelFolder, check_wanted

TASK_KEY, PLAN_KEY = "nimmerverse.boundary.task", "nimmerverse.boundary.plan"


class FolderShelf:
    """`folder/{digest}.gguf`; what is not there yet is fetched from the artifact store, if there is one."""

    def __init__(self, folder: Path, task: Task, store: ArtifactStore | None = None) -> None:
        self.files, self.task, self.store = ModelFolder(folder, ".gguf", "boundary install FILE"), task, store

    async def look(self, digest: str) -> ModelFile:
        if self.store is not None and not self.files.has(digest):
            await self._fetch(self.store, digest)
        return await asyncio.to_thread(self._look, digest)

    async def load(self, digest: str) -> BoundaryModel:
        await self.look(digest)
        return await asyncio.to_thread(serve, self.files.path(digest), self.task.schema, self.task.longest_call)

    def put(self, raw: bytes, wanted: str | None = None) -> str:
        """Put a model's file here and return its digest. Refused F002 where it is no model of this task, or another."""
        check_wanted(raw, wanted)
        described(raw, self.task)
        return self.files.put(raw)

    async def _fetch(self, store: ArtifactStore, digest: str) -> None:
        """Put a model here that the store holds; what neither holds is refused by whoever reads it."""
        if await has(store, digest):
            raw = await read(store, digest, MAX_MODEL_BYTES)
            await asyncio.to_thread(self.put, raw, digest)

    def _look(self, digest: str) -> ModelFile:
        return described(self.files.read(digest), self.task)


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
