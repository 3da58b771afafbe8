"""The port to a sentence model: texts in, vectors of 384 signed bytes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from shared.constant import constant
from shared.subjects.meaning import VECTOR_BYTES

MAX_SENTENCE_CHARS = constant(8_192, "characters", "NIM-04")  # far more than 256 words; the rest is not read
NOWHERE = bytes(VECTOR_BYTES)  #: the vector of what says nothing; its cosine with everything is 0


class Embedder(Protocol):
    """A sentence model. A text's vector depends on the text and the model alone, not on what else is asked."""

    @property
    def digest(self) -> str:
        """The model's own digest, hexadecimal: vectors of two models are never compared."""
        ...

    async def load(self) -> None:
        """Have the model ready, so that the first question does not wait for it. NoModel, Damaged."""
        ...

    async def vectors(self, texts: Sequence[str]) -> list[bytes]:
        """Return the vector of each text: NOWHERE for an empty one. NoModel, Damaged: nothing was embedded."""
        ...

    async def close(self) -> None:
        """Let go of the model; the next question loads it again."""
        ...


def shown(text: str) -> str:
    """Return what of a text is read: bounded, and without the blanks around it."""
    return text[:MAX_SENTENCE_CHARS].strip()
