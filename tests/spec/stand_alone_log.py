"""A verifier of the log in one screen: SHA-256 and Ed25519, written from SPEC.md and nothing of the product.

Nothing of the product is imported here but its stand-alone verifier, which imports nothing of it either and judges
entries; so this file proves the written grammar to be enough.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from shared.audit.stand_alone.verify import No, Reader, opened

NAME = re.compile(r"[^\s+\x00-\x1f]+")
DECIMAL = re.compile(r"(0|[1-9][0-9]{0,18})")


class Bad(Exception):
    """Why something is not proven."""


def need(why: str, *claims: object) -> None:
    """Refuse unless every claim holds."""
    if not all(claims):
        raise Bad(why)


def digest(data: bytes) -> bytes:
    """SHA-256."""
    return sha256(data).digest()


def leaf_hash(leaf: bytes) -> bytes:
    """The hash of a leaf."""
    return digest(b"\0" + leaf)


def split(size: int) -> int:
    """The largest power of two below a size."""
    return 1 << ((size - 1).bit_length() - 1)


def root(hashes: list[bytes]) -> bytes:
    """The root over leaf hashes."""
    if len(hashes) < 2:
        return hashes[0] if hashes else digest(b"")
    k = split(len(hashes))
    return digest(b"\1" + root(hashes[:k]) + root(hashes[k:]))


def climbed(index: int, size: int, leaf: bytes, path: list[bytes]) -> bytes:
    """The root that an inclusion proof leads to, by the recursion that made it."""
    if size == 1:
        need("a hash too many", not path)
        return leaf
    need("a hash too few", path)
    k = split(size)
    if index < k:
        return digest(b"\1" + climbed(index, k, leaf, path[:-1]) + path[-1])
    return digest(b"\1" + path[-1] + climbed(index - k, size - k, leaf, path[:-1]))


def both(old: int, new: int, path: list[bytes], before: bytes, *, whole: bool = True) -> tuple[bytes, bytes]:
    """The old and the new root that a consistency proof leads to, by the recursion that made it."""
    if old == new:
        if whole:
            need("a hash too many", not path)
            return before, before
        need("a hash too few or too many", len(path) == 1)
        return path[0], path[0]
    need("a hash too few", path)
    k = split(new)
    if old <= k:
        first, second = both(old, k, path[:-1], before, whole=whole)
        return first, digest(b"\1" + second + path[-1])
    first, second = both(old - k, new - k, path[:-1], before, whole=False)
    return digest(b"\1" + path[-1] + first), digest(b"\1" + path[-1] + second)


def unbase64(text: str) -> bytes:
    """Canonical base 64."""
    try:
        raw = b64decode(text.encode("ascii"), validate=True)
    except ValueError:
        raise Bad("base 64") from None
    need("base 64", b64encode(raw).decode() == text)
    return raw


@dataclass
class Signed:
    """A checkpoint as it is written, nothing proven."""

    text: str
    lines: list[tuple[str, bytes, bytes]]
    origin: str
    size: int
    root: bytes


def read_note(note: str) -> Signed:
    """Read a note and the checkpoint in it."""
    need("too long", len(note.encode()) <= 131_072)
    need("control character", not re.search(r"[\x00-\x09\x0b-\x1f]", note))
    body, empty, tail = note.rpartition("\n\n")
    need("no note", empty, tail.endswith("\n"), tail.count("\n") <= 64)
    lines: list[tuple[str, bytes, bytes]] = []
    for line in tail[:-1].split("\n"):
        parts = line.split(" ")
        need("no line", len(parts) == 3, parts[0] == "—")
        raw = unbase64(parts[2])
        need("no line", NAME.fullmatch(parts[1]), len(parts[1].encode()) <= 255, len(raw) > 4)
        lines.append((parts[1], raw[:4], raw[4:]))
    head = body.split("\n")
    need("no checkpoint", len(head) == 3, NAME.fullmatch(head[0]))
    need("no size", DECIMAL.fullmatch(head[1]))
    top = unbase64(head[2])
    need("no root", len(top) == 32)
    return Signed(body + "\n", lines, head[0], int(head[1]), top)


def times(note: Signed, name: str, kind: int, public: bytes) -> list[int | None]:
    """The lines of one key, all verified: the time of each (None for kind 0x01)."""
    key_id, found = digest(name.encode() + b"\n" + bytes([kind]) + public)[:4], list[int | None]()
    for signer, given, signature in note.lines:
        if (signer, given) != (name, key_id):
            continue
        time, message = None, note.text
        if kind == 4:
            time = int.from_bytes(signature[:8], "big")
            message = f"cosignature/v1\ntime {time}\n{note.text}"
        try:
            need("time", time is None or time < 2**63)
            VerifyKey(public).verify(message.encode(), signature[8:] if kind == 4 else signature)
        except (BadSignatureError, ValueError):
            raise Bad("signature") from None
        found.append(time)
    return found


def entry(leaf: bytes) -> tuple[str, int, bytes]:
    """The subject, time and bytes of a leaf's entry."""
    need("no leaf", 9 <= len(leaf) <= 65_535)
    time, rest = int.from_bytes(leaf[:8], "big"), leaf[8:]
    if rest[:1] != b"\xc1":
        try:
            return opened(rest)[1]["subject"], time, rest
        except No:
            raise Bad("no leaf") from None
    length = int.from_bytes(rest[1:3], "big")
    return rest[3 : 3 + length].decode(), time, rest[3 + length :]


