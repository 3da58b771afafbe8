"""The words of a text, as scoring reads them: passage by passage, folded, and without whoever is addressed by name.

Nothing here knows what a word means. It undoes what hides a word from a list: HTML entities, accents, lookalike
letters, digits and signs for letters, letters drawn out, letters spelt one by one. Words end where letters end, so a
word inside another is none. All of it takes time in proportion to the text.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator, Sequence

from shared.constant import constant

PASSAGE_CHARS = constant(1_000, "characters", "COL-02")  # a longer text is as toxic as the worst of its passages
MAX_WORD_CHARS = constant(64, "characters", "COL-02")  # what is longer is data, and no word of any language

#: An address in the net, or the name of an account: neither is a word, and both may name a person.
_ADDRESS = re.compile(r"(?:https?://|www\.)\S+|(?<!\w)@\w+")
#: Letters and digits, with the signs that stand for letters inside them, and those that hide a word's end.
_WORD = re.compile(r"[^\W_]+(?:[@$!*]+[^\W_]+)*[$*]*")
_SPELT = re.compile(r"(?<![^\W_])[^\W_](?:[ .\-_*][^\W_]){2,}(?![^\W_])")
_DRAWN_OUT = re.compile(r"(.)\1{2,}")
_SIGNS = str.maketrans("013457@$!", "oieastasi")
#: Cyrillic and Greek letters that look like the Latin ones.
_LOOKALIKES = str.maketrans("асеіјкорѕтухαεικορυ", "aceijkopstyxaeikopu")


def passages(text: str) -> Iterator[str]:
    """Yield the text in pieces of at most 1,000 characters that end between words, where there is such a place."""
    at = 0
    while len(text) - at > PASSAGE_CHARS:
        end = text.rfind(" ", at + PASSAGE_CHARS // 2, at + PASSAGE_CHARS)
        end = at + PASSAGE_CHARS if end < 0 else end
        yield text[at:end]
        at = end
    yield text[at:]


def words(passage: str) -> list[str]:
    """Return a passage's words in their order, folded; words that are spelt letter by letter stand at the end."""
    if "&" in passage:
        passage = html.unescape(passage)
    passage = _folded(_ADDRESS.sub(" ", passage))
    found = [word for word in _WORD.findall(passage) if len(word) <= MAX_WORD_CHARS]
    if not passage.isascii():
        found = [_latin(word) for word in found]
    for spelt in _SPELT.findall(passage):
        letters = "".join(filter(str.isalnum, spelt))
        found += [letters, letters[1:]]  # the first may be a word of its own: a, I, u
    return found


def hidden(found: Sequence[str]) -> list[str]:
    """Return the words that may stand for another: with digits or signs among their letters, or drawn out."""
    drawn_out = _DRAWN_OUT.search(" ".join(found)) is not None
    return [word for word in found if not word.isalpha() or (drawn_out and _DRAWN_OUT.search(word))]


def forms(word: str) -> Iterator[str]:
    """Yield what a word may stand for, as written first: with letters for signs, and not drawn out."""
    yield word
    if not word.isalpha():
        read = word.translate(_SIGNS)
        if not word.isdecimal() and read != word:
            yield read
        word = read if read.isalpha() else word
    twice = _DRAWN_OUT.sub(r"\1\1", word)
    if twice != word:
        yield twice
        yield _DRAWN_OUT.sub(r"\1", word)


def _folded(passage: str) -> str:
    if passage.isascii():
        return passage.lower()
    apart = unicodedata.normalize("NFKD", passage.casefold())
    return "".join(each for each in apart if unicodedata.category(each) not in {"Mn", "Cf"})


def _latin(word: str) -> str:
    """Return the word with Latin letters for lookalikes, where it has Latin letters already."""
    mixed = not word.isascii() and any("a" <= each <= "z" for each in word)
    return word.translate(_LOOKALIKES) if mixed else word
