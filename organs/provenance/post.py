"""A post as every reader gives it, and how a reader says no: by name, with the place, before anything is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from shared.constant import constant
from shared.errors import Refusal, Refused
from shared.vault.people import MAX_NAME_CHARS

MAX_TEXT_BYTES = constant(262_144, "bytes", "COL-01")
MAX_LINE_BYTES = constant(1_048_576, "bytes", "COL-01")  # with every escape and every field that nobody reads
MAX_ID_BYTES = constant(256, "bytes", "COL-01")
MAX_FIELD_CHARS = constant(200, "characters", "COL-01")  # of a language, a time, a label
MAX_BATCH_BYTES = constant(16_777_216, "bytes", "COL-01")  # of a source, whereupon a batch is full too


@dataclass(frozen=True, slots=True)
class Post:
    """One post: what it says, and what its source says of it."""

    id: str
    text: str
    lang: str | None = None
    created_at: str | None = None
    author: str | None = None  #: a person's name in the open, sealed before anything is kept
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Read:
    """The posts of the next batch, where the one after it begins, and whether the source ended."""

    posts: list[Post]
    next_offset: int
    ended: bool  #: nothing comes after them
    stopped: bool = False  #: nothing does because whoever ingests wants no more: the corpus goes on another time


class Source(Protocol):
    """Where posts come from. Nothing is read ahead of what was asked for, so whoever writes waits for whoever reads."""

    size: int | None  #: in bytes, where it is known

    async def take(self, most: int) -> Read:
        """Return up to `most` posts: fewer at the end, and where no more came in time. Refused C004, C005."""
        ...

    async def close(self) -> None: ...


def checked(post: Post, where: str) -> Post:
    """Return a post within its bounds. Refused C004, C005."""
    if not post.id or len(post.id.encode()) > MAX_ID_BYTES:
        raise bad(where, f"an id has 1 to {MAX_ID_BYTES} bytes, found {len(post.id.encode())}")
    if len(post.text) * 4 > MAX_TEXT_BYTES and len(post.text.encode()) > MAX_TEXT_BYTES:
        raise too_large(where, len(post.text.encode()), MAX_TEXT_BYTES)
    for name in ("lang", "created_at", "label"):
        said: str | None = getattr(post, name)
        if said is not None and len(said) > MAX_FIELD_CHARS:
            raise bad(where, f"{name} has {len(said)} characters, at most {MAX_FIELD_CHARS} may be")
    if post.author is not None and not 0 < len(post.author.strip()) <= MAX_NAME_CHARS:
        raise bad(where, f"an author has 1 to {MAX_NAME_CHARS} characters, found {len(post.author.strip())}")
    return post


def bad(where: str, why: str) -> Refused:
    """The refusal for a post that cannot be read."""
    return Refused(Refusal("C004", f"{where}: {why}; mend or remove it, and ingest again: it goes on from there"))


def too_large(where: str, size: int, most: int) -> Refused:
    """The refusal for a post that is larger than any may be."""
    return Refused(Refusal("C005", f"{where}: {size} bytes or more, at most {most} may be; remove it"))
