"""Ears behind OpenAI's protocol, `/audio/transcriptions`: what servers with faster-whisper inside speak."""

from __future__ import annotations

import math

import msgspec

from organs.ears.port import Understood
from organs.ears.sound import EAR_HERTZ, Samples, pcm_of
from shared.constant import constant
from shared.errors import Fault, Refusal, Refused
from shared.ollama import ModelMissing
from shared.openai import OpenAIServer
from shared.subjects.speech import WORDS_CHARS
from shared.wav import Sound, write_wav
from shared.world import within

TRANSCRIBED_S = constant(60.0, "s", "NIM-17")
MAX_TRANSCRIPT_BYTES = constant(1_000_000, "bytes", "X-12")
NO_SPEECH = 0.6  #: Whisper's own bound: what it makes of a sound that is less likely speech is made up


class _Segment(msgspec.Struct):
    avg_logprob: float | None = None
    no_speech_prob: float = 0.0


class _Transcript(msgspec.Struct):
    text: str
    segments: list[_Segment] = []


class ServerHearing:
    """Asks one model of one server."""

    pid: int | None = None  #: the server's process is its own to count

    def __init__(self, server: OpenAIServer, model: str) -> None:
        self.server, self.model = server, model

    async def hear(self, heard: Samples) -> Understood:
        try:
            raw = await within(TRANSCRIBED_S, self._post(write_wav(Sound(pcm_of(heard), EAR_HERTZ))))
            said = msgspec.json.decode(raw, type=_Transcript)
        except TimeoutError:
            raise Refused(Refusal("H006", f"{self.server.url} said nothing within {TRANSCRIBED_S:g} s")) from None
        except ModelMissing as missing:
            raise Refused(Refusal("B011", str(missing))) from None
        except Fault as fault:
            raise Refused(Refusal("H006", str(fault))) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Refused(Refusal("H006", f"{self.server.url} sent no transcript: {error}")) from None
        text = " ".join(said.text.split())
        made_up = bool(said.segments) and all(segment.no_speech_prob > NO_SPEECH for segment in said.segments)
        if not text or made_up:
            raise Refused(Refusal("H004", "the model hears no speech in it"))
        if len(text) > WORDS_CHARS:
            raise Refused(Refusal("H002", f"{len(text)} characters were said, at most {WORDS_CHARS} are heard at once"))
        return Understood(text, _confidence_ppm(said.segments), "openai", self.model)

    async def close(self) -> None:
        await self.server.close()

    async def _post(self, wav: bytes) -> bytes:
        import aiohttp

        form = aiohttp.FormData()
        form.add_field("file", wav, filename="speech.wav", content_type="audio/wav")
        form.add_field("model", self.model)
        form.add_field("response_format", "verbose_json")
        return await self.server.post("/audio/transcriptions", form, MAX_TRANSCRIPT_BYTES)


def _confidence_ppm(segments: list[_Segment]) -> int:
    """Return the mean likelihood of a token, 0 where the server does not say it."""
    said = [segment.avg_logprob for segment in segments if segment.avg_logprob is not None]
    return round(1_000_000 * math.exp(min(0.0, sum(said) / len(said)))) if said else 0
