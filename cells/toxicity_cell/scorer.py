"""How toxic a text is, in millionths: one port, so that whoever takes texts in knows no model (COL-02)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from shared.constant import constant
from shared.errors import Refusal, Refused
from shared.toxicity.learned import read_model
from shared.toxicity.lexicon import lexicon

REFERENCE_WORD_PPM = constant(150_000, "ppm", "COL-02")

#: The five of its ten words that the source's measured examples pin down.
REFERENCE_WORDS = ("attack", "harm", "hate", "kill", "violent")


class Scorer(Protocol):
    """What scores texts. Total: it never raises, whatever the text, and the same text always has the same score.

    `name` says which model this is: name, version and digest in one string, empty where nothing is scored.
    """

    name: str

    def scores(self, texts: Sequence[str]) -> list[int]:
        """Return each text's toxicity in millionths: the same alone as among others."""
        ...


class NoScorer:
    """Scores nothing, for what nobody posted: a corpus taken in with it has no toxicity at all."""

    name = ""

    def scores(self, texts: Sequence[str]) -> list[int]:
        return [0] * len(texts)


class ReferenceScorer:
    """The rule that the source falls back to, as it stands there: 0.15 for each word found, also inside other words.

    It drops "I will whatever skill harmony whatever", and stands here to be measured against, not to be used.
    """

    name = "reference 1.0.0"

    def scores(self, texts: Sequence[str]) -> list[int]:
        folded = [text.lower() for text in texts]
        return [REFERENCE_WORD_PPM * sum(word in text for word in REFERENCE_WORDS) for text in folded]


def default_scorer() -> Scorer:
    """Return the scorer of a fresh machine. Damaged where its lexicon is not the one that was shipped."""
    return lexicon()


def load_scorer(raw: bytes, digest: str) -> Scorer:
    """Return the learned scorer in a file's bytes. Refused F002 where they are not what the digest names, or none."""
    return read_model(raw, digest)


def promoted_scorer(raw: bytes, digest: str, in_force: str) -> Scorer:
    """Return the scorer that takes the default's place. Refused N006 unless it is the one `in_force`, F002."""
    if digest != in_force:
        found = f"{in_force} is" if in_force else "none is"
        raise Refused(Refusal("N006", f"asked for the toxicity model {digest}; {found} in force; promote it first"))
    return load_scorer(raw, digest)
