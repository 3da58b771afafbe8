"""The scorer of a fresh machine: whole words with weights, put together as independent evidence, in whole numbers.

A passage's score is 1 − Π (1 − weight) over its different words, so a repeated word counts once. The weights were
written, not learned, so that this model holds nothing of anybody's posts (lexicon.txt says what they mean). A text's
score is that of its worst passage.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from blake3 import blake3

from shared.constant import constant
from shared.errors import Damaged
from shared.toxicity.words import forms, hidden, passages, words

LEXICON_DIGEST = constant("9f1e11218ee53244d5a506b0f09ecb40c62fcfe98c4da0cd8ddf2ecdc9122304", "digest", "COL-02")
LEXICON_VERSION = constant("1.0.0", "version", "COL-02")
ONE_PPM = constant(1_000_000, "ppm", "COL-02")

LEXICON = Path(__file__).with_name("lexicon.txt")
#: Words by which a text speaks to somebody.
ADDRESSING = frozenset(("you", "u", "ya", "your", "youre", "ur", "yall", "yourself", "thou"))
_LINE = re.compile(r"(\d+)(?:/(\d+))?: ([a-z_ ]+)")
_VOWEL = re.compile(r"(?<=.)[aeiou](?=.)")
_MASKED_FROM_PPM = 600_000  # the words that people mask


class Weight(NamedTuple):
    """What a word says, in millionths: in a text that speaks to nobody, and in one that does."""

    alone_ppm: int
    addressed_ppm: int


class Lexicon:
    """Words and pairs of words with their weights."""

    def __init__(self, raw: bytes) -> None:
        self.digest = blake3(raw).hexdigest()
        self.name = f"words {LEXICON_VERSION} {self.digest}"
        self._single: dict[str, Weight] = {}
        self._pairs: dict[tuple[str, str], Weight] = {}
        for entry, weight in _entries(raw.decode()):
            first, _, second = entry.partition("_")
            if second:
                self._pairs[first, second] = weight
            else:
                self._single[entry] = weight
        masked = {mask: weight for word, weight in self._single.items() for mask in _masks(word, weight)}
        self._single = masked | self._single

    def scores(self, texts: Sequence[str]) -> list[int]:
        """Return each text's toxicity in millionths."""
        return [max(self.passage_ppm(words(passage)) for passage in passages(text)) for text in texts]

    def passage_ppm(self, found: Sequence[str]) -> int:
        """Return the toxicity of one passage's words in millionths."""
        said = self._said(found)
        if not said:
            return 0
        addressed = not ADDRESSING.isdisjoint(found)
        harmless = ONE_PPM
        for weight in sorted(said.values()):
            harmless = harmless * (ONE_PPM - weight[addressed]) // ONE_PPM
        return ONE_PPM - harmless

    def _said(self, found: Sequence[str]) -> dict[str | tuple[str, str], Weight]:
        """Return the passage's words and pairs that have a weight, each once, as the lexicon spells them."""
        known, pairs = self._single, self._pairs
        said: dict[str | tuple[str, str], Weight] = {word: known[word] for word in found if word in known}
        for word in hidden(found):
            meant = next((form for form in forms(word) if form in known), "")
            if meant:
                said[meant] = known[meant]
        said |= {pair: pairs[pair] for pair in pairwise(found) if pair in pairs}
        return said


@cache
def lexicon() -> Lexicon:
    """Return the product's lexicon, read once. Damaged."""
    return checked(LEXICON.read_bytes(), LEXICON_DIGEST)


def checked(raw: bytes, digest: str) -> Lexicon:
    """Return the lexicon in a file's bytes. Damaged where they are not what the digest names."""
    found = blake3(raw).hexdigest()
    if found != digest:
        raise Damaged(f"the lexicon of toxicity has BLAKE3 {found}, expected {digest}; install the product again")
    return Lexicon(raw)


def _entries(text: str) -> Iterator[tuple[str, Weight]]:
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        read = _LINE.fullmatch(line)
        assert read, f"a line of the lexicon is none: {line[:60]!r}"
        alone = int(read[1])
        for entry in read[3].split():
            yield entry, Weight(alone, int(read[2] or alone))


def _masks(word: str, weight: Weight) -> Iterator[str]:
    """Yield how people write a coarse word without writing it: f*ck, f***, f**k."""
    if weight.alone_ppm >= _MASKED_FROM_PPM and len(word) >= len("f**k"):
        inner = len(word) - 2
        yield _VOWEL.sub("*", word, count=1)
        yield f"{word[0]}{'*' * inner}{word[-1]}"
        yield f"{word[0]}{'*' * (inner + 1)}"
