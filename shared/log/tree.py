"""The RFC 6962 Merkle tree: leaves and nodes hashed under different prefixes, and no leaf duplicated.

    leaf = H(0x00 ‖ bytes)      node = H(0x01 ‖ left ‖ right)      left holds the largest power of two below n leaves

SHA-256 for the log's own tree, BLAKE3 inside an envelope (its events) and for batches of records. `node(level, index)`
names the root of the complete subtree over the leaves index·2^level … (index + 1)·2^level − 1; everything here is made
from such roots, wherever they are kept. Source: RFC 6962 section 2.1, RFC 9162 section 2.1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from blake3 import blake3

from shared.constant import constant
from shared.errors import Exit, Fault

Hash = Callable[[bytes], bytes]
Node = Callable[[int, int], bytes]  #: (level, index) → the root of that complete subtree

HASH_BYTES = constant(32, "bytes", "X-04")
MAX_PROOF_HASHES = constant(64, "hashes", "X-04")


class BadProof(Fault):
    """A proof that does not prove what it says: wrong length, wrong place, or it leads to another root."""

    exit = Exit.BAD_PROOF


def blake3_hash(data: bytes) -> bytes:
    """Return the 32-byte BLAKE3 digest."""
    return blake3(data).digest()


def sha256(data: bytes) -> bytes:
    """Return the 32-byte SHA-256 digest."""
    return hashlib.sha256(data).digest()


def leaf_hash(leaf: bytes, digest: Hash = sha256) -> bytes:
    """Return the hash of a leaf's bytes."""
    return digest(b"\x00" + leaf)


def leaf_hashes(leaves: Sequence[bytes]) -> list[bytes]:
    """Return the SHA-256 hashes of many leaves; the loop a notary spends its time in."""
    new = hashlib.sha256
    return [new(b"\x00" + leaf).digest() for leaf in leaves]


def node_hash(left: bytes, right: bytes, digest: Hash = sha256) -> bytes:
    """Return the hash of an inner node."""
    return digest(b"\x01" + left + right)


def root_of(leaves: Sequence[bytes], digest: Hash = blake3_hash) -> bytes:
    """Return the 32-byte Merkle tree hash of `leaves`; of none it is the digest of the empty string."""
    return root_of_hashes([digest(b"\x00" + leaf) for leaf in leaves], digest)


def root_of_hashes(hashes: Sequence[bytes], digest: Hash = sha256) -> bytes:
    """Return the Merkle tree hash over leaf hashes, or over the roots of equally large complete subtrees."""
    if not hashes:
        return digest(b"")
    level = list(hashes)
    while len(level) > 1:  # pairing neighbours and carrying an odd last node up equals the recursive split
        odd = level[-1:] if len(level) % 2 else []
        level = _parents(level, digest) + odd
    return level[0]


def _parents(level: list[bytes], digest: Hash) -> list[bytes]:
    """Return the hashes of neighbouring pairs; an odd last one is left out."""
    pairs = zip(level[::2], level[1::2], strict=False)
    if digest is sha256:  # without a call of ours per node
        new = hashlib.sha256
        return [new(b"\x01" + left + right).digest() for left, right in pairs]
    return [digest(b"\x01" + left + right) for left, right in pairs]


def nodes_of(hashes: Sequence[bytes], digest: Hash = sha256) -> Node:
    """Return the complete subtrees over leaf hashes kept in memory."""
    levels = [list(hashes)]
    while len(levels[-1]) > 1:
        levels.append(_parents(levels[-1], digest))
    return lambda level, index: levels[level][index]


def root_from(node: Node, size: int, digest: Hash = sha256) -> bytes:
    """Return the root of the first `size` leaves."""
    return _subtree(node, 0, size, digest) if size else digest(b"")


def inclusion_proof(node: Node, index: int, size: int, digest: Hash = sha256) -> list[bytes]:
    """Return the hashes from leaf `index`'s sibling up to the child of the root of the first `size` leaves."""
    if not 0 <= index < size:
        raise BadProof(f"there is no leaf {index} in a tree of {size} leaves")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_subtree(node, middle, end, digest))
            end = middle
        else:
            path.append(_subtree(node, start, middle, digest))
            start = middle
    return path[::-1]


