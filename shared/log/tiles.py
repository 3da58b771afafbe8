"""The tree on disk as tiles: 256 hashes a file, in the layout that other transparency logs read.

    tile/<level>/<n>[.p/<w>]     hashes: level 0 of leaves, level l of the roots of full tiles below
    tile/entries/<n>[.p/<w>]     the leaves themselves, each behind its u16 length
    checkpoint                   the newest signed checkpoint

<n> is written in groups of three digits, all but the last behind an x; a partial tile has w < 256 hashes. Full tiles
never change. Source: C2SP tlog-tiles.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final, Protocol

from shared.errors import LogFault
from shared.log.tree import HASH_BYTES, leaf_hashes, node_hash, root_from, root_of_hashes

WIDTH: Final = 256
HEIGHT: Final = 8  #: 2 to this power is WIDTH
CHECKPOINT: Final = "checkpoint"
_LENGTH_BYTES: Final = 2


class TileStore(Protocol):
    """Where tiles lie: files in a folder, members of a bundle, or memory."""

    def get(self, path: str) -> bytes | None:
        """Return what lies at `path`, None where nothing does; LogFault where it cannot be read."""
        ...


class TileKeeper(TileStore, Protocol):
    """Where tiles can also be put."""

    def put(self, path: str, data: bytes) -> None:
        """Write `path` whole and durably. Raises StorageFault."""
        ...

    def remove(self, path: str) -> None:
        """Forget `path`, and what lies below it if it is a folder; nothing happens where there is nothing."""
        ...


def tile_path(level: int | str, index: int, width: int = WIDTH) -> str:
    """Return where tile `index` of a level lies; level `entries` holds leaves."""
    groups = [f"{index % 1000:03d}"]
    while index >= 1000:  # noqa: PLR2004 - three digits a group
        index //= 1000
        groups.append(f"x{index % 1000:03d}")
    whole = f"tile/{level}/{'/'.join(reversed(groups))}"
    return whole if width == WIDTH else f"{whole}.p/{width}"


def bundle(leaves: Sequence[bytes]) -> bytes:
    """Return an entry bundle."""
    return b"".join([len(leaf).to_bytes(_LENGTH_BYTES, "big") + leaf for leaf in leaves])


def unbundle(data: bytes, where: str) -> list[bytes]:
    """Return the leaves of an entry bundle; LogFault where it is cut short."""
    leaves, at = list[bytes](), 0
    while at < len(data):
        start = at + _LENGTH_BYTES
        at = start + int.from_bytes(data[at:start], "big")
        if start > len(data) or at > len(data):
            raise LogFault(f"{where} is cut short: its leaf {len(leaves)} goes past the end")
        leaves.append(data[start:at])
    return leaves


class Tiles:
    """The tree of the first `size` leaves, read from a store; nothing read is believed until a root is compared."""

    def __init__(self, store: TileStore, size: int) -> None:
        self.store, self.size = store, size
        self._tile = lru_cache(maxsize=512)(self._read_tile)
        self._inner = lru_cache(maxsize=4096)(self._root_in_tile)

    def node(self, level: int, index: int) -> bytes:
        """Return the root of the complete subtree of 2^level leaves; LogFault where its tile is missing or short."""
        if (index + 1) << level > self.size:
            raise LogFault(f"a tree of {self.size} leaves has no node {index} at level {level}")
        tile_level, rest = divmod(level, HEIGHT)
        if rest == 0:
            tile, place = divmod(index, WIDTH)
            return self._tile(tile_level, tile)[place]
        return self._inner(tile_level, rest, index)

    def leaf_hashes(self, start: int, end: int) -> list[bytes]:
        """Return the hashes of leaves start … end − 1."""
        hashes: list[bytes] = []
        for tile in range(start // WIDTH, -(-end // WIDTH)):
            first = tile * WIDTH
            hashes += self._tile(0, tile)[max(0, start - first) : end - first]
        return hashes

    def leaves(self, start: int = 0) -> Iterator[bytes]:
        """Yield the leaves from `start` on, in order; LogFault where a bundle is missing or short."""
        for tile in range(start // WIDTH, -(-self.size // WIDTH) if start < self.size else 0):
            width = min(WIDTH, self.size - tile * WIDTH)
            yield from self.bundle_at(tile)[max(0, start - tile * WIDTH) : width]

    def bundle_at(self, tile: int) -> list[bytes]:
        """Return the leaves of one entry bundle, as many as belong to this tree."""
        width = self.width_at(0, tile)
        path, data, expected = self._find("entries", tile, width)
        leaves = unbundle(data, path)
        if len(leaves) != expected:
            raise LogFault(f"{path} holds {len(leaves)} leaves, {expected} are expected")
        return leaves[:width]

    def leaf(self, index: int) -> bytes:
        """Return one leaf; LogFault where there is none."""
        if not 0 <= index < self.size:
            raise LogFault(f"a tree of {self.size} leaves has no leaf {index}")
        return self.bundle_at(index // WIDTH)[index % WIDTH]

    def lead_to(self, root: bytes) -> bool:
        """Say whether every hash of every tile leads to `root`; LogFault where a tile is missing or short.

        A root read from the tiles would not do: it takes the hash of a full tile from the one above, unseen.
        """
        level = 0
        while full := (self.size >> (HEIGHT * level)) // WIDTH:
            above = HEIGHT * (level + 1)
            if any(root_of_hashes(self._tile(level, tile)) != self.node(above, tile) for tile in range(full)):
                return False
            level += 1
        return root_from(self.node, self.size) == root

    def width_at(self, level: int, tile: int) -> int:
        """Return how many hashes a tile of this tree has."""
        return min(WIDTH, (self.size >> (HEIGHT * level)) - tile * WIDTH)

    def _root_in_tile(self, tile_level: int, rest: int, index: int) -> bytes:
        if rest == 0:
            tile, place = divmod(index, WIDTH)
            return self._tile(tile_level, tile)[place]
        left = self._inner(tile_level, rest - 1, 2 * index)
        return node_hash(left, self._inner(tile_level, rest - 1, 2 * index + 1))

    def _read_tile(self, level: int, tile: int) -> tuple[bytes, ...]:
        width = self.width_at(level, tile)
        path, data, expected = self._find(level, tile, width)
        if len(data) != expected * HASH_BYTES:
            raise LogFault(f"{path} has {len(data)} bytes, {expected * HASH_BYTES} are expected")
        return tuple(data[i : i + HASH_BYTES] for i in range(0, width * HASH_BYTES, HASH_BYTES))

    def _find(self, level: int | str, tile: int, width: int) -> tuple[str, bytes, int]:
        """Return where a tile lies, its bytes, and its width there: a partial one may have been filled meanwhile."""
        if width <= 0:
            raise LogFault(f"a tree of {self.size} leaves has no tile {level}/{tile}")
        for there in dict.fromkeys((width, WIDTH)):
            path = tile_path(level, tile, there)
            data = self.store.get(path)
            if data is not None:
                return path, data, there
        raise LogFault(f"{tile_path(level, tile, width)} is missing")


class TileWriter:
    """Appends leaves to a tree kept as tiles. Owned by one notary; what is not sealed may be written again.

    Full tiles are put as they fill; `seal` puts the partial ones. Only then may a checkpoint of this size be signed.
    A partial tile is obsolete once its full one lies there, not before: an older checkpoint may still need it.
    """

    def __init__(self, keeper: TileKeeper) -> None:
        self.keeper = keeper
        self.size = 0
        self.last = b""  #: the hash of the last leaf
        self._leaves: list[bytes] = []  #: of the last, partial entry bundle
        self._levels: list[list[bytes]] = [[]]  #: of the last, partial tile of each level
        self._partial: set[str] = set()  #: partial tiles that were put
        self._obsolete: list[str] = []  #: folders of partial tiles whose full one was put since the last seal

    @classmethod
    def resume(cls, keeper: TileKeeper, size: int) -> TileWriter:
        """Return a writer that goes on after the first `size` leaves; LogFault where their last tiles are missing."""
        writer, tiles = cls(keeper), Tiles(keeper, size)
        writer.size = size
        writer.last = tiles.node(0, size - 1) if size else b""
        if size % WIDTH:
            writer._leaves = tiles.bundle_at(size // WIDTH)
            writer._partial.add(tile_path("entries", size // WIDTH, size % WIDTH))
        level = 0
        while size >> (HEIGHT * level):
            tile, width = divmod(size >> (HEIGHT * level), WIDTH)
            hashes = [tiles.node(HEIGHT * level, tile * WIDTH + place) for place in range(width)]
            writer._levels[level:] = [hashes, []]
            if width:
                writer._partial.add(tile_path(level, tile, width))
            level += 1
        return writer

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Append leaves in order; tiles that fill are put."""
        for start in range(0, len(leaves), WIDTH):  # bundled and hashed while they are in the processor's cache
            some = leaves[start : start + WIDTH]
            self._leaves += some
            self.size += len(some)
            if len(self._leaves) >= WIDTH:
                self._put_full("entries", self.size // WIDTH - 1, bundle(self._leaves[:WIDTH]))
                del self._leaves[:WIDTH]
            hashes = leaf_hashes(some)
            self.last = hashes[-1]
            self._grow(0, hashes)

    def root(self) -> bytes:
        """Return the root over every leaf so far."""
        root: bytes | None = None
        for hashes in self._levels:
            for part in reversed(_peaks(hashes)):
                root = part if root is None else node_hash(part, root)
        return root if root is not None else root_of_hashes([])

    def seal(self) -> list[str]:
        """Put the partial tiles; return the folders of partial ones that full ones replaced: they may be removed."""
        now: dict[str, bytes] = {}
        if self._leaves:
            now[tile_path("entries", self.size // WIDTH, len(self._leaves))] = bundle(self._leaves)
        for level, hashes in enumerate(self._levels):
            if hashes:
                now[tile_path(level, (self.size >> (HEIGHT * level)) // WIDTH, len(hashes))] = b"".join(hashes)
        for path, data in now.items():
            if path not in self._partial:
                self.keeper.put(path, data)
        self._partial = set(now)
        obsolete, self._obsolete = self._obsolete, []
        return obsolete

    def _put_full(self, level: int | str, tile: int, data: bytes) -> None:
        self.keeper.put(tile_path(level, tile), data)
        self._obsolete.append(f"{tile_path(level, tile)}.p")

    def _grow(self, level: int, hashes: list[bytes]) -> None:
        if level == len(self._levels):
            self._levels.append([])
        held = self._levels[level]
        held += hashes
        if len(held) >= WIDTH:  # at most one tile's worth is added at a time, so at most one fills
            full = held[:WIDTH]
            del held[:WIDTH]
            self._put_full(level, (self.size >> (HEIGHT * level)) // WIDTH - 1, b"".join(full))
            self._grow(level + 1, [root_of_hashes(full)])


def _peaks(hashes: list[bytes]) -> list[bytes]:
    """Return the roots of the complete subtrees that `hashes` split into, the largest first."""
    peaks, at = list[bytes](), 0
    while at < len(hashes):
        width = 1 << ((len(hashes) - at).bit_length() - 1)
        peaks.append(root_of_hashes(hashes[at : at + width]))
        at += width
    return peaks
