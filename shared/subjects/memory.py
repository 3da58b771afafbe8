"""Living memory: passages with their provenance, remembered and forgotten as decisions, found again by meaning."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from shared.constant import constant
from shared.message import Decision, Ppm, Reply, Request
from shared.personal import Personal
from shared.subjects.system import Decided

PASSAGE_BYTES = constant(2_000, "bytes", "BIZ-15")
BATCH_PASSAGES = constant(16, "passages", "X-12")
FORGET_IDS = constant(1_000, "passages", "X-12")
MAX_RECALLED = constant(20, "passages", "X-12")
LISTED = constant(20, "passages", "X-12")
ORIGIN_CHARS = constant(128, "characters", "X-12")
HEADING_CHARS = constant(200, "characters", "X-12")
QUERY_BYTES = constant(8_192, "bytes", "X-12")

#: What happened, what is so, how it is done, what matters right now, what is to come (BIZ-15).
MemoryKind = Literal["episodic", "semantic", "procedural", "working", "prospective"]
OriginKind = Literal["artifact", "log", "file"]
WhyForgotten = Literal["asked", "expired", "erased"]

Count = Annotated[int, msgspec.Meta(ge=0)]


class Origin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a passage stands word for word: bytes of a file or of an artifact, or an event of the log."""

    kind: OriginKind
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=ORIGIN_CHARS)]  #: file name, digest, or who decided
    heading: Annotated[str, msgspec.Meta(max_length=HEADING_CHARS)]  #: of the section it stands in
    first: Count  #: its first byte; in the log the entry's index
    end: Count  #: the byte after its last; in the log the event's offset


class Passage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something to remember."""

    kind: MemoryKind
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=PASSAGE_BYTES)]
    origin: Origin
    about_ms: Count  #: when it was so; 0: at no time in particular
    due_ms: Count  #: prospective: when it is to come; else 0


class Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A passage as the log keeps it, its meaning with it. What is about a person is in `sealed` alone."""

    id: str  #: 32 hexadecimal digits
    kind: MemoryKind
    text: str
    vector: bytes
    origin: Origin
    about_ms: int
    due_ms: int
    heard: int  #: how many episodes it stands for
    sealed: Personal[str] | None
    sealed_vector: Personal[str] | None


class Remembered(Decision, subject="organs.memory.event.{source}.remembered"):
    """From here on these passages are remembered, in the place of those in `forgets`."""

    source: str
    embedder: str  #: whose vectors these are
    passages: tuple[Kept, ...]
    forgets: tuple[str, ...]


class Forgotten(Decision, subject="organs.memory.event.{source}.forgotten"):
    """From here on these passages are not found any more."""

    source: str
    ids: tuple[str, ...]
    why: WhyForgotten


class RememberRequest(Request, subject="organs.memory.remember.request", reply=Decided, confidential=True):
    """Remember passages of one source. With `person`, the name of whom they are about, they are sealed for this one."""

    source: Annotated[str, msgspec.Meta(min_length=1, max_length=ORIGIN_CHARS)]
    passages: Annotated[tuple[Passage, ...], msgspec.Meta(min_length=1, max_length=BATCH_PASSAGES)]
    person: str
    renews: bool  #: forget what this source held before


class ForgetRequest(Request, subject="organs.memory.forget.request", reply=Decided):
    """Forget passages by their ids."""

    ids: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=FORGET_IDS)]


class Recalled(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A passage that was found, and how near it is to what was asked; about a person, its text is sealed."""

    id: str
    kind: MemoryKind
    text: str
    origin: Origin
    source: str
    about_ms: int
    due_ms: int
    heard: int
    similarity_ppm: Ppm
    sealed: Personal[str] | None


class MemoryReply(Reply, subject="organs.memory.search.reply", confidential=True):
    """The nearest passages, the nearest first."""

    recalled: tuple[Recalled, ...]
    searched: int  #: how many passages there are
    embedder: str


class MemoryRequest(Request, subject="organs.memory.search.request", reply=MemoryReply, confidential=True):
    """Ask what memory holds about a text."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=QUERY_BYTES)]
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_RECALLED)]
    kinds: tuple[MemoryKind, ...]  #: empty: all
    least_ppm: Ppm


class MemoryListed(Reply, subject="organs.memory.list.reply"):
    """Passages in the order of their ids; empty after the last."""

    passages: tuple[Recalled, ...]


class MemoryListRequest(Request, subject="organs.memory.list.request", reply=MemoryListed):
    """Ask for the next passages after an id, of one source or, where it is empty, of all."""

    source: str
    after: str


class MemoryStatus(Reply, subject="organs.memory.status.reply"):
    """How much is remembered, and the digest over all of it, whatever order it came in."""

    passages: int
    kinds: dict[MemoryKind, int]
    next_index: int  #: of the first entry of the log that memory has not seen
    digest: str


class MemoryStatusRequest(Request, subject="organs.memory.status.request", reply=MemoryStatus):
    """Ask how much is remembered; `whole` has the digest computed."""

    whole: bool


class MemoryRebuildRequest(Request, subject="organs.memory.rebuild.request", reply=MemoryStatus):
    """Have memory read from the log again; the answer is how it stands then."""
