"""Voice and ears on a bus: what is said is heard, what cannot be is refused, and nothing of a person is kept."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from organs.ears import EarsOrgan, ServerHearing, SimHearing, SphinxHearing
from organs.ears.organ import SOMEBODY, hearing_of, listen
from organs.ears.sphinx import confidence_ppm, read_commands
from organs.voice import EspeakSpeech, ServerSpeech, SimSpeech, VoiceOrgan
from organs.voice.organ import speech_of
from shared.bus import Delivery
from shared.codec import decode
from shared.config import load
from shared.errors import ConfigFault, Refusal, Refused
from shared.message import MAX_MESSAGE_BYTES, Message, registered
from shared.openai import OpenAIServer
from shared.part import Part
from shared.subjects.speech import (
    HEARD_MS,
    SOUND_BYTES,
    SPOKEN_BYTES,
    TEXT_BYTES,
    HeardWave,
    HearReply,
    HearRequest,
    SpeakReply,
    SpeakRequest,
    SpokenWave,
)
from shared.wav import STREAMED, Sound, read_wav, write_wav
from shared.world import World, new_id
from tests.commands import Home
from tests.organisms import Living, live_nats, live_sim

UTTERANCE = b"u" * 16
COMMAND = "what opens a gate"
TONE = Sound(b"\x00\x20\x00\xe0" * 8_000, 16_000)


def sensing(world: World) -> list[Part]:
    """A voice and ears, both simulated."""
    return [VoiceOrgan(SimSpeech(), "here", world), EarsOrgan(SimHearing(read_commands(None)), "here", world)]


def speaking(world: World) -> list[Part]:
    """A voice and ears with the engines that are installed here."""
    return [
        VoiceOrgan(EspeakSpeech(), "here", world),
        EarsOrgan(SphinxHearing(read_commands(None)), "here", world),
    ]


async def said(living: Living, text: str = COMMAND) -> SpeakReply:
    """A text, spoken over the bus."""
    reply = await living.operator.request(SpeakRequest(new_id(living.world), text), 30)
    assert isinstance(reply, SpeakReply), reply
    return reply


async def heard(living: Living, audio: bytes, *, answer: bool = False) -> HearReply | Refusal:
    """What the ears make of a sound, over the bus."""
    reply = await living.operator.request(HearRequest(audio, answer), 60)
    assert isinstance(reply, HearReply | Refusal)
    return reply


# Over the bus


@pytest.mark.spec("NIM-17", "NIM-02")
def test_what_the_voice_says_the_ears_hear(tmp_path: Path) -> None:
    """On a real server, with real engines: every word comes back, and more than a message's usual bytes fit in."""

    async def life(living: Living) -> None:
        for text in (COMMAND, "how is the battery", "turn left"):
            spoken = await said(living, text)
            assert spoken.engine.startswith("espeak-ng")
            assert spoken.cost_ulf > 0
            understood = await heard(living, spoken.audio)
            assert isinstance(understood, HearReply), understood
            assert (text, True, "pocketsphinx") == (understood.text, understood.command, understood.engine)
            assert understood.cost_ulf > 0
        long = await said(living, "the notary keeps the tree over the log and signs checkpoints of it")
        assert len(long.audio) > MAX_MESSAGE_BYTES
        assert "H004" == getattr(await heard(living, long.audio), "code", "")

    live_nats(life, tmp_path, speaking)


@pytest.mark.spec("NIM-16", "NIM-17")
def test_engines_that_are_killed_are_replaced_and_nothing_is_lost(tmp_path: Path) -> None:
    """kill -9 of either process, before a request and during one: it is answered all the same."""
    voice, ears = EspeakSpeech(), SphinxHearing(read_commands(None))

    def make(world: World) -> list[Part]:
        return [VoiceOrgan(voice, "here", world), EarsOrgan(ears, "here", world)]

    async def life(living: Living) -> None:
        audio = (await said(living)).audio
        await heard(living, audio)
        for engine, again in ((voice.engine, said(living)), (ears.engine, heard(living, audio))):
            pid = engine.pid
            assert pid is not None
            asking = asyncio.ensure_future(again)
            await asyncio.sleep(0)  # whether it is asked already does not matter
            os.kill(pid, signal.SIGKILL)
            assert not isinstance(await asking, Refusal)
            assert pid != engine.pid

    live_nats(life, tmp_path, make)


