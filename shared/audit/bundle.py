"""A bundle: one file that holds a log as it stood under one checkpoint, and everything needed to check it offline.

    manifest.json   what is inside, each member with size and SHA-256
    checkpoint, tile/…, tile/entries/…      the log: C2SP tlog-tiles of exactly the checkpoint's size
    leaf/…          instead of tile/entries, in a partial bundle: the chosen leaves and every one of the key lane
    keys.json       a copy of the key history, for people; anchors/…; verify.py, the stand-alone verifier; README.txt

The same log at the same checkpoint makes the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import msgspec
from msgspec import Meta

from shared.audit.report import Bad, Judged, Report
from shared.audit.source import FolderSource, read_leaf
from shared.audit.verify import Options, verify, verify_chosen
from shared.audit.zipped import BrokenBundle, read_zip, write_zip
from shared.errors import Exit, LogFault
from shared.log.checkpoint import Checkpoint
from shared.log.entry import Entry
from shared.log.note import BadNote, Note
from shared.log.tiles import CHECKPOINT, HEIGHT, WIDTH, Tiles, TileStore, bundle, tile_path, unbundle
from shared.log.tree import HASH_BYTES, inclusion_proof, leaf_hash

FORMAT = "nimmerverse-bundle-v1"
MANIFEST = "manifest.json"
KEYS = "keys.json"
VERIFIER = Path(__file__).parent / "stand_alone" / "verify.py"
_SNAPSHOT_TRIES = 10
_LEAF, _ENTRIES = "leaf/", "tile/entries/"
_TILE = re.compile(r"tile/(?P<level>entries|[0-7])/(?P<number>[x0-9/]+?)(\.p/[0-9]+)?")

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


Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class _Listed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One member as the manifest lists it."""

    name: str
    size: Count
    sha256: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a bundle says of itself; each word of it is compared with the log inside."""

    format: Literal["nimmerverse-bundle-v1"]
    kind: Literal["complete", "partial"]
    origin: str
    size: Count
    fingerprint: str
    signed_at_s: Count | None
    indices: list[Count]
    members: list[_Listed]


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


class BundleSource(FolderSource):
    """The log in a bundle. BrokenBundle where the file is not what its manifest lists; close it after use."""

    def __init__(self, path: Path) -> None:
        self.file: BinaryIO = path.open("rb")
        super().__init__(self, str(path))
        try:
            self.members = read_zip(self.file)
            self.manifest = self._manifest()
            self.changed = self._compared()
        except BrokenBundle:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def get(self, path: str) -> bytes | None:
        """Return a member's bytes: a bundle is a store of tiles."""
        member = self.members.get(path)
        if member is None:
            return None
        self.file.seek(member.start)
        return self.file.read(member.size)

    async def batches(self) -> AsyncIterator[list[Entry]]:
        if self.manifest.kind == "complete":
            async for batch in super().batches():
                yield batch
            return
        for index in self.manifest.indices:
            yield [read_leaf(index, self.get(f"{_LEAF}{index}") or b"")]

    def _manifest(self) -> Manifest:
        if next(iter(self.members), None) != MANIFEST:
            raise BrokenBundle(Exit.TAMPERED, "the first member is not manifest.json: this is no bundle")
        raw = self.get(MANIFEST) or b""
        try:
            manifest = msgspec.json.decode(raw, type=Manifest)
            same = _json(msgspec.to_builtins(manifest)) == raw
        except (ValueError, RecursionError):
            raise BrokenBundle(Exit.TAMPERED, "manifest.json is not written as a bundle's is") from None
        if not same:
            raise BrokenBundle(Exit.TAMPERED, "manifest.json is not written as a bundle's is")
        if manifest.indices != sorted(set(manifest.indices)):
            raise BrokenBundle(Exit.TAMPERED, "the indices in manifest.json are not in order")
        if any(index >= manifest.size for index in manifest.indices):
            raise BrokenBundle(Exit.TAMPERED, "manifest.json speaks of entries that no log has")
        return manifest

    def _compared(self) -> list[str]:
        """Return the members whose bytes are not the ones listed; BrokenBundle where more or less is there."""
        listed = {member.name: member for member in self.manifest.members}
        there = [name for name in self.members if name != MANIFEST]
        if more := [name for name in there if name not in listed]:
            raise BrokenBundle(Exit.ENLARGED, f"{more[0]} is not listed in the manifest")
        if lost := [name for name in listed if name not in self.members]:
            raise BrokenBundle(Exit.TRUNCATED, f"{lost[0][:99]} is listed in the manifest and not there")
        if there != [member.name for member in self.manifest.members]:
            raise BrokenBundle(Exit.TAMPERED, "the members are not in the manifest's order, or one is listed twice")
        changed = [] if self.members[MANIFEST].whole else [MANIFEST]
        for name in there:
            found, told = self.members[name], listed[name]
            if found.size != told.size:
                code = Exit.TRUNCATED if found.size < told.size else Exit.ENLARGED
                raise BrokenBundle(code, f"{name} has {found.size} bytes, the manifest lists {told.size}")
            if found.sha256 != told.sha256 or not found.whole:
                changed.append(name)
        for name in there:
            if name.startswith(("tile/", _LEAF)) and name not in changed and not self._belongs(name):
                why = f"{name} holds more than the tree of {self.manifest.size} entries"
                raise BrokenBundle(Exit.ENLARGED, why)
        return changed

    def _belongs(self, name: str) -> bool:
        """Say whether a tile is one of this tree, and holds no more than its share of it."""
        partial = self.manifest.kind == "partial"
        if name.startswith(_LEAF):
            return partial and int(name.removeprefix(_LEAF)) in self.manifest.indices
        level, number = _tile_of(name)
        width = min(WIDTH, (self.manifest.size >> (HEIGHT * (level or 0))) - number * WIDTH)
        if width <= 0 or name != tile_path("entries" if level is None else level, number, width):
            return False
        if level is None:
            return not partial and len(_leaves(self.get(name) or b"")) <= width
        return self.members[name].size <= width * HASH_BYTES


