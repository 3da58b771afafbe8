"""The embedded voice: espeak-ng in a process of its own, started with the first text and kept warm."""

from __future__ import annotations

from pathlib import Path

from organs.voice.port import Spoken, check_words
from shared.constant import constant
from shared.engine import Engine, EngineFailed, EngineMissing
from shared.errors import Refusal, Refused
from shared.extras import how_to_install
from shared.subjects.speech import SPOKEN_BYTES
from shared.wav import Sound

DEFAULT_VOICE = constant("en-us", "voice", "NIM-17")
SPEAKING_S = constant(10.0, "s", "NIM-17")
PROGRAM = Path(__file__).with_name("espeak_child.py")


class EspeakSpeech:
    """Speaks with espeak-ng. Owns its process."""

    def __init__(self, program: Path = PROGRAM) -> None:
        self.engine = Engine(program)

    @property
    def pid(self) -> int | None:
        return self.engine.pid

    async def speak(self, text: str, voice: str, words_per_minute: int) -> Spoken:
        check_words(text)
        chosen = voice or DEFAULT_VOICE
        asked = {"text": text, "voice": chosen, "words_per_minute": words_per_minute, "room_bytes": SPOKEN_BYTES}
        try:
            said, pcm = await self.engine.ask(asked, b"", SPEAKING_S)
        except EngineMissing as missing:
            todo = f"{how_to_install('voice')}; or set voice_url and voice_model to a server that speaks"
            raise Refused(Refusal("B011", f"the optional extra `voice` is not installed ({missing}): {todo}")) from None
        except EngineFailed as failed:
            raise Refused(Refusal("H006", str(failed))) from None
        if said.get("unknown_voice"):
            raise Refused(Refusal("H005", f"espeak-ng has no voice {chosen!r}; `en-us` and `en-us+f2` are two it has"))
        if said["too_long"]:
            raise Refused(Refusal("H002", f"the text takes more than {SPOKEN_BYTES} bytes of samples; shorten it"))
        if not any(pcm):
            raise Refused(
                Refusal("H003", "espeak-ng makes no sound of this text; none of its words can be said by this voice")
            )
        return Spoken(Sound(pcm, int(said["hertz"])), str(said["engine"]), chosen, int(said["cpu_us"]))

    async def close(self) -> None:
        await self.engine.close()