def consistency_proof(node: Node, old: int, new: int, digest: Hash = sha256) -> list[bytes]:
    """Return the hashes that show the first `old` leaves to be the beginning of the first `new`."""
    if not 0 <= old <= new:
        raise BadProof(f"a tree of {old} leaves is no beginning of one of {new}")
    path: list[bytes] = []
    start, end, whole = 0, new, True
    while 0 < old < end:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(_subtree(node, middle, end, digest))
            end = middle
        else:
            path.append(_subtree(node, start, middle, digest))
            start, whole = middle, False
    if not whole:
        path.append(_subtree(node, start, end, digest))
    return path[::-1]


def verify_inclusion(  # noqa: PLR0913, PLR0917 - a proof says so many things
    index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes, digest: Hash = sha256
) -> None:
    """Raise BadProof unless `proof` leads from the leaf hash at `index` to `root` of a tree of `size` leaves."""
    if not 0 <= index < size:
        raise BadProof(f"there is no leaf {index} in a tree of {size} leaves")
    _check_hashes((*proof, leaf))
    found, place, last, used = leaf, index, size - 1, 0
    while last:
        if place % 2 or place < last:
            if used == len(proof):
                raise BadProof(f"the proof has {used} hashes, too few for leaf {index} of {size}")
            sibling = proof[used]
            found = node_hash(sibling, found, digest) if place % 2 else node_hash(found, sibling, digest)
            used += 1
        place, last = place // 2, last // 2
    if used != len(proof):
        raise BadProof(f"the proof has {len(proof)} hashes, leaf {index} of {size} takes {used}")
    if found != root:
        raise BadProof(f"the proof of leaf {index} leads to root {found.hex()}, the checkpoint says {root.hex()}")


def verify_consistency(  # noqa: PLR0913, PLR0917 - a proof says so many things
    old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes, digest: Hash = sha256
) -> None:
    """Raise BadProof unless `proof` shows the tree of `old` leaves to be the beginning of the one of `new` leaves."""
    _check_hashes(proof)
    if not 0 < old <= new:
        raise BadProof(f"a tree of {old} leaves cannot be shown to be the beginning of one of {new}")
    if old == new:
        if proof or old_root != new_root:
            raise BadProof(f"two trees of {old} leaves have different roots, or a proof where none is needed")
        return
    path = list(proof) if old & (old - 1) else [old_root, *proof]  # a complete subtree proves itself
    if not path or _walk(old - 1, new - 1, path, digest) != (old_root, new_root):
        raise BadProof(f"the tree of {old} leaves is not the beginning of the tree of {new} leaves")


def _walk(place: int, last: int, path: Sequence[bytes], digest: Hash) -> tuple[bytes, bytes] | None:
    """Return the old and the new root that a consistency path leads to; None where its length does not fit."""
    while place % 2:
        place, last = place // 2, last // 2
    before = after = path[0]
    for sibling in path[1:]:
        if last == 0:
            return None
        if place % 2 or place == last:
            before, after = node_hash(sibling, before, digest), node_hash(sibling, after, digest)
            while place and not place % 2:
                place, last = place // 2, last // 2
        else:
            after = node_hash(after, sibling, digest)
        place, last = place // 2, last // 2
    return None if last else (before, after)


def _subtree(node: Node, start: int, end: int, digest: Hash) -> bytes:
    """Return the root over leaves start … end − 1, where start is a multiple of the next power of two."""
    right: bytes | None = None
    parts: list[bytes] = []
    while start < end:
        level = (end - start).bit_length() - 1
        parts.append(node(level, start >> level))
        start += 1 << level
    for part in reversed(parts):
        right = part if right is None else node_hash(part, right, digest)
    assert right is not None, "a subtree has leaves"
    return right


def _split(size: int) -> int:
    """Return the largest power of two below `size`."""
    return 1 << ((size - 1).bit_length() - 1)


def _check_hashes(proof: Sequence[bytes]) -> None:
    if len(proof) > MAX_PROOF_HASHES + 1 or any(len(one) != HASH_BYTES for one in proof):
        raise BadProof(f"a proof is at most {MAX_PROOF_HASHES} hashes; they and the leaf have {HASH_BYTES} bytes")
