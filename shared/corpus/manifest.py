"""The manifest of a dataset: by which rules it was taken in, and every batch of it. Its digest names the dataset."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from shared.artifacts import ArtifactStore, read
from shared.canonical import canonical
from shared.corpus.batches import changed
from shared.subjects.provenance import Intake

Kind = Literal["posts", "trails"]
CORPORA: tuple[str, ...] = get_args(Kind)  #: kinds of datasets that are a manifest with batches; others are one content
MANIFEST_MEDIA_TYPE = "application/json"
MAX_MANIFEST_BYTES = 134_217_728


class Listed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One batch of a dataset."""

    number: int
    root: str  #: 64 hexadecimal digits
    records: str  #: the BLAKE3 digest of its artifact
    posts: int
    kept: int


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A dataset, whole."""

    kind: Kind
    corpus: str
    intake: Intake
    batches: list[Listed]

    @property
    def kept(self) -> int:
        """How many records may be learned from."""
        return sum(batch.kept for batch in self.batches)

    def bytes(self) -> bytes:
        """Return its canonical JSON, whose BLAKE3 is the dataset's digest."""
        return canonical(self)


async def read_manifest(store: ArtifactStore, dataset: str) -> Manifest:
    """Return a dataset's manifest. Refused S001, S002, S003, and D005 where it is none; Damaged."""
    raw = await read(store, dataset, MAX_MANIFEST_BYTES)
    try:
        found = msgspec.json.decode(raw, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise changed(f"{dataset} is no manifest ({error})") from None
    if found.bytes() != raw or [batch.number for batch in found.batches] != list(range(len(found.batches))):
        raise changed(f"{dataset} is a manifest that nobody here wrote")
    return found
