"""The port to what is remembered: rows with their vectors, found by nearness, and a digest that no order changes."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from math import isqrt
from operator import mul
from typing import Protocol, get_args

import msgspec
from blake3 import blake3

from shared.constant import constant
from shared.errors import Refusal, Refused
from shared.personal import Personal
from shared.subjects.meaning import VECTOR_BYTES
from shared.subjects.memory import MemoryKind, Origin

MILLION = 1_000_000
KINDS: tuple[MemoryKind, ...] = get_args(MemoryKind)
#: An index of neighbours is approximate: so many more of them are looked at and ordered exactly.
CANDIDATES = constant(64, "passages", "BIZ-15")


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One passage as memory holds it. About a person it holds ciphertext, and the vector that dies with the key."""

    id: str
    kind: MemoryKind
    text: str
    vector: bytes  #: int8 x 384
    origin: Origin
    source: str
    embedder: str
    about_ms: int
    due_ms: int
    heard: int
    index: int  #: of the log's entry that says so
    sealed: Personal[str] | None = None

    @property
    def person(self) -> str:
        """The pseudonym of whom it is about, hexadecimal; empty where it is about nobody."""
        return "" if self.sealed is None else self.sealed.person.hex()


class Mark(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far memory has read the log.

    `digest` is BLAKE3 of the last decision that was applied, so that another log is noticed; outcomes before `looked`
    are episodes already.
    """

    next_index: int = 0
    digest: str = ""
    looked: int = 0


class Passages(Protocol):
    """Rows by their ids. It is a view: what it holds comes from the log alone.

    Whoever reads rows is told Damaged where what is kept is no row.
    """

    async def open(self) -> Mark:
        """Make the place ready and return how far it has read; what cannot be read is begun anew, at 0."""
        ...

    async def close(self) -> None: ...

    async def apply(self, put: Sequence[Row], remove: Sequence[str], mark: Mark) -> None:
        """Remove ids, unknown ones too, add or replace rows, then remember how far that was.

        Refused B002 for a vector that is none; then nothing is changed.
        """
        ...

    async def erase(self, person: str, mark: Mark) -> int:
        """Remove every row about a person, so that no byte of it is left in a file; return how many."""
        ...

    async def renew(self, rows: Sequence[Row], mark: Mark) -> None:
        """Hold these rows in the place of all others, all of them or, where that fails, none: the log is the truth.

        Refused B002 for a vector that is none.
        """
        ...

    async def mark(self) -> Mark: ...

    async def nearest(self, vector: bytes, limit: int, kinds: Sequence[MemoryKind] = ()) -> list[tuple[Row, int]]:
        """Return the nearest rows, the nearest first, each with its cosine in millionths, no less than 0."""
        ...

    async def page(self, after: str, limit: int, source: str = "") -> list[Row]:
        """Return the next rows after an id, in the order of their ids; of one source, or of all."""
        ...

    async def of_kinds(self, kinds: Sequence[MemoryKind]) -> list[Row]:
        """Return every row of some kinds, in the order of their ids."""
        ...

    async def find(self, ids: Sequence[str]) -> list[Row]:
        """Return those rows that there are."""
        ...

    async def count(self) -> int: ...


def checked(row: Row) -> Row:
    """Return a row whose vector can be near to something; Refused B002."""
    checked_vector(row.vector)
    return row


def checked_vector(vector: bytes) -> bytes:
    """Return a vector that can be near to something; Refused B002."""
    if len(vector) != VECTOR_BYTES or not any(vector):
        raise Refused(Refusal("B002", f"a vector has {VECTOR_BYTES} bytes, not all 0; found {len(vector)} bytes"))
    return vector


def numbers(vector: bytes) -> tuple[int, ...]:
    """Return a vector's numbers, from -128 to 127."""
    return tuple(memoryview(vector).cast("b"))


def cosine_ppm(a: bytes, b: bytes) -> int:
    """Return the cosine of two vectors in millionths, rounded down and no less than 0; integers alone."""
    x, y = numbers(a), numbers(b)
    dot = sum(map(mul, x, y))
    size = sum(map(mul, x, x)) * sum(map(mul, y, y))
    return min(isqrt(dot * dot * MILLION * MILLION // size), MILLION) if dot > 0 and size else 0


def ordered(rows: Iterable[Row], vector: bytes, limit: int) -> list[tuple[Row, int]]:
    """Return the nearest rows, the nearest first; of two that are equally near the smaller id."""
    found = ((cosine_ppm(vector, row.vector), row) for row in rows)
    best = heapq.nsmallest(limit, found, key=lambda one: (-one[0], one[1].id))
    return [(row, near) for near, row in best]


async def digest_of(passages: Passages) -> str:
    """Return the digest over every row in the order of ids, so that it does not depend on the order they came in."""
    hasher, after = blake3(), ""
    while rows := await passages.page(after, 500):
        for row in rows:
            raw = msgspec.msgpack.encode(row)
            hasher.update(len(raw).to_bytes(4, "big") + raw)
        after = rows[-1].id
    return hasher.hexdigest()
