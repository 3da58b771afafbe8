"""The ports of the anchor organ: calendars, time-stamp authorities, and the place where proofs are kept."""

from __future__ import annotations

import re
from typing import Protocol

from organs.anchor.ots import Timestamp

#: `folder/name`: what a proof store's names look like.
STORE_NAME = re.compile(r"[a-z]+/[0-9A-Za-z_-]+(\.[0-9a-z]+)*")


class Calendar(Protocol):
    """Something that promises to have a digest timestamped, and later says how that went."""

    @property
    def uri(self) -> str:
        """The address that its promises carry."""
        ...

    async def submit(self, digest: bytes) -> Timestamp:
        """Return a timestamp of a 32-byte digest that ends in this calendar's promise.

        A nonce is mixed in first, so that nobody recognises the digest or its neighbours. Raises Unreachable, Refused
        A004 for an answer that is none.
        """
        ...

    async def upgrade(self, commitment: bytes) -> Timestamp | None:
        """Return what became of a promised message, or None where there is nothing new. Raises as `submit`."""
        ...


class Fallback(Calendar, Protocol):
    """The calendar of this installation: it promises while nobody outside can be reached, and catches up later."""

    async def open(self) -> None: ...

    async def close_round(self, public: Calendar) -> int:
        """Have one root over every waiting commitment promised by a public calendar; return how many there were."""
        ...


class TimestampAuthority(Protocol):
    """Something that signs a digest together with the time (RFC 3161)."""

    @property
    def name(self) -> str:
        """Whose word it is."""
        ...

    @property
    def local(self) -> bool:
        """Whether it belongs to this installation: then its word is no evidence for anybody else."""
        ...

    async def stamp(self, digest: bytes) -> bytes:
        """Return a response with a token over a 32-byte digest, checked. Raises Unreachable, Refused A005."""
        ...

    async def check(self, digest: bytes, response: bytes) -> None:
        """Return where a response holds a token of this authority over this digest; else raise Refused A005."""
        ...


class ProofStore(Protocol):
    """Named bytes, each written whole or not at all, and on disk when `put` returns."""

    async def open(self) -> None: ...

    async def put(self, name: str, content: bytes) -> None:
        """Keep bytes under `folder/name`, instead of what was there. Raises StorageFault."""
        ...

    async def get(self, name: str) -> bytes | None:
        """Return what is kept under a name, None where nothing is. Raises StorageFault."""
        ...

    async def names(self, folder: str) -> list[str]:
        """Return every name in a folder, in order."""
        ...

    async def remove(self, name: str) -> None:
        """Forget a name; nothing happens where it is not there."""
        ...


def checked_name(name: str) -> str:
    """Return a store's name as it is; a name of another shape is a bug of ours."""
    assert STORE_NAME.fullmatch(name), name
    return name
