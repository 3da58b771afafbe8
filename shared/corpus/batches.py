"""The records of one batch: JSON lines, one for each post whether it was kept or not, in the order of the leaves.

    {"id","fate","score_ppm","salt","person","leaf","record"}

`record` is what the leaf commits to, byte for byte; what the rest of a line repeats of it has to agree. A post of
nobody keeps its salt beside it. A post of a person has none here: its salt is derived from that person's key and dies
with it, and then the leaf alone goes on carrying the root.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from shared.artifacts import ArtifactStore, read
from shared.constant import constant
from shared.errors import Refusal, Refused
from shared.log.batch import Batch, record_leaf
from shared.subjects.provenance import Fate

BATCH_MEDIA_TYPE = "application/x-ndjson"
MAX_ARTIFACT_BYTES = constant(134_217_728, "bytes", "COL-04")


class Content(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a leaf commits to: the post as it was found, and what became of it."""

    id: str
    fate: Fate
    score_ppm: int | None  #: its toxicity; None where it was dropped before anything scored it
    lang: str | None  #: as the source says it
    created_at: str | None
    author: str | None  #: the person's pseudonym, 32 hexadecimal digits
    label: str | None
    text: str | None  #: in the open, of nobody
    sealed: list[bytes] | None  #: in pieces, each as in Personal, of a person


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of a batch's artifact."""

    id: str
    fate: Fate
    score_ppm: int | None
    salt: str | None  #: 64 hexadecimal digits
    person: str | None
    leaf: str  #: 64 hexadecimal digits
    record: msgspec.Raw  #: a Content's JSON, byte for byte

    def content(self) -> Content:
        """Return what the leaf commits to. Raises Refused D005 where it cannot be read, or says otherwise."""
        try:
            content = _read_content(bytes(self.record))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise changed(f"the record of {self.id[:80]!r} cannot be read ({error})") from None
        said = (self.id, self.fate, self.score_ppm, self.person)
        if said != (content.id, content.fate, content.score_ppm, content.author):
            raise changed(f"the line of {self.id[:80]!r} is not about its record")
        return content


encode_content = msgspec.json.Encoder().encode
encode_line = msgspec.json.Encoder().encode
_read_content = msgspec.json.Decoder(Content).decode
_read_line = msgspec.json.Decoder(Line).decode


def line_of(content: Content, salt: bytes) -> tuple[Line, bytes]:
    """Return a post's line and its leaf. The salt stays with a post of nobody alone."""
    record = encode_content(content)
    leaf = record_leaf(salt, record)
    kept = salt.hex() if content.author is None else None
    about = (content.id, content.fate, content.score_ppm, kept, content.author)
    return Line(*about, leaf.hex(), msgspec.Raw(record)), leaf


def batch_of(lines: Sequence[Line]) -> Batch:
    """Return the tree over lines' leaves. Raises Refused D005 where one is no leaf."""
    try:
        return Batch.of([bytes.fromhex(line.leaf) for line in lines])
    except (ValueError, Refused) as error:
        raise changed(f"its leaves are none ({error})") from None


async def read_batch(store: ArtifactStore, digest: str) -> list[Line]:
    """Return the lines of a batch's artifact, whole. Refused S001, S002, S003, D005; Damaged."""
    raw = await read(store, digest, MAX_ARTIFACT_BYTES)
    lines: list[Line] = []
    for number, line in enumerate(raw.splitlines(), 1):
        try:
            lines.append(_read_line(line))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise changed(f"line {number} of {digest} is no record ({error})") from None
    return lines


def changed(what: str) -> Refused:
    """The refusal for content that is not what was registered."""
    return Refused(Refusal("D005", what))