@pytest.mark.spec("X-11", "NIM-17")
@pytest.mark.parametrize("answer", [False, True])
def test_words_come_into_a_wave_only_where_they_are_meant_for_it(*, answer: bool) -> None:
    """That somebody spoke is felt always; what they said is only where whoever sent the sound wants it answered."""
    waves: list[Message] = []

    def keep(delivery: Delivery) -> None:
        cls = {HeardWave.pattern("dev"): HeardWave, SpokenWave.pattern("dev"): SpokenWave}.get(delivery.subject)
        if cls is not None:
            waves.append(decode(cls, delivery.data))

    async def life(living: Living) -> None:
        await living.operator.subscribe("dev.organs.>", keep)
        understood = await heard(living, (await said(living)).audio, answer=answer)
        assert isinstance(understood, HearReply)
        await living.world.sleep(1.0)
        spoke, listened = waves
        assert isinstance(spoke, SpokenWave)
        assert isinstance(listened, HeardWave)
        assert COMMAND not in spoke.content
        assert ("speech", "speech") == (spoke.domain, listened.domain)
        assert (understood.utterance, understood.confidence_ppm) == (listened.utterance, listened.confidence_ppm)
        expected = (COMMAND, COMMAND) if answer else ("", SOMEBODY)
        assert expected == (listened.words, listened.content)

    live_sim(life, sensing)


@pytest.mark.spec("X-11")
def test_sounds_and_their_words_are_confidential() -> None:
    """Nothing keeps a request or a reply that carries speech; its waves carry none of it by themselves."""
    mine = [cls for name, cls in registered().items() if name.startswith(("organs.voice.", "organs.ears."))]
    assert {"request", "reply", "signal"} == {cls.kind for cls in mine}
    assert all(cls.confidential == (cls.kind != "signal") for cls in mine)


# What is refused


def refused(text: str = COMMAND, audio: bytes | None = None) -> Refusal:
    """How a text, or a sound, is refused over the bus."""
    found: list[Refusal] = []

    async def life(living: Living) -> None:
        request = SpeakRequest(UTTERANCE, text) if audio is None else HearRequest(audio, answer=False)
        answer = await living.operator.request(request, 10)
        assert isinstance(answer, Refusal), answer
        found.append(answer)

    live_sim(life, sensing)
    return found[0]


