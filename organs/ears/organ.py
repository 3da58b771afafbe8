"""The ears: understand what is said in a sound, or say why not; that somebody spoke is a wave.

What a person said is about that person. The answer, which nothing keeps, has the words; the wave has them only where
the sender says that it is meant for the organism and wants it answered.
"""

from __future__ import annotations

from typing import ClassVar

from organs.ears.port import Hearing, Understood
from organs.ears.server import ServerHearing
from organs.ears.simulated import SimHearing
from organs.ears.sound import Samples, is_silent, resampled
from organs.ears.sphinx import BUILT_IN, SphinxHearing, read_commands
from shared.constant import constant
from shared.errors import Refusal, Refused
from shared.extras import tell_lacking
from shared.openai import server_at
from shared.part import Garden, Organ
from shared.settings import Settings
from shared.subjects.speech import HEARD_MS, SOUND_BYTES, SPEECH, HeardWave, HearReply, HearRequest
from shared.wav import read_wav
from shared.world import SimWorld, World, new_id, now_ms

HEAR_ULF = constant(5_000_000, "micro-lifeforce", "NIM-10")
UNSAID_PPM = constant(500_000, "ppm", "NIM-12")  # of a wave where the engine does not say how sure it is
SOMEBODY = constant("somebody speaks", "content", "NIM-17")


class EarsOrgan(Organ):
    """Sounds in, words out."""

    name: ClassVar[str] = "ears"
    version: ClassVar[str] = "1.0.0"
    garden: ClassVar[Garden] = "virtual"  #: it feels; nothing of what it says moves anything
    cost_ulf: ClassVar[int] = HEAR_ULF

    def __init__(self, hearing: Hearing, site: str, world: World) -> None:
        self.hearing, self.site, self.world = hearing, site, world

    @classmethod
    def build(cls, settings: Settings, world: World) -> EarsOrgan:
        if settings.ears_url is None:
            tell_lacking(cls.name, "ears", "pocketsphinx")
        return cls(hearing_of(settings), settings.site, world)

    @classmethod
    def simulate(cls, world: SimWorld) -> EarsOrgan:
        return cls(SimHearing(read_commands(BUILT_IN)), "sim", world)

    async def close(self) -> None:
        await self.hearing.close()

    def workers(self) -> list[int]:
        return [] if self.hearing.pid is None else [self.hearing.pid]

    async def on_hear(self, asked: HearRequest) -> list[HeardWave | HearReply]:
        """Understand a sound. Refused by name for what is no sound, too long, silent, or not understood."""
        began_s, before_s = self.world.elapsed_s(), self.world.cpu_s()
        heard, duration_ms = listen(asked.audio)
        understood = await self.hearing.hear(heard)
        cost_ulf = understood.cost_ulf + round(1e6 * (self.world.cpu_s() - before_s))
        latency_ms = round(1_000 * (self.world.elapsed_s() - began_s))
        utterance = new_id(self.world)
        said = (understood.text, understood.confidence_ppm, understood.command, duration_ms)
        reply = HearReply(utterance, *said, understood.engine, understood.model, cost_ulf, latency_ms)
        return [self._wave(understood, utterance, cost_ulf, answer=asked.answer), reply]

    def _wave(self, understood: Understood, utterance: bytes, cost_ulf: int, *, answer: bool) -> HeardWave:
        words = understood.text if answer else ""
        felt = (SPEECH, understood.confidence_ppm or UNSAID_PPM, words or SOMEBODY, cost_ulf)
        return HeardWave(*felt, self.site, now_ms(self.world), utterance, words)


def listen(raw: bytes) -> tuple[Samples, int]:
    """Return the sound in a WAV file as engines want it, and how long it is. Refused B003, H001, H002, H003."""
    if len(raw) > SOUND_BYTES:
        raise Refused(Refusal("B003", f"a sound has at most {SOUND_BYTES} bytes, not {len(raw)}"))
    sound = read_wav(raw)
    if sound.duration_ms > HEARD_MS:
        raise Refused(Refusal("H002", f"the sound takes {sound.duration_ms} ms, at most {HEARD_MS} are heard at once"))
    heard = resampled(sound)
    if is_silent(heard):
        raise Refused(Refusal("H003", f"nothing is to be heard in {sound.duration_ms} ms of sound"))
    return heard, sound.duration_ms


def hearing_of(settings: Settings) -> Hearing:
    """Return the ears that the settings choose. Raises KeyFault, ConfigFault."""
    if settings.ears_url is None:
        return SphinxHearing(read_commands(settings.ears_commands))
    assert settings.ears_model is not None, "no server without a model"
    return ServerHearing(server_at(settings.ears_url, settings.ears_key), settings.ears_model)
