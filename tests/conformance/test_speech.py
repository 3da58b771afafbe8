"""The ports to a voice and to ears: one behaviour each, held by the real engines and by the simulated ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

import numpy as np
import pytest

from organs.ears import Hearing, SimHearing, SphinxHearing, Understood
from organs.ears.organ import listen
from organs.ears.sound import EAR_HERTZ, levelled, resampled
from organs.ears.sphinx import HEARD_SURE_PPM, read_commands
from organs.voice import EspeakSpeech, SimSpeech, Speech, Spoken
from shared.errors import Refused
from shared.subjects.speech import SPOKEN_BYTES, WORDS_A_MINUTE
from shared.wav import Sound, write_wav

T = TypeVar("T")
COMMANDS = read_commands(None)
OTHERS = (
    "please play some music",
    "my name is john",
    "the weather is lovely today",
    "is anybody there",
    "one two three",
)


class Pair:
    """A voice and ears that understand it, with one loop for both; simulated ones cost nothing."""

    def __init__(self, speech: Speech, hearing: Hearing, *, free: bool) -> None:
        self.speech, self.hearing, self.free = speech, hearing, free
        self._runner = asyncio.Runner()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something in their loop."""
        return self._runner.run(work)

    def speak(self, text: str, voice: str = "", pace: int = WORDS_A_MINUTE) -> Spoken:
        """A text, spoken."""
        return self.run(self.speech.speak(text, voice, pace))

    def hear(self, sound: Sound) -> Understood:
        """A sound, understood as the organ has it."""
        return self.run(self.hearing.hear(listen(write_wav(sound))[0]))

    def is_cost(self, ulf: int) -> bool:
        """Whether something may have cost that much."""
        return ulf == 0 if self.free else ulf > 0

    def close(self) -> None:
        """End both."""
        self.run(self.speech.close())
        self.run(self.hearing.close())
        self._runner.close()


def real() -> Pair:
    """espeak-ng and pocketsphinx."""
    return Pair(EspeakSpeech(), SphinxHearing(COMMANDS), free=False)


def simulated() -> Pair:
    """The simulated ones."""
    return Pair(SimSpeech(), SimHearing(COMMANDS), free=True)


@pytest.fixture(scope="module", params=[real, simulated], ids=lambda make: make.__name__)
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """A voice and ears of each kind, for all tests of this file."""
    make: Callable[[], Pair] = request.param
    made = make()
    yield made
    made.close()


def refusal(work: Callable[[], object]) -> str:
    """The code that something is refused with."""
    with pytest.raises(Refused) as caught:
        work()
    assert caught.value.refusal.detail
    return caught.value.refusal.code


@pytest.mark.spec("NIM-17")
def test_a_voice_speaks(pair: Pair) -> None:
    """A text becomes samples on one channel, says who spoke, and costs what was measured."""
    spoken = pair.speak("how is the battery")
    assert 1 == spoken.sound.channels
    assert any(spoken.sound.pcm)
    assert 200 <= spoken.sound.duration_ms <= 5_000
    assert spoken.engine
    assert spoken.voice
    assert pair.is_cost(spoken.cost_ulf)


@pytest.mark.spec("NIM-17")
def test_a_longer_text_takes_longer(pair: Pair) -> None:
    """Three sentences take longer than one of them."""
    one, three = (pair.speak(text).sound.duration_ms for text in ("turn left", "turn left, turn left, turn left"))
    assert three > 2 * one


@pytest.mark.spec("NIM-17")
def test_the_same_text_takes_as_long(pair: Pair) -> None:
    """Also after another one, and after a refusal; espeak-ng never makes quite the same samples twice."""
    first = pair.speak("go forward").sound
    assert "H005" == refusal(lambda: pair.speak("go forward", "nobody"))
    pair.speak("something else entirely")
    assert 10 >= abs(first.duration_ms - pair.speak("go forward").sound.duration_ms)