@pytest.mark.spec("NIM-17", "X-12")
@pytest.mark.parametrize(
    ("text", "code"),
    [("", "H003"), ("?!", "H003"), ("x" * (TEXT_BYTES + 1), "B003"), ("ä" * (TEXT_BYTES // 2 + 1), "B003")],
)
def test_a_text_that_is_not_spoken_is_refused_by_name(text: str, code: str) -> None:
    """Nothing to say, and too much of it."""
    assert code == refused(text).code


RATES = (0, 7_999, 96_001, 2**32 - 1)


def at_rate(hertz: int) -> bytes:
    """A WAV file that claims a rate."""
    return write_wav(Sound(bytes(4), 16_000)).replace(b"\x80>\0\0", hertz.to_bytes(4, "little"), 1)


FLAWS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "H001"),
    "no WAV": (b"ID3" + bytes(100), "H001"),
    "another RIFF": (b"RIFF\x04\0\0\0AVI ", "H001"),
    "without chunks": (b"RIFF\x04\0\0\0WAVE", "H001"),
    "without samples": (write_wav(Sound(b"", 16_000)), "H003"),
    "cut short": (write_wav(TONE)[:-1], "H001"),
    "half a sample": (write_wav(Sound(b"\0" * 3, 16_000)), "H001"),
    "samples before their format": (b"RIFF\x0c\0\0\0WAVEdata\0\0\0\0", "H001"),
    "a short format": (b"RIFF\x12\0\0\0WAVEfmt \x02\0\0\0\x01\0", "H001"),
    "chunks without end": (b"RIFF" + STREAMED.to_bytes(4, "little") + b"WAVE" + b"abcd\0\0\0\0" * 100, "H001"),
    "floats": (write_wav(TONE).replace(b"\x01\0\x01\0", b"\x03\0\x01\0", 1), "H001"),
    "8 bits": (write_wav(TONE).replace(b"\x02\0\x10\0", b"\x01\0\x08\0", 1), "H001"),
    "three channels": (write_wav(Sound(bytes(6), 16_000, 3)), "H001"),
    **{f"{rate} Hz": (at_rate(rate), "H001") for rate in RATES},
    "silence": (write_wav(Sound(bytes(32_000), 16_000)), "H003"),
    "a click": (write_wav(Sound(b"\xff\x7f" + bytes(32_000), 16_000)), "H004"),
    "a long one": (write_wav(Sound(bytes(2 * 8_000 * (HEARD_MS // 1_000) + 16), 8_000)), "H002"),
    "a large one": (write_wav(Sound(bytes(SOUND_BYTES), 48_000)), "B003"),
    "other words": (write_wav(TONE), "H004"),
}  # fmt: skip


@pytest.mark.spec("NIM-17", "X-12")
@pytest.mark.parametrize("flaw", FLAWS)
def test_a_sound_that_is_not_understood_is_refused_by_name(flaw: str) -> None:
    """Truncated, of another form, too long, silent, random: each with what was found and what was expected."""
    audio, code = FLAWS[flaw]
    assert code == refused(audio=audio).code


@pytest.mark.spec("X-12")
@given(st.binary(max_size=600), st.integers(0, 60), st.binary(max_size=4))
def test_no_bytes_but_a_wav_file_are_one(raw: bytes, place: int, patch: bytes) -> None:
    """Random bytes, and a file with some of its own replaced, are refused by name or read as a sound with samples."""
    whole = write_wav(Sound(b"\x00\x20\x00\xe0" * 100, 16_000))
    for each in (raw, whole[:12] + raw, whole[:place] + patch + whole[place + len(patch) :], whole[:place]):
        try:
            heard_ms = listen(each)[1]
        except Refused as no:
            found = no.refusal.code
        else:
            found = "heard" if heard_ms >= 0 else "before it began"
        assert found in {"heard", "H001", "H002", "H003"}


@pytest.mark.spec("NIM-17")
@given(st.binary(max_size=400), st.integers(8_000, 96_000), st.integers(1, 2))
def test_a_wav_file_says_what_was_written(pcm: bytes, hertz: int, channels: int) -> None:
    """Reading is the inverse of writing, whatever stands between format and samples, or is streamed."""
    sound = Sound(pcm[: len(pcm) // 4 * 4], hertz, channels)
    whole = write_wav(sound)
    assert sound == read_wav(whole)
    streamed = whole[:4] + STREAMED.to_bytes(4, "little") + whole[8:40] + STREAMED.to_bytes(4, "little") + whole[44:]
    assert sound == read_wav(streamed)
    listed = whole[:4] + (len(whole) + 4).to_bytes(4, "little") + whole[8:36] + b"LIST\x03\0\0\0abc\0" + whole[36:]
    assert sound == read_wav(listed)


# Servers


@asynccontextmanager
async def server(answer: web.Response) -> AsyncIterator[tuple[OpenAIServer, list[tuple[str, bytes]]]]:
    """A server that speaks OpenAI's protocol, and what it was asked."""
    asked: list[tuple[str, bytes]] = []

    async def handle(request: web.Request) -> web.Response:
        asked.append((request.path, await request.read()))
        return answer

    app = web.Application(client_max_size=2**20)
    app.router.add_post("/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made = OpenAIServer(f"http://127.0.0.1:{runner.addresses[0][1]}/v1")
    try:
        yield made, asked
    finally:
        await made.close()
        await runner.cleanup()


@pytest.mark.spec("NIM-17")
def test_a_configured_server_speaks() -> None:
    """It is asked as OpenAI's speech protocol has it, and its WAV file is what is said."""

    async def whole() -> None:
        async with server(web.Response(body=write_wav(TONE))) as (at, asked):
            spoken = await ServerSpeech(at, "xtts").speak("hello", "anna", 320)
            assert (TONE, "openai:xtts", "anna") == (spoken.sound, spoken.engine, spoken.voice)
            [(path, raw)] = asked
            assert "/v1/audio/speech" == path
            expected = {"model": "xtts", "input": "hello", "voice": "anna", "response_format": "wav", "speed": 2.0}
            assert expected == msgspec.json.decode(raw)

    asyncio.run(whole())


@pytest.mark.spec("NIM-17")
@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"body": b"no sound"}, "H001"),
        ({"body": write_wav(Sound(bytes(32_000), 16_000))}, "H006"),
        ({"body": write_wav(Sound(b"\1" * 32_000, 16_000, 2))}, "H006"),
        ({"body": bytes(SPOKEN_BYTES + 20_000)}, "H006"),
        ({"status": 404, "text": "no such model"}, "B011"),
        ({"status": 503}, "H006"),
        ({"status": 500}, "H006"),
        ({"status": 401}, "H006"),
    ],
)
def test_a_server_that_does_not_speak_is_refused_by_name(answer: dict[str, Any], code: str) -> None:
    """What is no speech is never handed on as some."""

    async def whole() -> None:
        async with server(web.Response(**answer)) as (at, _):
            with pytest.raises(Refused) as caught:
                await ServerSpeech(at, "xtts").speak("hello", "", 160)
            assert code == caught.value.refusal.code

    asyncio.run(whole())


@pytest.mark.spec("NIM-17")
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"text": " Hello,\n you. "}, ("Hello, you.", 0)),
        ({"text": "hi", "segments": [{"avg_logprob": -0.1, "no_speech_prob": 0.01, "id": 1}]}, ("hi", 904_837)),
        ({"text": "thanks for watching", "segments": [{"avg_logprob": -0.1, "no_speech_prob": 0.9}]}, "H004"),
        ({"text": "  "}, "H004"),
        ({"text": "x" * 501}, "H002"),
        ({"words": []}, "H006"),
        ([1], "H006"),
    ],
)
def test_a_configured_server_hears(answer: object, expected: object) -> None:
    """Its transcript is the words; what it makes of no speech, and what is no transcript, is refused by name."""

    async def whole() -> None:
        async with server(web.json_response(answer)) as (at, asked):
            try:
                understood = await ServerHearing(at, "whisper-1").hear(listen(write_wav(TONE))[0])
            except Refused as no:
                found: object = no.refusal.code
            else:
                found = (understood.text, understood.confidence_ppm)
                assert not understood.command
            assert expected == found
            [(path, form)] = asked
            assert "/v1/audio/transcriptions" == path
            assert b"whisper-1" in form
            assert write_wav(TONE) in form

    asyncio.run(whole())


@pytest.mark.spec("NIM-17")
def test_a_server_that_is_away_is_refused_by_name() -> None:
    """H006, for either."""

    async def whole() -> None:
        gone = OpenAIServer("http://127.0.0.1:9/v1")
        for work in (
            ServerSpeech(gone, "m").speak("hi", "", 160),
            ServerHearing(gone, "m").hear(listen(write_wav(TONE))[0]),
        ):
            with pytest.raises(Refused, match="H006"):
                await work
        await gone.close()

    asyncio.run(whole())


# Configuration


@pytest.mark.spec("NIM-17")
def test_the_settings_choose_the_engines(tmp_path: Path) -> None:
    """Nothing set is what is embedded; an address and a model is that server; one without the other is a fault."""
    plain = {"home": str(tmp_path)}
    nothing = load({}, plain, "here").settings
    assert isinstance(speech_of(nothing), EspeakSpeech)
    assert isinstance(hearing_of(nothing), SphinxHearing)
    for what in ("voice", "ears"):
        url = {f"{what}_url": "http://127.0.0.1:9/v1"}
        chosen = load({}, plain | url | {f"{what}_model": "m"}, "here").settings
        made = speech_of(chosen) if what == "voice" else hearing_of(chosen)
        assert isinstance(made, ServerSpeech | ServerHearing)
        assert ("http://127.0.0.1:9/v1", "m") == (made.server.url, made.model)
        for odd in (url, {f"{what}_model": "m"}, {f"{what}_url": "nats://h", f"{what}_model": "m"}):
            with pytest.raises(ConfigFault):
                load({}, plain | odd, "here")


@pytest.mark.spec("NIM-17")
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "has 0 sentences"),
        (b"# nothing\n\n", "has 0 sentences"),
        (b"go on\nstop | <all>\n", "line 2"),
        (b"go 4\n", "line 1"),
        (b"\xff\xfe", "cannot be read"),
        (b"x" * 101, "line 1"),
        (b"\n".join(b"go " + bytes([97 + n % 26, 97 + n // 26]) for n in range(501)), "has 501 sentences"),
    ],
)
def test_a_list_of_commands_that_is_none_is_a_fault(tmp_path: Path, content: bytes, sentence: str) -> None:
    """The line is named, and nothing in it becomes grammar."""
    file = tmp_path / "commands.txt"
    file.write_bytes(content)
    with pytest.raises(ConfigFault, match=sentence):
        read_commands(file)
    with pytest.raises(ConfigFault, match="cannot be read"):
        read_commands(tmp_path / "nothing.txt")


@pytest.mark.spec("NIM-17")
def test_a_list_of_ones_own_is_heard_and_nothing_else(tmp_path: Path) -> None:
    """Sentences of a file, in any case and with any blanks; a word that the dictionary lacks is named."""
    file = tmp_path / "commands.txt"
    file.write_text("# mine\nOpen   the WINDOW\nopen the window\nplease play some music\n")
    assert ("open the window", "please play some music") == read_commands(file)

    async def whole() -> None:
        voice, ears, odd = EspeakSpeech(), SphinxHearing(read_commands(file)), SphinxHearing(["say nimmerverse"])
        sound = (await voice.speak("please play some music", "", 160)).sound
        heard = listen(write_wav(sound))[0]
        assert "please play some music" == (await ears.hear(heard)).text
        with pytest.raises(Refused, match=r"H006 .* the dictionary has no nimmerverse"):
            await odd.hear(heard)
        for each in (voice, ears, odd):
            await each.close()

    asyncio.run(whole())


@pytest.mark.spec("NIM-17")
@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_confidence_is_a_share(whole: float, weakest: float, apart: float) -> None:
    """Whatever the numbers are; better ones never lower it."""
    found = confidence_ppm(whole, weakest, apart)
    assert 0 <= found <= 1_000_000
    assert found <= confidence_ppm(whole + 1, weakest + 1, max(0.0, apart - 1))


# The command line


@pytest.mark.spec("NIM-17")
def test_say_and_hear(tmp_path: Path) -> None:
    """A text becomes a private WAV file, and a WAV file words; what cannot has its name and its exit code."""
    home, out = Home.at(tmp_path / "home").without_records(), tmp_path / "said.wav"
    with home.up("--part", "organs.voice", "--part", "organs.ears"):
        [told] = home.held("say", "--json", COMMAND, "--out", str(out), "--speed", "150").documents
        assert (str(out), "en-us", 22_050) == (told["out"], told["voice"], told["hertz"])
        assert 0o600 == out.stat().st_mode & 0o777
        assert f"{COMMAND}\n" == home.held("hear", str(out)).out
        [understood] = home.held("hear", "--json", "--answer", str(out)).documents
        assert (COMMAND, True) == (understood["text"], understood["command"])
        other = tmp_path / "other.wav"
        home.held("say", "please play some music", "--out", str(other), "--voice", "en-us+f2")
        for words, code, sentence in (
            (("hear", str(other)), 7, "H004"),
            (("hear", "README.md"), 7, "H001"),
            (("hear", str(tmp_path / "nothing")), 3, "cannot be read"),
            (("say", "?!"), 7, "H003"),
            (("say", "hi", "--voice", "xx-nobody"), 7, "H005"),
            (("say", "hi", "--voice", "../x"), 2, "no voice's name"),
            (("say", "hi", "--speed", "20"), 2, "80 to 450"),
        ):
            done = home.run(*words)
            assert (code, True) == (done.code, sentence in done.err), done.err
    with home.up("--part", "cells.math_cell"):
        nobody = home.run("hear", str(out))
        assert (7, True) == (nobody.code, "start it with `nimmerverse part organs.ears`" in nobody.sentence)


@pytest.mark.spec("NIM-17")
@pytest.mark.parametrize(("module", "extra"), [("espeakng_loader", "voice"), ("pocketsphinx", "ears")])
def test_without_its_extra_an_organ_says_what_to_install(tmp_path: Path, module: str, extra: str) -> None:
    """Where the engine is not installed: B011 and exit 7, with the command that installs it; never silence."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / f"{module}.py").write_text(f"raise ModuleNotFoundError({module!r})\n")
    home, tone = Home.at(tmp_path / "home").without_records(), tmp_path / "tone.wav"
    tone.write_bytes(write_wav(TONE))
    words = ("say", "hello") if extra == "voice" else ("hear", str(tone))
    done = subprocess.run(
        [sys.executable, "-m", "deploy", *words],
        cwd=home.cwd,
        env={**home.environ, "PYTHONPATH": str(hidden)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (7, "") == (done.returncode, done.stdout)
    assert "B011 NO_MODEL" in done.stderr
    assert f"pip install 'nimmerverse[{extra}]'" in done.stderr
    assert "in a clone .venv/bin/python -m pip install '" in done.stderr
