"""The log's tiles: a tree kept as files is the tree in memory, however it was written, and damage is named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import LogFault, StorageFault
from shared.log.store import FolderTiles, MemoryTiles
from shared.log.tiles import WIDTH, Tiles, TileWriter, bundle, tile_path, unbundle
from shared.log.tree import (
    BadProof,
    consistency_proof,
    inclusion_proof,
    leaf_hashes,
    root_from,
    root_of_hashes,
    verify_consistency,
    verify_inclusion,
)

pytestmark = pytest.mark.spec("X-04")

FIXED = settings(max_examples=40)
LEAVES = [b"%d" % n * (n % 7) for n in range(100_000)]
HASHES = leaf_hashes(LEAVES)
ROOTS = {size: root_of_hashes(HASHES[:size]) for size in (5, 300, 66_000)}


def written(leaves: Sequence[bytes]) -> MemoryTiles:
    """The tiles of these leaves, written and sealed at once."""
    tiles = MemoryTiles()
    writer = TileWriter(tiles)
    writer.extend(leaves)
    writer.seal()
    return tiles


def fault(call: Callable[[], object]) -> str:
    """The sentence of the LogFault that a call ends in."""
    with pytest.raises(LogFault) as caught:
        call()
    return str(caught.value)


def whole(tiles: MemoryTiles, size: int) -> dict[str, bytes]:
    """The tiles that a tree of this size consists of: every full one, and the partial ones of exactly this size."""
    partial = {f"{path}.p/{width}" for path, width in last_widths(size)}
    return {path: data for path, data in tiles.files.items() if ".p/" not in path or path in partial}


def last_widths(size: int) -> list[tuple[str, int]]:
    """Each level's last tile of a tree, with how much of it is filled."""
    levels: list[tuple[int | str, int]] = [("entries", size), *((level, size >> (8 * level)) for level in range(4))]
    return [(tile_path(level, count // WIDTH), count % WIDTH) for level, count in levels]


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 1000, 65_535, 65_536, 65_537, 100_000])
def test_a_tree_comes_back(size: int) -> None:
    """Root, leaves and random proofs of a tree of any size, read from its tiles, are those of the tree in memory."""
    tiles = Tiles(written(LEAVES[:size]), size)
    root = root_of_hashes(HASHES[:size])
    assert tiles.lead_to(root)
    assert not tiles.lead_to(bytes(32))
    assert root == root_from(tiles.node, size)
    assert LEAVES[:size] == list(tiles.leaves())
    assert HASHES[:size] == tiles.leaf_hashes(0, size)
    random = Random(size)
    for index in random.sample(range(size), min(size, 20)):
        assert LEAVES[index] == tiles.leaf(index)
        proof = inclusion_proof(tiles.node, index, size)
        verify_inclusion(index, size, HASHES[index], proof, root)
        assert LEAVES[index : min(index + 300, size)] == list(islice(tiles.leaves(index), 300))
        proof = consistency_proof(tiles.node, index + 1, size)
        verify_consistency(index + 1, size, proof, root_of_hashes(HASHES[: index + 1]), root)


@FIXED
@given(st.lists(st.integers(0, 700), max_size=6), st.data())
def test_stopping_changes_nothing(steps: list[int], data: st.DataObject) -> None:
    """A writer stopped and resumed at any size, however often, writes what one writes that never stops."""
    tiles = MemoryTiles()
    writer = TileWriter(tiles)
    for step in steps:
        writer.extend(LEAVES[writer.size : writer.size + step])
        writer.seal()
        if data.draw(st.booleans()):
            writer = TileWriter.resume(tiles, writer.size)
    assert whole(written(LEAVES[: writer.size]), writer.size) == whole(tiles, writer.size)
    assert root_of_hashes(HASHES[: writer.size]) == writer.root()
    assert (HASHES[writer.size - 1] if writer.size else b"") == writer.last
    assert LEAVES[: writer.size] == list(Tiles(tiles, writer.size).leaves())


class PowerCut(Exception):
    """The machine stops here."""


class Failing(MemoryTiles):
    """Tiles on a machine that stops after so many writes."""

    def __init__(self, files: dict[str, bytes], left: int) -> None:
        super().__init__()
        self.files, self.left = dict(files), left

    def put(self, path: str, data: bytes) -> None:
        if self.left == 0:
            raise PowerCut
        self.left -= 1
        super().put(path, data)


@FIXED
@given(st.integers(0, 600), st.integers(1, 700), st.data())
def test_a_crash_between_tiles_and_checkpoint(before: int, more: int, data: st.DataObject) -> None:
    """Whatever of an append was written before a crash, the last checkpoint's tree stands; done again, it is whole."""
    sealed, size = written(LEAVES[:before]), before + more
    last = data.draw(st.integers(0, 12))
    disk = Failing(sealed.files, last)
    try:
        writer = TileWriter.resume(disk, before)
        writer.extend(LEAVES[before:size])
        obsolete = writer.seal()
        for path in data.draw(st.lists(st.sampled_from(obsolete or ["none"]))):
            disk.remove(path)
    except PowerCut:
        pass
    disk.left = -1
    assert root_of_hashes(HASHES[:before]) == root_from(Tiles(disk, before).node, before)
    assert LEAVES[:before] == list(Tiles(disk, before).leaves())
    again = TileWriter.resume(disk, before)
    assert root_of_hashes(HASHES[:before]) == again.root()
    again.extend(LEAVES[before:size])
    for path in again.seal():
        disk.remove(path)
    expected = whole(written(LEAVES[:size]), size)
    assert expected == {path: disk.files[path] for path in expected}
    assert LEAVES[:size] == list(Tiles(disk, size).leaves())


def test_partial_tiles_go_with_their_full_one() -> None:
    """Partial tiles stay while an older checkpoint needs them; the seal that fills a tile names their folder."""
    tiles = MemoryTiles()
    writer = TileWriter(tiles)
    for size in (3, 250):
        writer.extend(LEAVES[writer.size : size])
        assert [] == writer.seal()
    assert [b"".join(HASHES[:3])] == [tiles.files["tile/0/000.p/3"]]
    assert root_of_hashes(HASHES[:3]) == root_from(Tiles(tiles, 3).node, 3)
    writer.extend(LEAVES[250:260])
    obsolete = writer.seal()
    assert ["tile/entries/000.p", "tile/0/000.p"] == obsolete
    for path in obsolete:
        tiles.remove(path)
    expected = ["tile/0/000", "tile/0/001.p/4", "tile/1/000.p/1", "tile/entries/000", "tile/entries/001.p/4"]
    assert expected == sorted(tiles.files)
    for size in (1, 3, 250, 256, 260):
        assert root_of_hashes(HASHES[:size]) == root_from(Tiles(tiles, size).node, size)
        assert LEAVES[:size] == list(Tiles(tiles, size).leaves())
    assert [] == writer.seal()


def test_seal_writes_what_is_new_only() -> None:
    """A tile that already lies there is not written again, by the writer that wrote it or one that was resumed."""
    sealed = written(LEAVES[:70_000])
    disk = Failing(sealed.files, 0)
    assert [] == TileWriter.resume(disk, 70_000).seal()
    writer = TileWriter.resume(disk, 70_000)
    disk.left = 2  # of the five partial tiles, one more leaf changes the bundle and level 0
    writer.extend(LEAVES[70_000:70_001])
    writer.seal()
    assert 0 == disk.left
    assert root_of_hashes(HASHES[:70_001]) == root_from(Tiles(disk, 70_001).node, 70_001)


def test_paths_are_the_published_ones() -> None:
    """A tile's path has groups of three digits, and a tree of 70,000 leaves has the tiles of C2SP's example."""
    assert "tile/0/x001/x234/067" == tile_path(0, 1_234_067)
    assert "tile/entries/x001/000.p/7" == tile_path("entries", 1_000, 7)
    assert ["tile/2/000", "tile/2/999", "tile/2/x001/000"] == [tile_path(2, n) for n in (0, 999, 1_000)]
    files = written(LEAVES[:70_000]).files
    for level, full in (("entries", 273), ("0", 273), ("1", 1), ("2", 0)):
        assert full == sum(path.startswith(f"tile/{level}/") and ".p/" not in path for path in files)
    partial = ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1", "tile/entries/273.p/112"]
    assert partial == sorted(path for path in files if ".p/" in path)
    assert all(len(data) == 8_192 for path, data in files.items() if "entries" not in path and ".p/" not in path)


@pytest.mark.parametrize("size", [7, 600, 66_000])
def test_damage_is_named(size: int) -> None:
    """A tile that is missing, cut short or longer than it may be ends in a LogFault that says which one."""
    sound = written(LEAVES[:size])
    for path, data in sorted(sound.files.items()):
        if len(sound.files) > 20 and path.split("/")[2] not in {"000", "000.p", "001.p"}:
            continue
        for damage in (None, b"", data[:-1], data + b"\0", data[:-32], data + data[-32:]):
            damaged = MemoryTiles()
            damaged.files = {**sound.files, path: damage} if damage is not None else dict(sound.files)
            if damage is None:
                del damaged.files[path]
            assert path in fault(lambda tiles=damaged: read_all(tiles, size)), (path, damage)


def read_all(store: MemoryTiles, size: int) -> None:
    """Everything there is in a tree's tiles: each hash of each level, and each leaf."""
    tiles = Tiles(store, size)
    for level in range(3):
        for index in range(0, size >> (8 * level), WIDTH):
            tiles.node(8 * level, index)
    for _ in tiles.leaves():
        pass


@cache
def files_of(size: int) -> dict[str, bytes]:
    """The tiles of a tree, by path."""
    return written(LEAVES[:size]).files


def proven(tiles: Tiles, index: int) -> bool:
    """Whether the proof that tiles give of a leaf leads to the right root."""
    path = inclusion_proof(tiles.node, index, tiles.size)
    try:
        verify_inclusion(index, tiles.size, HASHES[index], path, ROOTS[tiles.size])
    except BadProof:
        return False
    return True


def hashes_or_fault(tiles: Tiles, path: str) -> list[bytes]:
    """The hashes of a tree's leaves; nothing where a fault names this tile."""
    try:
        return leaf_hashes(list(tiles.leaves()))
    except LogFault as named:
        if path not in str(named):
            raise
        return []


@FIXED
@given(st.sampled_from(sorted(ROOTS)), st.data())
def test_a_flipped_bit_shows(size: int, data: st.DataObject) -> None:
    """One changed bit in any tile gives other leaves, another root, or a proof that fails, or is a named fault."""
    sound = MemoryTiles()
    sound.files = dict(files_of(size))
    path = data.draw(st.sampled_from(sorted(sound.files)))
    raw = bytearray(sound.files[path])
    bit = data.draw(st.integers(0, 8 * len(raw) - 1))
    raw[bit // 8] ^= 1 << bit % 8
    sound.files[path] = bytes(raw)
    tiles = Tiles(sound, size)
    if "entries" in path:
        changed = HASHES[:size] != hashes_or_fault(tiles, path)
    else:
        level, tile = int(path.split("/")[1]), int(path.split("/")[2].removesuffix(".p"))
        beside = ((tile * WIDTH + bit // 256) ^ 1) << (8 * level)  # its proof holds the changed hash
        changed = ROOTS[size] != root_from(tiles.node, size) or not proven(tiles, beside)
        assert not Tiles(sound, size).lead_to(ROOTS[size])
    assert changed


def test_what_is_not_in_the_tree() -> None:
    """Leaves and nodes beyond a tree's size are named, never read from a fuller tile."""
    sound = written(LEAVES[:257])
    sound.files |= written(LEAVES[:600]).files
    tiles = Tiles(sound, 257)
    assert "no leaf 257" in fault(lambda: tiles.leaf(257))
    assert "no leaf -1" in fault(lambda: tiles.leaf(-1))
    assert "no node 257 at level 0" in fault(lambda: tiles.node(0, 257))
    assert "no node 1 at level 8" in fault(lambda: tiles.node(8, 1))
    assert "no tile 0/2" in fault(lambda: tiles.leaf_hashes(512, 513))
    assert [] == list(tiles.leaves(257))
    assert "tile/entries/000.p/255 is missing" in fault(lambda: Tiles(written(LEAVES[:9]), 255).leaf(3))


def test_resuming_without_tiles() -> None:
    """A writer is not resumed over tiles that are missing: the fault names one."""
    sealed = written(LEAVES[:300])
    del sealed.files["tile/1/000.p/1"]
    assert "tile/1/000.p/1 is missing" in fault(lambda: TileWriter.resume(sealed, 300))
    assert "001.p/45 is missing" in fault(lambda: TileWriter.resume(sealed, 301))


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_bundles_come_back(leaves: list[bytes]) -> None:
    """A bundle gives back its leaves, and no cut of it passes for another but at a leaf's end."""
    raw = bundle(leaves)
    assert leaves == unbundle(raw, "here")
    ends = {len(bundle(leaves[:n])) for n in range(len(leaves) + 1)}
    for cut in range(len(raw)):
        if cut not in ends:
            assert "here is cut short" in fault(lambda cut=cut: unbundle(raw[:cut], "here"))


def test_a_folder_keeps_what_memory_keeps(tmp_path: Path) -> None:
    """Tiles in a folder are byte for byte those in memory, private, and removed with the folder that is obsolete."""
    kept, memory = FolderTiles(tmp_path / "tiles"), MemoryTiles()
    for keeper in (kept, memory):
        writer = TileWriter(keeper)
        for size in (200, 255, 1000):
            writer.extend(LEAVES[writer.size : size])
            for path in writer.seal():
                keeper.remove(path)
        keeper.remove("tile/0/999")
    found = {str(path.relative_to(kept.folder)): path for path in kept.folder.rglob("*") if path.is_file()}
    assert memory.files == {name: path.read_bytes() for name, path in found.items()}
    assert {0o600} == {path.stat().st_mode & 0o777 for path in found.values()}
    folders = sorted(str(path.relative_to(kept.folder)) for path in kept.folder.rglob("*.p"))
    assert ["tile/0/003.p", "tile/1/000.p", "tile/entries/003.p"] == folders
    assert (None, None) == (kept.get("tile/0"), kept.get("tile/0/000/1"))


def test_a_folder_names_what_the_machine_refuses(tmp_path: Path) -> None:
    """A tile that cannot be read is a LogFault, one that cannot be written a StorageFault; a link is never followed."""
    tiles = FolderTiles(tmp_path / "tiles")
    tiles.put("tile/0/000", b"x")
    (tmp_path / "tiles/tile/0/001").symlink_to("001")
    assert "tile/0/001 cannot be read" in fault(lambda: tiles.get("tile/0/001"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"mine")
    (tmp_path / "tiles/tile/0/002.draft").symlink_to(elsewhere)
    with pytest.raises(StorageFault, match="002"):
        tiles.put("tile/0/002", b"theirs")
    assert b"mine" == elsewhere.read_bytes()
    with pytest.raises(StorageFault, match="000"):
        tiles.put("tile/0/000/000", b"y")


def test_a_cut_short_draft_is_no_tile(tmp_path: Path) -> None:
    """What a crash leaves of a tile that was being written is no tile, and the next write replaces it."""
    tiles = FolderTiles(tmp_path / "tiles")
    tiles.put("tile/0/000", b"old")
    (tmp_path / "tiles/tile/0/000.draft").write_bytes(b"ne")
    assert b"old" == tiles.get("tile/0/000")
    tiles.put("tile/0/000", b"new")
    assert b"new" == tiles.get("tile/0/000")
    assert ["000"] == [path.name for path in (tmp_path / "tiles/tile/0").iterdir()]
