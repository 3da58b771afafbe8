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
from shared.log.tree import HASH_BYTES, leaf_hashes, node_hash, root_of_hashes

WIDTH: Final = 256
HEIGHT: Final = 8  #: 2 to this power is WIDTH
CHECKPOINT: Final = "checkpoint"
_LENGTH_BYTES: Final = 2


class TileStore(Protocol):
    """Where tiles lie: files in a folder, members of a bundle, or memory."""

    def get(self, path: str) -> bytes | None:
        """Return what lies at `path`, None where nothing does."""
        ...


class TileKeeper(TileStore, Protocol):
    """Where tiles can also be put."""

    def put(self, path: str, data: bytes) -> None:
        """Write `path` whole and durably. Raises StorageFault."""
        ...

    def remove(self, path: str) -> None:
        """Forget `path`, if it is there."""
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
    return b"".join(len(leaf).to_bytes(_LENGTH_BYTES, "big") + leaf for leaf in leaves)


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
        for tile in range(start // WIDTH, -(-self.size // WIDTH)):
            width = min(WIDTH, self.size - tile * WIDTH)
            yield from self.bundle_at(tile)[max(0, start - tile * WIDTH) : width]

    def bundle_at(self, tile: int) -> list[bytes]:
        """Return the leaves of one entry bundle, as many as belong to this tree."""
        width = min(WIDTH, self.size - tile * WIDTH)
        path, data = self._find("entries", tile, width)
        leaves = unbundle(data, path)[:width]
        if len(leaves) < width:
            raise LogFault(f"{path} holds {len(leaves)} leaves, {width} are expected")
        return leaves

    def leaf(self, index: int) -> bytes:
        """Return one leaf."""
        return self.bundle_at(index // WIDTH)[index % WIDTH]

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
        if width <= 0:
            raise LogFault(f"a tree of {self.size} leaves has no tile {level}/{tile}")
        path, data = self._find(level, tile, width)
        if len(data) < width * HASH_BYTES or len(data) % HASH_BYTES:
            raise LogFault(f"{path} has {len(data)} bytes, {width * HASH_BYTES} are expected")
        return tuple(data[i : i + HASH_BYTES] for i in range(0, width * HASH_BYTES, HASH_BYTES))

    def _find(self, level: int | str, tile: int, width: int) -> tuple[str, bytes]:
        """Return a tile's bytes; a partial one may have been filled meanwhile."""
        for path in dict.fromkeys((tile_path(level, tile, width), tile_path(level, tile))):
            data = self.store.get(path)
            if data is not None:
                return path, data
        raise LogFault(f"{tile_path(level, tile, width)} is missing")


class TileWriter:
    """Appends leaves to a tree kept as tiles. Owned by one notary; what is not sealed may be written again.

    Full tiles are put as they fill; `seal` puts the partial ones. Only then may a checkpoint of this size be signed.
    """

    def __init__(self, keeper: TileKeeper) -> None:
        self.keeper = keeper
        self.size = 0
        self.last = b""  #: the hash of the last leaf
        self._leaves: list[bytes] = []  #: of the last, partial entry bundle
        self._levels: list[list[bytes]] = [[]]  #: of the last, partial tile of each level
        self._partial: set[str] = set()  #: partial tiles that were put

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
        self._leaves += leaves
        self.size += len(leaves)
        while len(self._leaves) >= WIDTH:
            tile = (self.size - len(self._leaves)) // WIDTH
            self.keeper.put(tile_path("entries", tile), bundle(self._leaves[:WIDTH]))
            del self._leaves[:WIDTH]
        hashes = leaf_hashes(leaves)
        self.last = hashes[-1] if hashes else self.last
        self._grow(0, hashes)

    def root(self) -> bytes:
        """Return the root over every leaf so far."""
        root: bytes | None = None
        for hashes in self._levels:
            for part in reversed(_peaks(hashes)):
                root = part if root is None else node_hash(part, root)
        return root if root is not None else root_of_hashes([])

    def seal(self) -> list[str]:
        """Put the partial tiles; return the partial ones they replace, to be removed once a checkpoint is published."""
        now: dict[str, bytes] = {}
        if self._leaves:
            now[tile_path("entries", self.size // WIDTH, len(self._leaves))] = bundle(self._leaves)
        for level, hashes in enumerate(self._levels):
            if hashes:
                now[tile_path(level, (self.size >> (HEIGHT * level)) // WIDTH, len(hashes))] = b"".join(hashes)
        for path in now.keys() - self._partial:
            self.keeper.put(path, now[path])
        replaced = sorted(self._partial - now.keys())
        self._partial = set(now)
        return replaced

    def _grow(self, level: int, hashes: list[bytes]) -> None:
        if level == len(self._levels):
            self._levels.append([])
        held, above = self._levels[level], list[bytes]()
        held += hashes
        first = (self.size >> (HEIGHT * level)) - len(held)
        while len(held) >= WIDTH:
            self.keeper.put(tile_path(level, first // WIDTH), b"".join(held[:WIDTH]))
            above.append(root_of_hashes(held[:WIDTH]))
            first += WIDTH
            del held[:WIDTH]
        if above:
            self._grow(level + 1, above)


def _peaks(hashes: list[bytes]) -> list[bytes]:
    """Return the roots of the complete subtrees that `hashes` split into, the largest first."""
    peaks, at = list[bytes](), 0
    while at < len(hashes):
        width = 1 << ((len(hashes) - at).bit_length() - 1)
        peaks.append(root_of_hashes(hashes[at : at + width]))
        at += width
    return peaks