@pytest.mark.spec("NIM-17")
@pytest.mark.parametrize(
    ("text", "voice", "code"),
    [
        ("", "", "H003"),
        (" \n\t ", "", "H003"),
        ("… ! ?", "", "H003"),
        ("hello", "xx-nonsense", "H005"),
        ("word " * 2_000, "", "H002"),
    ],
)
def test_what_cannot_be_spoken_is_refused_by_name(pair: Pair, text: str, voice: str, code: str) -> None:
    """Nothing to speak, an unknown voice, and more than one message may carry; never silence, never the half of it."""
    assert code == refusal(lambda: pair.speak(text, voice))


@pytest.mark.spec("NIM-17")
@pytest.mark.parametrize(
    "text", ["\0\0hello\0", "<speak>hello</speak>", "[[h@l'oU]]", "héllo, wörld 👋 你好", "a" * 500]
)
def test_any_text_is_spoken_or_refused(pair: Pair, text: str) -> None:
    """Zeros, markup, phonemes, other scripts and words without end are no more than text."""
    try:
        spoken = pair.speak(text)
    except Refused as no:
        found = no.refusal.code
    else:
        found = "spoken" if len(spoken.sound.pcm) <= SPOKEN_BYTES else "too long"
    assert found in {"spoken", "H002", "H003"}


@pytest.mark.spec("NIM-17")
@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_said_is_heard_word_for_word(pair: Pair, command: str) -> None:
    """Every sentence of the list, as the voice says it, is understood, and more likely said than not."""
    understood = pair.hear(pair.speak(command).sound)
    assert (command, True) == (understood.text, understood.command)
    assert HEARD_SURE_PPM <= understood.confidence_ppm <= 1_000_000
    assert understood.engine
    assert pair.is_cost(understood.cost_ulf)


@pytest.mark.spec("NIM-17")
@pytest.mark.parametrize("text", OTHERS)
def test_what_is_not_listed_is_not_taken_for_what_is(pair: Pair, text: str) -> None:
    """Another sentence is refused, and not forced into one of the list."""
    assert "H004" == refusal(lambda: pair.hear(pair.speak(text).sound))


@pytest.mark.spec("NIM-17")
def test_noise_and_tones_are_no_sentence(pair: Pair) -> None:
    """Hiss and a whistle are heard, and understood as nothing."""
    rng = np.random.default_rng(3)
    moments = np.arange(2 * EAR_HERTZ)
    for wave in (rng.normal(0, 3_000, len(moments)), 8_000 * np.sin(2 * np.pi * 440 * moments / EAR_HERTZ)):
        sound = Sound(wave.astype("<i2").tobytes(), EAR_HERTZ)
        assert "H004" == refusal(lambda sound=sound: pair.hear(sound))


@pytest.mark.spec("NIM-17")
def test_the_same_sound_is_heard_alike(pair: Pair) -> None:
    """Whatever was heard before: nothing of it is left over."""
    sound = pair.speak("who signs the log").sound
    first = pair.hear(sound)
    assert "H004" == refusal(lambda: pair.hear(pair.speak("please play some music").sound))
    again = pair.hear(sound)
    assert (first.text, first.confidence_ppm) == (again.text, again.confidence_ppm)


@pytest.mark.spec("NIM-17")
def test_how_loud_and_in_which_form_it_comes_does_not_matter() -> None:
    """A quiet sound, one on two channels, and one of another rate are understood alike by pocketsphinx."""
    pair = real()
    sound = pair.speak("what opens a gate").sound
    samples = np.frombuffer(sound.pcm, "<i2")
    quiet = Sound((samples // 8).astype("<i2").tobytes(), sound.hertz)
    both = Sound(np.repeat(samples, 2).tobytes(), sound.hertz, 2)
    slower = Sound(levelled(resampled(sound)), EAR_HERTZ)
    assert {"what opens a gate"} == {pair.hear(each).text for each in (sound, quiet, both, slower)}
    pair.close()
