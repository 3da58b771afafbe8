"""Whether an open text names somebody. What the log keeps in the open about an erasure may name nobody of the vault."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from shared.errors import Refusal, Refused

WORD_CHARS: Final = 3  #: shorter words of a name stand in many sentences
_WORD: Final = re.compile(r"[^\W_]+")


def refuse_names(said: str, person: str, others: list[str]) -> None:
    """Refused B002 where a text holds a word of the person's name, or the whole name of anybody else."""
    own = {word for word in _words(person) if len(word) >= WORD_CHARS}
    joined = len(person) >= WORD_CHARS and _folded(person) in _folded(said)
    of_others = [name for name in others if len(name) >= WORD_CHARS or not name.isascii()]
    if joined or own.intersection(_words(said)) or any(_holds(said, name) for name in (person, *of_others)):
        found = "the reason or the role names a person of the vault, and the log keeps it for ever"
        raise Refused(Refusal("B002", f"{found}: say why, not who"))


def _holds(said: str, name: str) -> bool:
    """Say whether a name stands in a text as words of its own; not every script parts words by spaces."""
    words = " ".join(_words(name))
    return bool(words) and (
        f" {words} " in f" {' '.join(_words(said))} " or (not name.isascii() and words in _folded(said))
    )


def _folded(text: str) -> str:
    """Return a text as it is compared: one form of each letter, whatever its case or width."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def _words(text: str) -> list[str]:
    return _WORD.findall(_folded(text))
