"""The models of this home: `models/NAME/TAG.gguf`, each with a manifest beside it that names its digest.

A model counts from the moment that its manifest is written. A file whose bytes are not those of its manifest is
refused by name; it is read whole once, and again whenever the file was touched.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from organs.organd.header import read_facts
from organs.organd.ports import BadRequest, Facts, Held, NoSuchModel
from shared.constant import constant
from shared.errors import Damaged, StorageFault
from shared.files import open_private, private_folder, storing, sync_folder, write_private
from shared.world import World, now_ms

FOLDER = "models"
LATEST = "latest"
MODEL_NAME_CHARS = constant(64, "characters", "X-12")
BLOCK_BYTES = constant(1_048_576, "bytes", "X-12")
_TOKEN = r"[a-z0-9][a-z0-9._-]*"  # noqa: S105 - of a name
_NAME = re.compile(rf"(?P<name>{_TOKEN})(?::(?P<tag>{_TOKEN}))?", re.IGNORECASE)
_SUFFIX, _MANIFEST = ".gguf", ".json"


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept about a model."""

    sha256: str
    bytes: int
    added_ms: int
    facts: Facts


def full_name(written: str) -> str:
    """Return a model's name with its tag, in lower-case. Raises BadRequest."""
    found = _NAME.fullmatch(written) if len(written) <= MODEL_NAME_CHARS else None
    if found is None:
        raise BadRequest(f"{written[:MODEL_NAME_CHARS]!r} is no model name: NAME or NAME:TAG of letters, digits, . _ -")
    return f"{found['name']}:{found['tag'] or LATEST}".lower()


class Registry:
    """A folder of models. One process at a time adds to it; any may read."""

    def __init__(self, folder: Path, world: World) -> None:
        self.folder, self.world = folder, world
        self._checked: dict[str, tuple[int, ...]] = {}  #: what a file looked like when its digest was right

    def names(self) -> list[str]:
        found = self.folder.glob(f"*/*{_MANIFEST}")
        return sorted(f"{path.parent.name}:{path.name.removesuffix(_MANIFEST)}" for path in found)

    async def look(self, name: str) -> Held:
        return self._look(name)

    async def checked(self, name: str) -> Held:
        held = self._look(name)
        looks = _looks(held.path)
        if self._checked.get(held.name) != (held.size, *looks):
            found = await asyncio.to_thread(_digest, held.path)
            if found != held.digest:
                raise Damaged(
                    f"{held.path} has the SHA-256 digest {found}, its manifest says {held.digest}: add it anew"
                )
            self._checked[held.name] = (held.size, *looks)
        return held

    def add(self, file: Path, name: str) -> Held:
        """Copy a model's file here under a name. Raises NotAModel, BadRequest, StorageFault; then nothing changed."""
        full = full_name(name)
        target = self._path(full)
        try:
            with file.open("rb") as source:
                facts = read_facts(source)
                source.seek(0)
                private_folder(self.folder)
                private_folder(target.parent)
                digest, size = _copied(iter(lambda: source.read(BLOCK_BYTES), b""), target)
        except OSError as error:
            raise StorageFault(f"{file} cannot be read ({error.strerror or error})") from error
        manifest = Manifest(digest, size, now_ms(self.world), facts)
        write_private(target.with_suffix(_MANIFEST), msgspec.json.format(msgspec.json.encode(manifest)))
        return self._look(full)

    def remove(self, name: str) -> str:
        """Take a model away and return its full name. Raises NoSuchModel, StorageFault."""
        full = self._look(name).name
        path = self._path(full)
        with storing(path):
            path.with_suffix(_MANIFEST).unlink()
            path.unlink(missing_ok=True)
            sync_folder(path.parent)
            if not any(path.parent.iterdir()):
                path.parent.rmdir()
        return full

    def _look(self, name: str) -> Held:
        full = full_name(name)
        path = self._path(full)
        try:
            manifest = msgspec.json.decode(path.with_suffix(_MANIFEST).read_bytes(), type=Manifest)
        except FileNotFoundError:
            raise NoSuchModel(f"model '{name}' not found") from None
        except OSError as error:
            raise StorageFault(f"the manifest of {full} cannot be read ({error.strerror})") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Damaged(f"the manifest of {full} is none ({error}): remove the model and add it anew") from None
        return Held(full, path, manifest.sha256, manifest.bytes, manifest.added_ms, manifest.facts)

    def _path(self, full: str) -> Path:
        name, _, tag = full.partition(":")
        return self.folder / name / f"{tag}{_SUFFIX}"


def _copied(blocks: Iterator[bytes], target: Path) -> tuple[str, int]:
    """Write blocks to a file that appears whole; return their SHA-256 digest and how many bytes they are."""
    draft = target.with_name(f"{target.name}.draft")
    digest, size = hashlib.sha256(), 0
    descriptor = open_private(draft, os.O_WRONLY | os.O_TRUNC)
    with storing(draft):
        with os.fdopen(descriptor, "wb") as file:
            for block in blocks:
                file.write(block)
                digest.update(block)
                size += len(block)
            file.flush()
            os.fsync(file.fileno())
        target.with_suffix(_MANIFEST).unlink(missing_ok=True)  # never the old word about the new bytes
        draft.replace(target)
        sync_folder(target.parent)
    return digest.hexdigest(), size


def _looks(path: Path) -> tuple[int, ...]:
    try:
        seen = path.stat()
    except OSError as error:
        raise Damaged(f"{path} cannot be read ({error.strerror}), though its manifest is there: add it anew") from error
    return seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise Damaged(f"{path} cannot be read ({error.strerror})") from error
