"""A voice for simulations: every byte of the text is a tone's loudness, so that simulated ears hear every word."""

from __future__ import annotations

import struct

from organs.voice.port import Spoken, check_words
from shared.errors import Refusal, Refused
from shared.subjects.speech import SPOKEN_BYTES
from shared.wav import Sound

HERTZ = 16_000
BYTE_SAMPLES = 320
STEP = 100
VOICES = ("sim", "sim+f2")


class SimSpeech:
    """Speaks so that nobody but SimHearing understands it."""

    pid: int | None = None

    async def speak(self, text: str, voice: str, words_per_minute: int) -> Spoken:
        check_words(text)
        chosen = voice or VOICES[0]
        if chosen not in VOICES:
            raise Refused(Refusal("H005", f"there is no voice {chosen!r}"))
        pcm = b"".join(struct.pack("<h", STEP * (1 + byte)) * BYTE_SAMPLES for byte in text.encode())
        if len(pcm) > SPOKEN_BYTES:
            raise Refused(Refusal("H002", f"the text takes {len(pcm)} bytes of samples, at most {SPOKEN_BYTES} may"))
        return Spoken(Sound(pcm, HERTZ), "simulated", chosen, 0)

    async def close(self) -> None:
        return
