"""A voice behind OpenAI's speech protocol, `/audio/speech`: what servers with Coqui, XTTS or Kokoro inside speak."""

from __future__ import annotations

import msgspec

from organs.voice.port import Spoken, check_words
from shared.constant import constant
from shared.errors import Fault, Refusal, Refused
from shared.ollama import ModelMissing
from shared.openai import OpenAIServer
from shared.subjects.speech import SPOKEN_BYTES, WORDS_A_MINUTE
from shared.wav import read_wav
from shared.world import within

SPOKEN_S = constant(30.0, "s", "NIM-17")
DEFAULT_SPEAKER = constant("alloy", "voice", "NIM-17")  # the name that such servers take for their own
WAV_HEADER_BYTES = constant(10_000, "bytes", "X-12")
_JSON = {"Content-Type": "application/json"}


class ServerSpeech:
    """Asks one model of one server."""

    pid: int | None = None  #: the server's process is its own to count

    def __init__(self, server: OpenAIServer, model: str) -> None:
        self.server, self.model = server, model

    async def speak(self, text: str, voice: str, words_per_minute: int) -> Spoken:
        check_words(text)
        chosen = voice or DEFAULT_SPEAKER
        body = {
            "model": self.model,
            "input": text,
            "voice": chosen,
            "response_format": "wav",
            "speed": round(words_per_minute / WORDS_A_MINUTE, 2),
        }
        most = SPOKEN_BYTES + WAV_HEADER_BYTES
        try:
            raw = await within(SPOKEN_S, self.server.post("/audio/speech", msgspec.json.encode(body), most, _JSON))
        except TimeoutError:
            raise Refused(Refusal("H006", f"{self.server.url} said nothing within {SPOKEN_S:g} s")) from None
        except ModelMissing as missing:
            raise Refused(Refusal("B011", str(missing))) from None
        except Fault as fault:
            raise Refused(Refusal("H006", str(fault))) from None
        sound = read_wav(raw)
        if sound.channels != 1 or not any(sound.pcm):
            raise Refused(
                Refusal("H006", f"{self.server.url} sent {sound.channels} channels or silence; one is spoken")
            )
        return Spoken(sound, f"openai:{self.model}", chosen, 0)

    async def close(self) -> None:
        await self.server.close()