async def verify_bundle(path: Path, options: Options | None = None) -> Report:
    """Check a bundle and return what was found: that it is what it lists, the log in it, what it says of that log."""
    try:
        source = BundleSource(path)
    except BrokenBundle as broken:
        report = Report(str(path), "bundle")
        report.integrity.object(broken.exit, str(broken))
        return report
    try:
        manifest = source.manifest
        if manifest.kind == "partial":
            report = await verify_chosen(source, manifest.indices, options)
        else:
            report = await verify(source, options)
        if source.changed:
            _blame(source, report)
        elif report.integrity.ok and report.completeness.ok:
            _agree(source, report)
        return report
    finally:
        source.close()


def _blame(source: BundleSource, report: Report) -> None:
    """A member was changed since the bundle was made: name it, and the first entry that it touches."""
    name = min(source.changed, key=list(source.members).index)
    if report.integrity.exit is Exit.TAMPERED:
        return
    report.integrity = Judged()
    why, index = f"{name} is not what the manifest lists", _first_changed(source, name)
    if index is None:
        report.integrity.object(Exit.TAMPERED, why)
    else:
        report.tampered(Bad(index, 0, index + 1, "", "", why))


def _first_changed(source: BundleSource, name: str) -> int | None:
    """Return the first entry of a changed member that is not the one in the tiles; None where it holds no entries."""
    if name.startswith(_LEAF):
        return int(name.removeprefix(_LEAF))
    if not name.startswith(_ENTRIES):
        return None
    _, tile = _tile_of(name)
    leaves = _leaves(source.get(name) or b"")
    tiles = Tiles(source, source.manifest.size)
    try:
        known = [tiles.node(0, tile * WIDTH + place) for place in range(max(1, tiles.width_at(0, tile)))]
    except LogFault:
        return tile * WIDTH
    same = (leaf_hash(leaf) == hashed for leaf, hashed in zip(leaves, known, strict=False))
    return tile * WIDTH + next((i for i, one in enumerate(same) if not one), min(len(leaves), len(known) - 1))


def _agree(source: BundleSource, report: Report) -> None:
    """Hold what a bundle says of its log, in manifest and keys.json, against the log itself."""
    told = source.manifest
    found = (report.origin, report.signed, report.fingerprint, report.signed_at_s)
    if found != (told.origin, told.size, told.fingerprint, told.signed_at_s):
        report.integrity.object(Exit.MIXED, "the manifest speaks of another log, or of another state of it")
    if source.get(KEYS) not in (None, _json(report.keys)):
        report.integrity.object(Exit.MIXED, "keys.json is not the key history of these entries")


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
        (KEYS, _json(report.keys)),
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
        members=[_Listed(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in members()],
    )
    first = [(MANIFEST, _json(msgspec.to_builtins(manifest)))]
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
        yield f"{_LEAF}{index}", tiles.leaf(index)


def _tile_of(name: str) -> tuple[int | None, int]:
    """Return the level (None: entries) and the number of a tile's name."""
    found = _TILE.fullmatch(name)
    assert found is not None, "a member's name was checked"
    number = int(found["number"].replace("x", "").replace("/", ""))
    return (None if found["level"] == "entries" else int(found["level"])), number


def _leaves(data: bytes) -> list[bytes]:
    """Return the leaves of an entry bundle up to where it is cut short."""
    at = 0
    while at + 2 <= len(data) and at + 2 + int.from_bytes(data[at : at + 2], "big") <= len(data):
        at += 2 + int.from_bytes(data[at : at + 2], "big")
    return unbundle(data[:at], "")


def _json(value: object) -> bytes:
    """Return the one spelling of a value that a bundle has."""
    return (json.dumps(value, indent=1) + "\n").encode()
