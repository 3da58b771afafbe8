"""A JetStream block file opened by hand, as whoever owns the disk can: its records, changed and sealed again.

The server protects a record by a keyed checksum (HighwayHash-64, key = SHA-256 of "stream-block"), against accidents.
Somebody who writes the disk knows the key, so an edit need not look like one.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MASK = 2**64 - 1
MUL0 = (0xDBE6D5D5FE4CCE2F, 0xA4093822299F31D0, 0x13198A2E03707344, 0x243F6A8885A308D3)
MUL1 = (0x3BD39E10CB0EF593, 0xC0ACF169B5F18A8C, 0xBE5466CF34E90C6C, 0x452821E638D01377)
HEAD = struct.Struct("<IQqH")
HAS_HEADERS = 1 << 31


@dataclass(frozen=True)
class Record:
    """One stored message: sequence, broker time, subject, headers, body; `seal` is its checksum."""

    seq: int
    time_ns: int
    subject: bytes
    headers: bytes
    body: bytes
    seal: bytes = b""


def blocks_of(server: Path, stream: str) -> list[Path]:
    """The block files of a stream under a server's folder, in order."""
    [folder] = server.rglob(f"streams/{stream}/msgs")
    return sorted(folder.glob("*.blk"), key=lambda path: int(path.stem))


def read_block(path: Path) -> list[Record]:
    """Every record of a block file."""
    raw, at, records = path.read_bytes(), 0, list[Record]()
    while at < len(raw):
        length, seq, time_ns, subject_length = HEAD.unpack_from(raw, at)
        size, end = length & ~HAS_HEADERS, at + (length & ~HAS_HEADERS)
        assert size > HEAD.size
        start = at + HEAD.size
        subject, rest = raw[start : start + subject_length], raw[start + subject_length : end - 8]
        headers = b""
        if length & HAS_HEADERS:
            n = int.from_bytes(rest[:4], "little")
            headers, rest = rest[4 : 4 + n], rest[4 + n :]
        records.append(Record(seq, time_ns, subject, headers, rest, raw[end - 8 : end]))
        at = end
    return records


def write_block(path: Path, records: list[Record], stream: str) -> None:
    """The records as the server would have written them; what it derived from the old ones is removed."""
    out = bytearray()
    for record in records:
        head = struct.pack("<Qq", record.seq, record.time_ns)
        body = (len(record.headers).to_bytes(4, "little") + record.headers if record.headers else b"") + record.body
        size = HEAD.size + len(record.subject) + len(body) + 8
        length = size | (HAS_HEADERS if record.headers else 0)
        out += struct.pack("<I", length) + head + struct.pack("<H", len(record.subject)) + record.subject + body
        out += seal_of(record, stream, int(path.stem))
    path.write_bytes(out)
    for derived in (*path.parent.glob("index.db"), *path.parent.glob("*.idx"), *path.parent.glob("*.fss")):
        derived.unlink()


def edit(server: Path, stream: str, change: Callable[[list[Record]], list[Record]]) -> None:
    """Change all records of a stream whose server is down; it must lie in one block."""
    [path] = blocks_of(server, stream)
    write_block(path, change(read_block(path)), stream)


def seal_of(record: Record, stream: str, block: int) -> bytes:
    """The checksum the server expects of a record."""
    told = struct.pack("<Qq", record.seq, record.time_ns) + record.subject + record.headers + record.body
    return highway_hash(hashlib.sha256(f"{stream}-{block}".encode()).digest(), told)


def highway_hash(key: bytes, data: bytes) -> bytes:  # noqa: C901 - one algorithm, kept whole
    """HighwayHash-64 (Alakuijala, Cox, Wassenberg 2016), as 8 little-endian bytes."""
    keys = struct.unpack("<4Q", key)
    mul0: list[int] = list(MUL0)
    mul1: list[int] = list(MUL1)
    v0 = [m ^ k for m, k in zip(mul0, keys, strict=True)]
    v1 = [m ^ _turn(k) for m, k in zip(mul1, keys, strict=True)]

    def update(packet: tuple[int, ...]) -> None:
        for i in range(4):
            v1[i] = (v1[i] + mul0[i] + packet[i]) & MASK
            mul0[i] ^= (v1[i] & 0xFFFFFFFF) * (v0[i] >> 32)
            v0[i] = (v0[i] + mul1[i]) & MASK
            mul1[i] ^= (v0[i] & 0xFFFFFFFF) * (v1[i] >> 32)
        for a, b in ((v1, v0), (v0, v1)):
            for i in (0, 2):
                _zip(a[i + 1], a[i], b, i)

    whole = len(data) & ~31
    for at in range(0, whole, 32):
        update(struct.unpack_from("<4Q", data, at))
    rest = data[whole:]
    if rest:
        n, packet = len(rest), bytearray(32)
        for i in range(4):
            v0[i] = (v0[i] + (n << 32) + n) & MASK
            low, high = v1[i] & 0xFFFFFFFF, v1[i] >> 32
            v1[i] = _roll(low, n) | _roll(high, n) << 32
        packet[: n & ~3] = rest[: n & ~3]
        tail = rest[n & ~3 :]
        if n & 16:
            packet[28:32] = rest[n - 4 : n]
        elif tail:
            packet[16], packet[17], packet[18] = tail[0], tail[len(tail) >> 1], tail[-1]
        update(struct.unpack("<4Q", packet))
    for _ in range(4):
        update((_turn(v0[2]), _turn(v0[3]), _turn(v0[0]), _turn(v0[1])))
    return ((v0[0] + v1[0] + mul0[0] + mul1[0]) & MASK).to_bytes(8, "little")


def _turn(x: int) -> int:
    return (x >> 32 | x << 32) & MASK


def _roll(x: int, n: int) -> int:
    return (x << n | x >> (32 - n)) & 0xFFFFFFFF


def _zip(v1: int, v0: int, into: list[int], i: int) -> None:
    into[i] = (
        into[i]
        + (
            ((v0 & 0xFF000000) | (v1 & 0xFF00000000)) >> 24
            | ((v0 & 0xFF0000000000) | (v1 & 0xFF000000000000)) >> 16
            | (v0 & 0xFF0000)
            | (v0 & 0xFF00) << 32
            | (v1 & 0xFF00000000000000) >> 8
            | (v0 << 56) & MASK
        )
    ) & MASK
    into[i + 1] = (
        into[i + 1]
        + (
            ((v1 & 0xFF000000) | (v0 & 0xFF00000000)) >> 24
            | (v1 & 0xFF0000)
            | (v1 & 0xFF0000000000) >> 16
            | (v1 & 0xFF00) << 24
            | (v0 & 0xFF000000000000) >> 8
            | (v1 & 0xFF) << 48
            | (v0 & 0xFF00000000000000)
        )
    ) & MASK
