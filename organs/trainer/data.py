"""What the workers of a job read: the kept records of its datasets, each dataset one file of lines."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
from blake3 import blake3

from organs.trainer.recipes import BASE
from organs.trainer.records import SUFFIX
from shared.artifacts import ArtifactStore, read
from shared.checkpoints import check
from shared.errors import Refusal, Refused
from shared.files import open_private, private_folder, storing, write_private
from shared.subjects.training import Digest, JobSpec
from shared.vault import People
from shared.vault.records import Record, records

MAX_BASE_BYTES = 4_000_000_000
_encode = msgspec.json.Encoder(order="deterministic").encode


class Materials:
    """Fetches what jobs learn from out of the artifact store."""

    def __init__(self, store: ArtifactStore, people: People | None) -> None:
        self.store, self.people = store, people

    async def fetch(self, spec: JobSpec, folder: Path) -> dict[str, Digest]:
        """Write a job's data into a folder; return the digest of each dataset's lines.

        Every batch is proved before it is believed. Refused D005, T006, T009, S002; Damaged, StorageFault.
        """
        private_folder(folder)
        if spec.base:
            base = await read(self.store, spec.base, MAX_BASE_BYTES)
            check(base)
            write_private(folder / BASE, base)
        return {dataset: await self._write(dataset, folder / f"{dataset}{SUFFIX}") for dataset in spec.datasets}

    async def erased(self, spec: JobSpec) -> str:
        """Return where the log says that a person whose records a job learned from was erased, nothing if none was."""
        for dataset in spec.datasets:
            async for record in records(self.store, dataset, self.people):
                if record.erased:
                    return record.erased
        return ""

    async def _write(self, dataset: str, path: Path) -> Digest:
        hashed, written = blake3(), 0
        with storing(path), os.fdopen(open_private(path, os.O_WRONLY | os.O_TRUNC), "wb") as file:
            async for record in self._taught(dataset):
                line = _encode(record) + b"\n"
                hashed.update(line)
                file.write(line)
                written += 1
        if not written:
            raise Refused(Refusal("T006", f"{dataset} holds no record that may be learned from"))
        return hashed.hexdigest()

    async def _taught(self, dataset: str) -> AsyncIterator[dict[str, Any]]:
        async for record in records(self.store, dataset, self.people):
            if record.fate == "kept" and not record.erased:
                yield _told(record)


def _told(record: Record) -> dict[str, Any]:
    """Return what a recipe reads of a record."""
    about = {"id": record.id, "lang": record.lang, "created_at": record.created_at, "author": record.author}
    return about | {"text": record.text, "label": record.label}
