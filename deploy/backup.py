"""Backups of a log: what one holds, and how it is made while the log goes on.

manifest.json     what belongs to the backup, each file with size and SHA-256
log/told.json     the stream's configuration and state        log/snapshot     the stream itself
tiles/…           the tree as it was signed                   notary/…         the notary's memory
keys/… nkeys/…    the sealed keyring and the connection keys; the passphrase is not here, keys of persons never are
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.attach import reader
from deploy.snapshot import take
from organs.notary import FolderShelf
from organs.notary.ports import MEMORY
from shared.bus.nats import NatsWire
from shared.config import Loaded
from shared.errors import ConfigFault, LogFault, StorageFault
from shared.files import private_folder, storing, sync_folder, write_private
from shared.home import place
from shared.log.checkpoint import Checkpoint
from shared.log.note import Note
from shared.log.store import FolderTiles
from shared.log.tiles import CHECKPOINT, HEIGHT, WIDTH, Tiles, bundle, tile_path
from shared.settings import Settings
from shared.version import VERSION

FORMAT = "nimmerverse-backup-1"
COPIED = ("keys", "nkeys")
TRIES = 5


@dataclass(frozen=True, slots=True)
class Made:
    """A backup that was written: where, of how many entries, signed how far."""

    folder: Path
    entries: int
    signed: int
    bytes: int


async def back_up(loaded: Loaded, folder: Path) -> Made:
    """Write a backup of the log into a new folder; StorageFault, LogFault, ConfigFault if it cannot be made."""
    settings = loaded.settings
    draft, signed = _begun(settings, folder)
    async with reader(loaded) as bus:
        wire = bus.wire
        assert isinstance(wire, NatsWire)
        with storing(draft), (draft / "log" / "snapshot").open("wb") as file:
            told = await take(wire.client, bus.log, lambda chunk: _all_of(file.write(chunk), chunk))
        keys = await bus.keys_until(0)
    write_private(draft / "log" / "told.json", json.dumps(told))
    files = {str(path.relative_to(draft)): digest_of(path) for path in sorted(draft.rglob("*")) if path.is_file()}
    size = sum(known["size"] for known in files.values())
    facts = {"format": FORMAT, "env": settings.env, "fingerprint": keys.fingerprint, "signed": signed}
    entries = int(told["state"]["last_seq"])
    write_private(
        draft / "manifest.json", json.dumps(facts | {"entries": entries, "version": VERSION, "files": files}, indent=1)
    )
    with storing(folder):
        sync_tree(draft)
        draft.rename(folder)
        sync_folder(folder.parent)
    return Made(folder, entries, signed, size)


def _begun(settings: Settings, folder: Path) -> tuple[Path, int]:
    """Return the draft of a backup with all that lies in files, and how many entries its tiles were signed over."""
    if folder.exists():
        raise ConfigFault(f"{folder} exists already; a backup is written into a folder of its own")
    draft = folder.with_name(folder.name + ".draft")
    shutil.rmtree(draft, ignore_errors=True)
    private_folder(draft)
    signed = _copy_tiles(settings, draft)
    for name in COPIED:
        if (place(settings) / name).exists():
            with storing(draft):
                shutil.copytree(place(settings) / name, draft / name)
    private_folder(draft / "log")
    return draft, signed


def _copy_tiles(settings: Settings, draft: Path) -> int:
    """Copy the tiles of the newest checkpoint, whole although the notary goes on; return its size."""
    shelf = FolderShelf.of(settings)
    for _ in range(TRIES):
        note = shelf.tiles.get(CHECKPOINT)
        if note is None:
            return 0
        size = Checkpoint.parse(Note.parse(note).text).size
        try:
            for path, data in tiles_of(Tiles(shelf.tiles, size)):
                FolderTiles(draft / "tiles").put(path, data)
        except LogFault:  # a partial tile went while we copied: a newer checkpoint is there
            shutil.rmtree(draft / "tiles", ignore_errors=True)
            continue
        FolderTiles(draft / "tiles").put(CHECKPOINT, note)
        private_folder(draft / "notary")
        write_private(draft / "notary" / MEMORY, _newer(note.decode(), shelf.recall()))
        return size
    raise LogFault("the tiles changed too fast to be copied, or some are missing; see `nimmerverse audit verify`")


def tiles_of(tiles: Tiles) -> Iterator[tuple[str, bytes]]:
    """Yield every file of a tree: path and bytes; LogFault where one is missing."""
    level = 0
    while tiles.size >> (HEIGHT * level):
        for tile in range(-(-(tiles.size >> (HEIGHT * level)) // WIDTH)):
            width = tiles.width_at(level, tile)
            hashes = [tiles.node(HEIGHT * level, tile * WIDTH + at) for at in range(width)]
            yield tile_path(level, tile, width), b"".join(hashes)
            if level == 0:
                yield tile_path("entries", tile, width), bundle(tiles.bundle_at(tile))
        level += 1


def sync_tree(folder: Path) -> None:
    """Have every file below a folder, and every name, on disk when this returns."""
    for path in (*folder.rglob("*"), folder):
        if not path.is_symlink() and (path.is_file() or path.is_dir()):
            sync_folder(path)


def digest_of(path: Path) -> dict[str, Any]:
    """Return a file's size and SHA-256 as a manifest has them."""
    with path.open("rb") as file:
        return {"size": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _newer(published: str, remembered: str | None) -> str:
    """Return what the notary remembers where it is newer: it remembers before it publishes."""
    if remembered is None:
        return published
    sizes = [Checkpoint.parse(Note.parse(note).text).size for note in (published, remembered)]
    return remembered if sizes[1] > sizes[0] else published


def _all_of(written: int, chunk: bytes) -> None:
    if written != len(chunk):
        raise StorageFault(f"only {written} of {len(chunk)} bytes were written")
