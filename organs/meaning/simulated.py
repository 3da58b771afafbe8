"""The simulated adapter of the sentence model: every word has a direction of its own, a text is the sum of its words.

It knows no synonyms: texts are alike as far as they share words. That is all a simulated World needs, and it costs
nothing, loads nothing and needs no thread.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from blake3 import blake3

from organs.meaning.minilm import MAX_SENTENCE_TOKENS
from organs.meaning.port import shown
from organs.meaning.vector import mean
from shared.subjects.meaning import VECTOR_BYTES

_WORD = re.compile(r"\w+|[^\w\s]")


class SimEmbedder:
    """Words as drawn directions, whole numbers all the way."""

    digest: str = blake3(b"words as drawn directions, version 1").hexdigest()

    async def load(self) -> None:
        return

    async def vectors(self, texts: Sequence[str]) -> list[bytes]:
        return [drawn(text) for text in texts]

    async def close(self) -> None:
        return


def drawn(text: str) -> bytes:
    """Return the simulated vector of a text."""
    words = _WORD.findall(shown(text).lower())[:MAX_SENTENCE_TOKENS]
    return mean([_direction(word) for word in words])


@lru_cache(maxsize=4_096)
def _direction(word: str) -> bytes:
    return blake3(word.encode()).digest(VECTOR_BYTES)
