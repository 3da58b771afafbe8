"""The voice organ: speaks a text, or says why not. What it says is in its answer alone; that it speaks is a wave."""

from __future__ import annotations

from typing import ClassVar

from organs.voice.espeak import EspeakSpeech
from organs.voice.port import Speech
from organs.voice.server import ServerSpeech
from organs.voice.simulated import SimSpeech
from shared.constant import constant
from shared.errors import Refusal, Refused
from shared.extras import tell_lacking
from shared.openai import server_at
from shared.part import Organ
from shared.settings import Settings
from shared.subjects.speech import SPEECH, TEXT_BYTES, SpeakReply, SpeakRequest, SpokenWave
from shared.wav import write_wav
from shared.world import SimWorld, World, now_ms

VOICE_ULF = constant(4_000_000, "micro-lifeforce", "NIM-10")
OWN_VOICE_PPM = constant(1_000_000, "ppm", "NIM-12")  # it knows that it speaks


class VoiceOrgan(Organ):
    """Texts in, speech out."""

    name: ClassVar[str] = "voice"
    version: ClassVar[str] = "1.0.0"
    cost_ulf: ClassVar[int] = VOICE_ULF

    def __init__(self, speech: Speech, site: str, world: World) -> None:
        self.speech, self.site, self.world = speech, site, world

    @classmethod
    def build(cls, settings: Settings, world: World) -> VoiceOrgan:
        if settings.voice_url is None:
            tell_lacking(cls.name, "voice", "espeakng_loader")
        return cls(speech_of(settings), settings.site, world)

    @classmethod
    def simulate(cls, world: SimWorld) -> VoiceOrgan:
        return cls(SimSpeech(), "sim", world)

    async def close(self) -> None:
        await self.speech.close()

    def workers(self) -> list[int]:
        return [] if self.speech.pid is None else [self.speech.pid]

    async def on_speak(self, asked: SpeakRequest) -> list[SpokenWave | SpeakReply]:
        """Speak a text. Refused B003 for too long a one, and whatever stands in the engine's way."""
        size = len(asked.text.encode())
        if size > TEXT_BYTES:
            raise Refused(Refusal("B003", f"a text to speak has at most {TEXT_BYTES} bytes, not {size}; shorten it"))
        began_s, before_s = self.world.elapsed_s(), self.world.cpu_s()
        spoken = await self.speech.speak(asked.text, asked.voice, asked.words_per_minute)
        cost_ulf = spoken.cost_ulf + round(1e6 * (self.world.cpu_s() - before_s))
        latency_ms = round(1_000 * (self.world.elapsed_s() - began_s))
        sound = spoken.sound
        which = (asked.utterance, write_wav(sound), sound.hertz, sound.duration_ms)
        reply = SpeakReply(*which, spoken.engine, spoken.voice, cost_ulf, latency_ms)
        felt = (SPEECH, OWN_VOICE_PPM, "I speak", cost_ulf)
        return [SpokenWave(*felt, self.site, now_ms(self.world), asked.utterance, sound.duration_ms), reply]


def speech_of(settings: Settings) -> Speech:
    """Return the voice that the settings choose. Raises KeyFault."""
    if settings.voice_url is None:
        return EspeakSpeech()
    assert settings.voice_model is not None, "no server without a model"
    return ServerSpeech(server_at(settings.voice_url, settings.voice_key), settings.voice_model)
