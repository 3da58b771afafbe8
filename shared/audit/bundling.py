"""Writing a bundle: the log as it stood under one checkpoint, whole or chosen entries, in one deterministic zip."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO

import msgspec

from shared.audit.bundle import FORMAT, KEYS, LEAF, MANIFEST, VERIFIER, Listed, Manifest, plain_json
from shared.audit.report import Report
from shared.audit.zipped import write_zip
from shared.errors import LogFault
from shared.log.checkpoint import Checkpoint
from shared.log.note import BadNote, Note
from shared.log.tiles import CHECKPOINT, HEIGHT, WIDTH, Tiles, TileStore, bundle, tile_path
from shared.log.tree import HASH_BYTES, inclusion_proof

_SNAPSHOT_TRIES = 10

README = """\
This file holds a log of signed decisions as it stood under one checkpoint{partial}.
  log      {origin}
  entries  {size}
  genesis  {fingerprint}

To check it offline, with nothing of the software that wrote it (Python 3.11 or later):
  pip install blake3 pynacl
  python verify.py THIS.zip --trust FINGERPRINT
Take verify.py and FINGERPRINT from somewhere else than this file: the copies in here are for convenience, and whoever
changed the log could have changed them. `nimmerverse audit verifier` prints verify.py; read it, it is one file.
0 means verified, and every other exit code has its sentence. Format: C2SP tlog-tiles (tile/, checkpoint), signed note.
"""


class Snapshot:
    """A store as it stood under one checkpoint, while a notary goes on.

    Full tiles never change; the partial ones at the edge are replaced with the next checkpoint: they are read at once.
    """

    def __init__(self, store: TileStore) -> None:
        self._store = store
        self._edge: dict[str, bytes | None] = {}
        for _ in range(_SNAPSHOT_TRIES):
            note = store.get(CHECKPOINT)
            self._edge = {path: store.get(path) for path in _edge(note)} | {CHECKPOINT: note}
            if None not in self._edge.values() or store.get(CHECKPOINT) == note:
                return

    def get(self, path: str) -> bytes | None:
        return self._edge[path] if path in self._edge else self._store.get(path)


def write_bundle(
    file: BinaryIO,
    store: TileStore,
    report: Report,
    anchors: Sequence[tuple[str, bytes]] = (),
    indices: Sequence[int] | None = None,
) -> Manifest:
    """Write the log that `report` is of; `indices` makes it a partial bundle. LogFault without a checkpoint."""
    note = store.get(CHECKPOINT)
    if note is None:
        raise LogFault("there is no checkpoint: nothing was signed yet that a bundle could show")
    size = Checkpoint.parse(Note.parse(note).text).size
    told: dict[str, Any] = {"origin": report.origin, "size": size, "fingerprint": report.fingerprint}
    words = f", and of it only {len(indices)} chosen entries" if indices is not None else ""
    head = [
        (CHECKPOINT, note),
        (KEYS, plain_json(report.keys)),
        ("README.txt", README.format(partial=words, **told).encode()),
        ("verify.py", VERIFIER.read_bytes()),
        *sorted(anchors),
    ]

    sound = report.integrity.ok and report.completeness.ok

    def members() -> Iterator[tuple[str, bytes]]:
        yield from head
        yield from _whole(store, size, sound=sound) if indices is None else _chosen(store, size, indices)

    manifest = Manifest(
        FORMAT,
        "complete" if indices is None else "partial",
        **told,
        signed_at_s=report.signed_at_s,
        indices=list(indices or ()),
        members=[Listed(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in members()],
    )
    first = [(MANIFEST, plain_json(msgspec.to_builtins(manifest)))]
    write_zip(file, _both(first, members()))
    return manifest


def _both(first: Iterable[tuple[str, bytes]], then: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    yield from first
    yield from then


def _edge(note: bytes | None) -> list[str]:
    """Return the partial tiles of the tree that a checkpoint speaks of."""
    try:
        size = Checkpoint.parse(Note.parse(note or b"").text).size
    except BadNote:
        return []
    paths = [tile_path("entries", size // WIDTH, size % WIDTH)] if size % WIDTH else []
    level = 0
    while rest := size >> (HEIGHT * level):
        paths += [tile_path(level, rest // WIDTH, rest % WIDTH)] if rest % WIDTH else []
        level += 1
    return paths


def _whole(store: TileStore, size: int, *, sound: bool) -> Iterator[tuple[str, bytes]]:
    """Yield every tile of a tree, exactly as wide as the tree makes it.

    LogFault where one is missing, unless the log is not sound anyway: then it is left out.
    """
    tiles = Tiles(store, size)
    level = 0
    while size >> (HEIGHT * level):
        for tile in range(-(-(size >> (HEIGHT * level)) // WIDTH)):
            width = tiles.width_at(level, tile)
            path = tile_path(level, tile, width)
            data = store.get(path) or store.get(tile_path(level, tile))
            if data is not None:
                yield path, data[: width * HASH_BYTES]
            elif sound:
                raise LogFault(f"{path} is missing; `--as-found` leaves it out")
        level += 1
    for tile in range(-(-size // WIDTH)):
        path = tile_path("entries", tile, min(WIDTH, size - tile * WIDTH))
        try:
            yield path, bundle(tiles.bundle_at(tile))
        except LogFault:
            data = store.get(path)
            if data is not None:
                yield path, data


def _chosen(store: TileStore, size: int, indices: Sequence[int]) -> Iterator[tuple[str, bytes]]:
    """Yield the tiles that the proofs of some entries need, and their leaves."""
    tiles = Tiles(store, size)
    needed: set[tuple[int, int]] = set()

    def node(level: int, index: int) -> bytes:
        tall, rest = divmod(level, HEIGHT)
        needed.add((tall, (index << rest) // WIDTH))
        return tiles.node(level, index)

    for index in indices:
        inclusion_proof(node, index, size)
    for level, tile in sorted(needed):
        width = tiles.width_at(level, tile)
        data = store.get(tile_path(level, tile, width)) or store.get(tile_path(level, tile)) or b""
        yield tile_path(level, tile, width), data[: width * HASH_BYTES]
    for index in indices:
        yield f"{LEAF}{index}", tiles.leaf(index)