class Verifier:
    """One reader of one log, from its leaves: steps 3 to 5 of SPEC.md."""

    def __init__(self, env: str, fingerprint: str, leaves: list[bytes]) -> None:
        self.env, self.fingerprint, self.leaves = env, fingerprint, leaves
        self.refusals: list[str | None] = []
        reader = Reader(env, fingerprint)
        self.keys: list[list[dict[str, Any]]] = [[]]
        for index, leaf in enumerate(leaves):
            subject, time, raw = entry(leaf)
            self.refusals.append(reader.read(index, subject, time, raw)[0])
            self.keys.append([dict(key) for key in reader.keys.values()])

    def public(self, size: int) -> list[bytes]:
        """The keys that may sign a checkpoint of a size."""
        return [
            key["public"]
            for key in self.keys[size]
            if key["part"] == "notary" and key["first"] <= size and (key["last"] is None or key["last"] >= size)
        ]

    def checkpoint(self, note: str) -> tuple[Signed, int | None]:
        """Verify a checkpoint, and return it with its time."""
        found = read_note(note)
        need("another log", found.origin == f"nimmerverse/{self.env}/{self.fingerprint[:32]}")
        need("leaves are missing", found.size <= len(self.leaves))
        need("another root", root([leaf_hash(leaf) for leaf in self.leaves[: found.size]]) == found.root)
        for public in self.public(found.size):
            plain, timed = times(found, found.origin, 1, public), times(found, found.origin, 4, public)
            if plain:
                return found, max((time for time in timed if time is not None), default=None)
        raise Bad("not signed by the log's key")

    def proof(self, file: str, leaf_at: Callable[[int], bytes]) -> tuple[int, Signed]:
        """Verify a proof file; the leaf is enclosed, or known otherwise."""
        need("too long", len(file.encode()) <= 262_144)
        head, empty, note = file.partition("\n\n")
        lines = head.split("\n")
        need("no proof", empty, len(lines) >= 2, lines[0] == "c2sp.org/tlog-proof@v1")
        enclosed = unbase64(lines.pop(1)[6:]) if lines[1].startswith("extra ") else None
        need("no extra", enclosed is None or enclosed)
        need("no index", len(lines) >= 2, lines[1].startswith("index "), DECIMAL.fullmatch(lines[1][6:]))
        index, path = int(lines[1][6:]), [unbase64(line) for line in lines[2:]]
        need("no path", len(path) <= 64, all(len(one) == 32 for one in path))
        found, _ = self.checkpoint(note)
        need("no such leaf", index < found.size)
        leaf = leaf_at(index) if enclosed is None else enclosed
        need("not proven", climbed(index, found.size, leaf_hash(leaf), path) == found.root)
        return index, found
