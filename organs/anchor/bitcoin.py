"""A Bitcoin block header: 80 bytes whose work and Merkle root are checked here.

Checked: the header's double SHA-256 is at most the target its own `nBits` names; that target is no easier than Bitcoin
has demanded since OpenTimestamps began; its Merkle root is the message of the attestation. Not checked: that the block
is part of the chain with the most work, or stands at the claimed height (a header does not say). Whoever supplies
headers takes them from a node of their own; a false one costs its maker the work of a real block of 2015.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from shared.constant import constant
from shared.errors import ConfigFault, Refusal, Refused

HEADER_BYTES = constant(80, "bytes", "COL-05")
#: A little below the easiest target since the first OpenTimestamps block (358391, in May 2015).
MIN_DIFFICULTY = constant(40_000_000_000, "times the first target", "COL-05")
FIRST_TARGET = 0xFFFF << 208
HEX_CHARS = 2 * HEADER_BYTES


@dataclass(frozen=True, slots=True)
class Block:
    """What a checked header says: its hash as explorers show it, and its miner's time."""

    block_hash: str
    time_s: int


class Headers(Protocol):
    """Whoever knows block headers by height."""

    def header(self, height: int) -> bytes | None:
        """Return the 80 bytes at a height, or None where they are not known here."""
        ...


class NoHeaders:
    """Knows none, so nothing can be checked."""

    def header(self, height: int) -> bytes | None:
        return None


@dataclass(frozen=True, slots=True)
class OneHeader:
    """One header that somebody supplied for whatever height is asked."""

    raw: bytes

    def header(self, height: int) -> bytes | None:
        return self.raw


@dataclass(frozen=True, slots=True)
class FileHeaders:
    """A file of lines `HEIGHT HEADER`, the header in 160 hexadecimal digits; read anew each time, so it may grow."""

    path: Path

    def header(self, height: int) -> bytes | None:
        """Return the header of a height; ConfigFault where the file cannot be read or its line is something else."""
        try:
            with self.path.open(encoding="ascii") as lines:
                for number, line in enumerate(lines, 1):
                    at, _, header = line.strip().partition(" ")
                    if at == str(height):
                        return self._header(number, header)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigFault(f"the block headers in {self.path} cannot be read ({error}); correct the file") from error
        return None

    def _header(self, number: int, text: str) -> bytes:
        try:
            return parse_header(text)
        except Refused as no:
            raise ConfigFault(f"{self.path}, line {number}: {no.refusal.detail}") from None


def parse_header(text: str) -> bytes:
    """Return a header from its hexadecimal digits; Refused A003."""
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raw = b""
    if len(raw) != HEADER_BYTES:
        found = f"{len(text)} characters that are no {HEX_CHARS} hexadecimal digits"
        raise Refused(Refusal("A003", f"a block header is expected, found {found}"))
    return raw


def check_header(raw: bytes, merkle_root: bytes) -> Block:
    """Return what a header says once its work and its Merkle root hold; Refused A003."""
    if len(raw) != HEADER_BYTES:
        raise Refused(Refusal("A003", f"a block header has {HEADER_BYTES} bytes, found {len(raw)}"))
    target = _target(int.from_bytes(raw[72:76], "little"))
    digest = hashlib.sha256(hashlib.sha256(raw).digest()).digest()
    if int.from_bytes(digest, "little") > target:
        raise Refused(Refusal("A003", f"the header {digest[::-1].hex()} does not have the work its nBits demand"))
    if target * MIN_DIFFICULTY > FIRST_TARGET:
        found = f"its target is {FIRST_TARGET / target:.3g} times as hard as the first"
        raise Refused(Refusal("A003", f"{found}, at least {MIN_DIFFICULTY:.3g} are expected: anybody could make it"))
    if raw[36:68] != merkle_root:
        shown = raw[67:35:-1].hex()
        raise Refused(Refusal("A003", f"its Merkle root is {shown}, the proof leads to {merkle_root[::-1].hex()}"))
    return Block(digest[::-1].hex(), int.from_bytes(raw[68:72], "little"))


def _target(bits: int) -> int:
    """Return the target that `nBits` abbreviates: a sign bit, 23 bits, and how many bytes the number has."""
    size, mantissa = bits >> 24, bits & 0x7FFFFF
    if bits & 0x800000 or mantissa == 0 or size > 34:  # noqa: PLR2004 - 34: the number would exceed 256 bits
        raise Refused(Refusal("A003", f"its nBits {bits:#010x} name no target"))
    return mantissa << 8 * (size - 3) if size >= 3 else mantissa >> 8 * (3 - size)  # noqa: PLR2004 - 3 bytes
