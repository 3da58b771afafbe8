"""OpenTimestamps' proofs, read and written without anybody else's code.

    file       = MAGIC version(varint 1) 08 digest(32 bytes) timestamp, and nothing after it
    timestamp  = *(FF item) item
    item       = 00 tag(8 bytes) payload(varbytes)          an attestation of the message reached so far
               | op [argument(varbytes)] timestamp          the message goes on changed
    varbytes   = length(varint) bytes        varint = 7 bits a byte, the lowest first, as short as can be

A timestamp is a tree: every path from the digest to an attestation is a computation that anyone can repeat. Whatever
else the bytes hold is refused by name (A002); equal trees have equal bytes, in the order the reference client writes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from shared.constant import constant
from shared.errors import Refusal, Refused

MAGIC = b"\0OpenTimestamps\0\0Proof\0\xbf\x89\xe2\xe8\x84\xe8\x92\x94"
VERSION = constant(1, "version", "COL-05")
DIGEST_BYTES = constant(32, "bytes", "COL-05")
MAX_PROOF_BYTES = constant(100_000, "bytes", "X-12")
MAX_STEP_BYTES = constant(4_096, "bytes", "COL-05")
MAX_PAYLOAD_BYTES = constant(8_192, "bytes", "COL-05")
MAX_URI_BYTES = constant(1_000, "bytes", "COL-05")
MAX_DEPTH = constant(256, "operations", "COL-05")
MAX_ANSWER_DEPTH = constant(100, "operations", "COL-05")
MAX_VARINT_BITS = constant(63, "bits", "COL-05")
TAG_BYTES = constant(8, "bytes", "COL-05")

PENDING_TAG = bytes.fromhex("83dfe30d2ef90c8e")
BITCOIN_TAG = bytes.fromhex("0588960d73d71901")
_URI = re.compile(rb"[A-Za-z0-9._/:-]+")
_ATTESTATION, _MORE = 0x00, 0xFF
SHA256, APPEND, PREPEND = 0x08, 0xF0, 0xF1
_WITH_ARGUMENT = (APPEND, PREPEND)
_OPS: dict[int, Callable[[bytes, bytes], bytes]] = {
    0x02: lambda message, _: hashlib.sha1(message, usedforsecurity=False).digest(),
    0x03: lambda message, _: hashlib.new("ripemd160", message, usedforsecurity=False).digest(),
    SHA256: lambda message, _: hashlib.sha256(message).digest(),
    APPEND: lambda message, argument: message + argument,
    PREPEND: lambda message, argument: argument + message,
    0xF2: lambda message, _: message[::-1],
    0xF3: lambda message, _: message.hex().encode(),
}


@dataclass(frozen=True, slots=True, order=True)
class Op:
    """One step of a path."""

    tag: int
    argument: bytes = b""

    def __call__(self, message: bytes) -> bytes:
        """Return the next message; Refused where this step cannot be taken."""
        run = _OPS.get(self.tag)
        if run is None:
            raise bad(
                f"operation {self.tag:#04x} is unknown here, known are {', '.join(f'{tag:#04x}' for tag in _OPS)}"
            )
        try:
            after = run(message, self.argument)
        except ValueError as error:
            raise bad(f"operation {self.tag:#04x} cannot be computed on this machine ({error})") from None
        if len(after) > MAX_STEP_BYTES:
            raise bad(f"a message of {len(after)} bytes is made, at most {MAX_STEP_BYTES} are allowed")
        return after


@dataclass(frozen=True, slots=True)
class Pending:
    """A calendar's promise: ask it at `uri` for more. Anybody can write one."""

    uri: str

    @property
    def key(self) -> tuple[bytes, bytes]:
        return PENDING_TAG, self.uri.encode()

    @property
    def payload(self) -> bytes:
        return _varbytes(self.uri.encode())


@dataclass(frozen=True, slots=True)
class Bitcoin:
    """A claim: the message is the Merkle root of the block at `height`. Worth something once a header was checked."""

    height: int

    @property
    def key(self) -> tuple[bytes, bytes]:
        return BITCOIN_TAG, self.height.to_bytes(8, "big")

    @property
    def payload(self) -> bytes:
        return varint(self.height)


