"""Provenance: posts become batches of a corpus, each with one root, and every post's fate is recorded (COL-01)."""

from __future__ import annotations

from typing import Literal

import msgspec

from shared.message import Decision, Ppm, Reply, Request
from shared.subjects.system import Decided

#: What became of a post: it is kept, or dropped for the reason that is named.
Fate = Literal["kept", "toxic", "language", "empty", "duplicate"]
Reader = Literal["jsonl", "x", "text", "trails", "dataset"]


class Tally(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many posts of a batch met which fate."""

    kept: int = 0
    toxic: int = 0
    language: int = 0
    empty: int = 0
    duplicate: int = 0


class Intake(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """By which rules a corpus is taken in; they hold for all of it."""

    reader: Reader
    source: str  #: what it was read from, as whoever ingests calls it; never a path; of `dataset`, the dataset's digest
    licence: str  #: SPDX identifier, or `unknown`
    restrictions: list[str]  #: for instance `non-commercial`, `no-training`
    language: str  #: ISO 639-1 of what is kept; empty where any is
    keep_ppm: Ppm  #: a post is kept up to this toxicity
    scorer: str  #: name, version and digest of the toxicity model; empty where nothing is scored
    policy: str  #: digest of the rules' bundle


class CorpusBegun(Decision, subject="provenance.corpus.event.{corpus}.begun"):
    """A corpus begins to be taken in."""

    corpus: str
    intake: Intake


class BatchSealed(Decision, subject="provenance.corpus.event.{corpus}.sealed"):
    """Up to 1,000 posts are one batch: its root is its id, its records lie in the artifact store (COL-04)."""

    corpus: str
    number: int  #: 0, 1, 2 … without a gap
    root: str  #: 64 hexadecimal digits: BLAKE3 tree over the salted leaves of every post, kept or not
    records: str  #: BLAKE3 digest of the artifact with every post's record, fate, score and salt
    sha256: str  #: of the same, which anchors demand
    posts: int
    tally: Tally
    personal: int  #: posts of a person, sealed under that person's key
    exposed: int  #: posts of nobody in the open whose text names an address, a number or an @handle
    next_offset: int  #: byte of the source at which the next batch begins


class CorpusFinished(Decision, subject="provenance.corpus.event.{corpus}.finished"):
    """The whole source is taken in; what was kept is a dataset now."""

    corpus: str
    batches: int
    posts: int
    tally: Tally
    personal: int
    exposed: int
    dataset: str  #: BLAKE3 digest of the manifest artifact that lists every batch


class CorpusStated(Reply, subject="provenance.corpus.status.reply"):
    """Where a corpus stands; `batches` is -1 where nobody began it."""

    corpus: str
    intake: Intake | None
    batches: int
    posts: int
    tally: Tally
    personal: int
    exposed: int
    next_offset: int
    dataset: str  #: empty while it is not finished


class CorpusStatus(Request, subject="provenance.corpus.status.request", reply=CorpusStated):
    """Ask where a corpus stands, so that whoever ingests goes on from there."""

    corpus: str


class BeginCorpus(Request, subject="provenance.corpus.begin.request", reply=Decided):
    """Begin a corpus; begun with the same rules it goes on. Refused C001: other rules, C002: it is finished."""

    corpus: str
    intake: Intake


class SealBatch(Request, subject="provenance.corpus.seal.request", reply=Decided):
    """Seal the next batch. Refused C003 where it is not the next one; the same batch again changes nothing."""

    corpus: str
    number: int
    root: str
    records: str
    sha256: str
    posts: int
    tally: Tally
    personal: int
    exposed: int
    next_offset: int


class FinishCorpus(Request, subject="provenance.corpus.finish.request", reply=Decided):
    """Say that the source has ended, and which manifest lists the batches."""

    corpus: str
    batches: int
    dataset: str
