"""What a wave means: its region of meaning, found by the organ that holds the sentence embeddings."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from shared.constant import constant
from shared.message import Decision, MessageId, Ppm, Reply, Request, Signal

UNKNOWN = constant(
    "unknown", "region", "NIM-04"
)  # what is near no region, or not clearly nearer to one than to another
VECTOR_BYTES = constant(384, "bytes", "NIM-04")  # a sentence embedding, each number in one signed byte
CONTENT_CHARS = constant(200, "characters", "NIM-04")

Vector = Annotated[bytes, msgspec.Meta(min_length=VECTOR_BYTES, max_length=VECTOR_BYTES)]


class Candidate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A region, and how near the text is to it: the cosine with its nearest prototype, no less than 0."""

    region: str
    similarity_ppm: Ppm


class WaveFelt(Signal, subject="nervous.meaning.felt.{region}"):
    """One wave of any cell and its region: what gates hear.

    `similarity_ppm` is 1,000,000 where the wave's declared domain is itself a region; then nothing was embedded, and
    the vector is the region's own. Where the region is unknown it is 0, and the vector of what says nothing is zeros.
    """

    region: str
    source: str  #: the wave's subject without environment and `.wave`; the server lets nobody else publish there
    wave_id: MessageId
    taken_ms: int  #: when it was felt, by its own header
    confidence_ppm: Ppm
    similarity_ppm: Ppm
    declared: bool
    polarity: Literal[-1, 1]
    direction_cdeg: int | None
    content: str  #: its first characters
    cost_ulf: int
    candidates: tuple[Candidate, ...]  #: up to three regions, the first the one that led
    vector: Vector
    catalogue: str  #: digest of the catalogue, hexadecimal


class MeaningReply(Reply, subject="nervous.meaning.sense.reply", confidential=True):
    """What a text means: its region or `unknown`, and up to three regions, the first the one that led."""

    region: str
    candidates: tuple[Candidate, ...]
    vector: Vector
    catalogue: str


class MeaningRequest(Request, subject="nervous.meaning.sense.request", reply=MeaningReply, confidential=True):
    """Ask what a text means. It may be a person's, so neither it nor its vector is kept."""

    text: str


class CatalogueAdopted(Decision, subject="nervous.meaning.event.{catalogue}.adopted"):
    """From here on regions are found by this catalogue and this model; the catalogue itself is in `regions`."""

    catalogue: str  #: its digest, hexadecimal
    model: str  #: digest of the embedding model's file, hexadecimal
    version: str
    regions: tuple[str, ...]
    learned: bool  #: from labelled examples; otherwise from descriptions
    threshold_ppm: int
    margin_ppm: int