@dataclass(frozen=True, slots=True)
class Unknown:
    """An attestation of a kind that is not read here; kept as it is, worth nothing."""

    tag: bytes
    payload: bytes

    @property
    def key(self) -> tuple[bytes, bytes]:
        return self.tag, self.payload


Attestation = Pending | Bitcoin | Unknown


@dataclass(frozen=True, slots=True)
class Timestamp:
    """What is known of one message: its attestations, and the timestamps of what can be computed from it."""

    message: bytes
    attestations: tuple[Attestation, ...]
    branches: tuple[tuple[Op, Timestamp], ...]

    def attested(self) -> Iterator[tuple[bytes, Attestation]]:
        """Yield every attestation with the message it is about."""
        for attestation in self.attestations:
            yield self.message, attestation
        for _, after in self.branches:
            yield from after.attested()

    def merged(self, others: Iterable[Timestamp]) -> Timestamp:
        """Return this timestamp with what others know of its messages, wherever in the tree those are."""
        known = list(others)
        same = [other for other in known if other.message == self.message]
        branches = [(op, after.merged(known)) for op, after in self.branches]
        for other in same:
            branches += other.branches
        return timestamp(self.message, [a for one in (self, *same) for a in one.attestations], branches)


def timestamp(
    message: bytes, attestations: Iterable[Attestation] = (), branches: Iterable[tuple[Op, Timestamp]] = ()
) -> Timestamp:
    """Return a timestamp in its one order, equal branches joined."""
    alike: dict[Op, list[Timestamp]] = {}
    for op, after in branches:
        alike.setdefault(op, []).append(after)
    ordered = sorted(set(attestations), key=lambda one: one.key)
    return Timestamp(message, tuple(ordered), tuple((op, _joined(alike[op])) for op in sorted(alike)))


def _joined(alike: list[Timestamp]) -> Timestamp:
    """Return what several timestamps of one message say together, in time that their size bounds."""
    if len(alike) == 1:
        return alike[0]
    assert {one.message for one in alike} == {alike[0].message}
    attestations = [attestation for one in alike for attestation in one.attestations]
    return timestamp(alike[0].message, attestations, [branch for one in alike for branch in one.branches])


def path(message: bytes, ops: Iterable[Op], end: Callable[[bytes], Timestamp]) -> Timestamp:
    """Return the timestamp that leads from a message through `ops` to what `end` makes of the last one."""
    messages, steps = [message], list(ops)
    for op in steps:
        messages.append(op(messages[-1]))
    made = end(messages[-1])
    for op, before in zip(reversed(steps), reversed(messages[:-1]), strict=True):
        made = timestamp(before, (), [(op, made)])
    return made


def write_detached(of_digest: Timestamp) -> bytes:
    """Return the `.ots` file of a SHA-256 digest's timestamp."""
    assert len(of_digest.message) == DIGEST_BYTES
    raw = MAGIC + varint(VERSION) + bytes([SHA256]) + of_digest.message + write_timestamp(of_digest)
    if len(raw) > MAX_PROOF_BYTES:
        raise bad(f"the proof has {len(raw)} bytes, at most {MAX_PROOF_BYTES} are allowed")
    return raw


def write_timestamp(tree: Timestamp) -> bytes:
    """Return a timestamp's bytes, as calendars send them: without its message."""
    items = [b"\0" + a.key[0] + _varbytes(a.payload) for a in tree.attestations]
    for op, after in tree.branches:
        argument = _varbytes(op.argument) if op.tag in _WITH_ARGUMENT else b""
        items.append(bytes([op.tag]) + argument + write_timestamp(after))
    assert items, "a timestamp without an attestation says nothing"
    return b"".join(bytes([_MORE]) + item for item in items[:-1]) + items[-1]


def read_detached(raw: bytes) -> Timestamp:
    """Return the timestamp of the digest that an `.ots` file is about. Raises Refused A002."""
    reader = _reader(raw)
    if reader.take(len(MAGIC)) != MAGIC:
        raise bad("it does not begin as an OpenTimestamps proof does")
    version, tag = reader.varint(), reader.byte()
    if version != VERSION:
        raise bad(f"its format has version {version}, {VERSION} is expected")
    if tag != SHA256:
        raise bad(f"it is about a digest of kind {tag:#04x}, SHA-256 ({SHA256:#04x}) is expected")
    return reader.whole(reader.take(DIGEST_BYTES), MAX_DEPTH)


