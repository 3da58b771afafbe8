"""The port to a voice: a text in, samples out, or a typed refusal; never silence in its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from shared.errors import Refusal, Refused
from shared.wav import Sound


@dataclass(frozen=True, slots=True)
class Spoken:
    """A text as it was spoken, on one channel."""

    sound: Sound
    engine: str
    voice: str
    cost_ulf: int  #: processor time of the engine's own process, in microseconds; 0 where another machine's was used


def check_words(text: str) -> None:
    """Raise Refused H003 for a text in which nothing is a word: an engine may breathe at it."""
    if not any(letter.isalnum() for letter in text):
        raise Refused(Refusal("H003", "the text has no word that could be spoken"))


class Speech(Protocol):
    """Something that speaks."""

    @property
    def pid(self) -> int | None:
        """The engine's own process, if one runs."""
        ...

    async def speak(self, text: str, voice: str, words_per_minute: int) -> Spoken:
        """Return a text as speech, by the engine's own voice where `voice` is empty.

        Refused B011 where there is no engine, H002 for more than SPOKEN_BYTES, H003 for a text with nothing to speak,
        H005 for an unknown voice, H006 where the engine fails.
        """
        ...

    async def close(self) -> None: ...
