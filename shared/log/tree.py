"""The RFC 6962 Merkle tree: leaves and nodes hashed under different prefixes, and no leaf duplicated.

    leaf = H(0x00 ‖ bytes)      node = H(0x01 ‖ left ‖ right)      left holds the largest power of two below n leaves

BLAKE3 inside an envelope (its events). The log's own tree over leaves uses the same shape.
Source: RFC 6962 section 2.1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from blake3 import blake3

Hash = Callable[[bytes], bytes]


def blake3_hash(data: bytes) -> bytes:
    """Return the 32-byte BLAKE3 digest."""
    return blake3(data).digest()


def root_of(leaves: Sequence[bytes], digest: Hash = blake3_hash) -> bytes:
    """Return the 32-byte Merkle tree hash of `leaves`; of none it is the digest of the empty string."""
    if not leaves:
        return digest(b"")
    level = [digest(b"\x00" + leaf) for leaf in leaves]
    while len(level) > 1:  # pairing neighbours and carrying an odd last node up equals the recursive split
        paired = [digest(b"\x01" + level[i] + level[i + 1]) for i in range(0, len(level) - 1, 2)]
        if len(level) % 2:
            paired.append(level[-1])
        level = paired
    return level[0]