def read_timestamp(raw: bytes, message: bytes) -> Timestamp:
    """Return the timestamp of `message` that a calendar sent: short enough to go into a proof. Raises Refused A002."""
    return _reader(raw).whole(message, MAX_ANSWER_DEPTH)


def bad(found: str) -> Refused:
    """Return the refusal of bytes that are no proof we can read."""
    return Refused(Refusal("A002", found))


def varint(number: int) -> bytes:
    """Return a number, 7 bits a byte, the lowest first."""
    assert 0 <= number < 1 << MAX_VARINT_BITS
    out = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _varbytes(raw: bytes) -> bytes:
    return varint(len(raw)) + raw


def _reader(raw: bytes) -> _Reader:
    if len(raw) > MAX_PROOF_BYTES:
        raise bad(f"it has {len(raw)} bytes, at most {MAX_PROOF_BYTES} are read")
    return _Reader(raw)


class _Reader:
    """Reads bytes once, from the first to the last."""

    def __init__(self, raw: bytes) -> None:
        self.raw, self.at = raw, 0

    def take(self, count: int) -> bytes:
        if len(self.raw) - self.at < count:
            raise bad(f"it is cut short: {count} bytes are expected at {self.at}, {len(self.raw) - self.at} are left")
        self.at += count
        return self.raw[self.at - count : self.at]

    def byte(self) -> int:
        return self.take(1)[0]

    def varint(self) -> int:
        number = shift = 0
        while True:
            last = self.byte()
            number |= (last & 0x7F) << shift
            shift += 7
            if last < 0x80:  # noqa: PLR2004 - the bit that says more follows
                break
            if shift >= MAX_VARINT_BITS:
                raise bad(f"a number at {self.at} has more than {MAX_VARINT_BITS} bits")
        if last == 0 and shift > 7:  # noqa: PLR2004 - one byte may be zero
            raise bad(f"a number that ends at {self.at} is written longer than it has to be")
        return number

    def varbytes(self, least: int, most: int) -> bytes:
        size = self.varint()
        if not least <= size <= most:
            raise bad(f"{size} bytes follow at {self.at}, {least} to {most} are allowed")
        return self.take(size)

    def end(self) -> None:
        if self.at != len(self.raw):
            raise bad(f"{len(self.raw) - self.at} bytes follow its end")

    def whole(self, message: bytes, depth: int) -> Timestamp:
        """Read a timestamp that is all there is left."""
        read = self.timestamp(message, depth)
        self.end()
        return read

    def timestamp(self, message: bytes, left: int) -> Timestamp:
        if left == 0:
            raise bad("too many operations follow each other")
        attestations, branches = list[Attestation](), list[tuple[Op, Timestamp]]()
        more = True
        while more:
            tag = self.byte()
            more = tag == _MORE
            tag = self.byte() if more else tag
            if tag == _ATTESTATION:
                attestations.append(self.attestation())
                continue
            op = Op(tag, self.varbytes(1, MAX_STEP_BYTES) if tag in _WITH_ARGUMENT else b"")
            branches.append((op, self.timestamp(op(message), left - 1)))
        return timestamp(message, attestations, branches)

    def attestation(self) -> Attestation:
        tag, payload = self.take(TAG_BYTES), self.varbytes(0, MAX_PAYLOAD_BYTES)
        if tag not in (PENDING_TAG, BITCOIN_TAG):
            return Unknown(tag, payload)
        inside = _Reader(payload)
        made = _pending(inside.varbytes(1, MAX_URI_BYTES)) if tag == PENDING_TAG else Bitcoin(inside.varint())
        inside.end()
        return made


def _pending(uri: bytes) -> Pending:
    """Return a promise whose address holds nothing that a terminal or an HTTP client could take for something else."""
    if not _URI.fullmatch(uri):
        raise bad(f"the calendar's address {uri[:100]!r} has other characters than letters, digits and . _ / : -")
    return Pending(uri.decode())
