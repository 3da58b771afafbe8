"""The port to what texts mean: a vector of 384 signed bytes each. The real one asks the organ that holds the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from blake3 import blake3

from shared.constant import constant
from shared.errors import Refusal, Refused
from shared.part.organ import Asking
from shared.subjects.meaning import VECTOR_BYTES, MeaningReply, MeaningRequest

EMBED_S = constant(10.0, "s", "NIM-07")
GRAM = constant(4, "characters", "BIZ-15")
_TOP = 127


class Embedder(Protocol):
    """Turns texts into vectors."""

    @property
    def name(self) -> str:
        """Whose vectors these are; empty before the first."""
        ...

    async def embed(self, texts: Sequence[str]) -> list[bytes]:
        """Return the vector of each text. Raises Refused B011 where nobody knows what texts mean, Unreachable."""
        ...


class BusEmbedder:
    """Asks on the bus what each text means."""

    def __init__(self, bus: Asking) -> None:
        self.bus, self.name = bus, ""

    async def embed(self, texts: Sequence[str]) -> list[bytes]:
        return [await self._one(text) for text in texts]

    async def _one(self, text: str) -> bytes:
        answer = await self.bus.request(MeaningRequest(text), EMBED_S)
        if not isinstance(answer, MeaningReply):
            raise Refused(Refusal("B011", f"nobody says what texts mean, so memory cannot compare them ({answer})"))
        self.name = answer.catalogue
        return answer.vector


class GramEmbedder:
    """The simulated adapter: counts of hashed words and their four-letter pieces. It knows spelling, not meaning."""

    name = "grams"

    async def embed(self, texts: Sequence[str]) -> list[bytes]:
        return [gram_vector(text) for text in texts]


def gram_vector(text: str) -> bytes:
    """Return the counts of a text's hashed pieces, each to one of 384 places with a sign, scaled to signed bytes."""
    counts = [0] * VECTOR_BYTES
    for word in "".join(c if c.isalnum() else " " for c in text.lower()).split() or [text or " "]:
        padded = f" {word} "
        for piece in (word, *(padded[at : at + GRAM] for at in range(max(1, len(padded) - GRAM + 1)))):
            hashed = int.from_bytes(blake3(piece.encode()).digest(length=4), "big")
            counts[hashed % VECTOR_BYTES] += 1 if hashed & 1 << 31 else -1
    top = max(map(abs, counts))
    if not top:  # every piece met its opposite
        counts[0], top = 1, 1
    return bytes(round(count * _TOP / top) & 0xFF for count in counts)
