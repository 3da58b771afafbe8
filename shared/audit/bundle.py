"""A bundle: one file that holds a log as it stood under one checkpoint, and everything needed to check it offline.

    manifest.json   what is inside, each member with size and SHA-256
    checkpoint, tile/…, tile/entries/…      the log: C2SP tlog-tiles of exactly the checkpoint's size
    leaf/…          instead of tile/entries, in a partial bundle: the chosen leaves and every one of the key lane
    keys.json       a copy of the key history, for people; anchors/…; verify.py, the stand-alone verifier; README.txt

The same log at the same checkpoint makes the same bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

import msgspec
from msgspec import Meta

from shared.audit.reading import Options
from shared.audit.report import Bad, Judged, Report
from shared.audit.source import FolderSource, Stored, read_leaf
from shared.audit.verify import verify, verify_chosen
from shared.audit.zipped import BrokenBundle, read_zip
from shared.errors import Exit, LogFault
from shared.log.tiles import HEIGHT, WIDTH, Tiles, tile_path, unbundle
from shared.log.tree import HASH_BYTES, leaf_hash

FORMAT = "nimmerverse-bundle-v1"
MANIFEST = "manifest.json"
KEYS = "keys.json"
VERIFIER = Path(__file__).parent / "stand_alone" / "verify.py"
LEAF, _ENTRIES = "leaf/", "tile/entries/"
_TILE = re.compile(r"tile/(?P<level>entries|[0-7])/(?P<number>[x0-9/]+?)(\.p/[0-9]+)?")

Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class Listed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
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
    members: list[Listed]


class BundleSource(FolderSource):
    """The log in a bundle. BrokenBundle where the file is not what its manifest lists; close it after use."""

    def __init__(self, path: Path) -> None:
        try:
            self.file: BinaryIO = path.open("rb")
        except OSError as error:
            raise LogFault(f"{path} cannot be read ({error.strerror})") from None
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

    async def batches(self) -> AsyncIterator[list[Stored]]:
        if self.manifest.kind == "complete":
            async for batch in super().batches():
                yield batch
            return
        for index in self.manifest.indices:
            yield [read_leaf(index, self.get(f"{LEAF}{index}") or b"")]

    def _manifest(self) -> Manifest:
        if next(iter(self.members), None) != MANIFEST:
            raise BrokenBundle(Exit.TAMPERED, "the first member is not manifest.json: this is no bundle")
        raw = self.get(MANIFEST) or b""
        try:
            manifest = msgspec.json.decode(raw, type=Manifest)
            same = plain_json(msgspec.to_builtins(manifest)) == raw
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
            if name.startswith(("tile/", LEAF)) and name not in changed and not self._belongs(name):
                why = f"{name} holds more than the tree of {self.manifest.size} entries"
                raise BrokenBundle(Exit.ENLARGED, why)
        return changed

    def _belongs(self, name: str) -> bool:
        """Say whether a tile is one of this tree, and holds no more than its share of it."""
        partial = self.manifest.kind == "partial"
        if name.startswith(LEAF):
            return partial and int(name.removeprefix(LEAF)) in self.manifest.indices
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
        why = "this is no bundle that could be read"
        rest: list[str] = ["completeness", "freshness", "admission", "trust"]
        unasked = dict.fromkeys(rest, why)
        report = Report(str(path), "bundle", unasked=unasked)
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
    if name.startswith(LEAF):
        return int(name.removeprefix(LEAF))
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
    if source.get(KEYS) not in (None, plain_json(report.keys)):
        report.integrity.object(Exit.MIXED, "keys.json is not the key history of these entries")


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


def plain_json(value: object) -> bytes:
    """Return the one spelling of a value that a bundle has."""
    return (json.dumps(value, indent=1) + "\n").encode()
