"""The vision organ: it answers who asks, tells the gates how many of what, keeps nothing, and makes nothing up."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from organs.meaning import MeaningOrgan
from organs.meaning.organ import simulated_meaning
from organs.vision import Eyes, VisionOrgan
from organs.vision.choosing import eyes_of
from organs.vision.detector import SUFFIX, OnnxEyes
from organs.vision.ollama import SIGHT_ATTEMPTS, OllamaEyes, read_things
from organs.vision.organ import felt
from organs.vision.picture import Picture
from organs.vision.port import Sight
from organs.vision.simulated import SimEyes
from shared.bus import Delivery
from shared.codec import decode
from shared.config import load
from shared.errors import ConfigFault, Refusal, Refused
from shared.models import ModelFolder
from shared.ollama import ModelMissing, Unreachable
from shared.part import Part
from shared.subjects.meaning import WaveFelt
from shared.subjects.vision import Seen, VisionReply, VisionRequest, VisionWave
from shared.world import RealWorld, World
from tests.commands import ROOT, Home
from tests.eyes import NAMES, Scene, detector, found, saved, scene
from tests.onnx_models import answering
from tests.organds import SAYS, organd
from tests.organisms import Life, Living, live_nats, live_sim
from tests.spec.test_cli import cheap
from tests.spec.test_detectors import GOOD
from tests.spec.test_pictures import FILES, noisy
from tests.vision_server import MODEL, seeing

pytestmark = pytest.mark.spec("NIM-17")

PICTURE = Picture.read(FILES["png"])
TOLD = [
    Seen("person", 910_000, 1, 2, 9, 20),
    Seen("dog", 800_000, 3, 3, 8, 8),
    Seen("person", 600_000, 10, 2, 19, 20),
    Seen("person", 100_000, 0, 0, 2, 2),
]


def drawn(seed: int = 77) -> Scene:
    """A picture that nobody learned from."""
    return scene(np.random.default_rng(seed))


def part(make: Callable[[], Eyes | None]) -> Callable[[World], list[Part]]:
    """The organ with these eyes, and somebody who hears every wave."""
    return lambda world: [VisionOrgan(make(), world), MeaningOrgan(world, *simulated_meaning())]


async def asked(living: Living, raw: bytes, least_ppm: int = 250_000, *, personal: bool = False) -> Any:  # noqa: ANN401
    """What comes back."""
    return await living.operator.request(VisionRequest(raw, least_ppm, personal), 30)


async def hearing(living: Living) -> list[Delivery]:
    """Everything that is said from now on, but for answers."""
    heard: list[Delivery] = []
    await living.operator.subscribe(f"{living.operator.env}.>", heard.append)
    return heard


async def until_felt(living: Living, heard: list[Delivery], waves: int) -> list[WaveFelt]:
    """What the gates hear of what was seen."""
    async with asyncio.timeout(20):
        while True:
            of = [one for one in heard if ".meaning.felt.vision" in one.subject]
            if len(of) >= waves:
                return [decode(WaveFelt, one.data) for one in of]
            await living.world.sleep(0.02)


@pytest.fixture(params=["sim", "nats"])
def live(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Callable[[World], list[Part]], Life], None]:
    """How to live with these parts: on a simulated server and on a real one."""
    if request.param == "sim":
        return lambda make, life: live_sim(life, make)
    return lambda make, life: live_nats(life, tmp_path / "home", make)


Live = Callable[[Callable[[World], list[Part]], Callable[[Living], Coroutine[Any, Any, None]]], None]


# The organ


@pytest.mark.spec("NIM-02")
def test_what_is_seen_is_answered_and_felt(live: Live) -> None:
    """The answer has every thing and its place; the wave how many of what, as sure as the surest of them."""

    async def life(living: Living) -> None:
        heard = await hearing(living)
        answer = await asked(living, PICTURE.raw)
        assert isinstance(answer, VisionReply), answer
        assert tuple(TOLD[:3]) == answer.seen
        assert (37, 23, "sim", "told") == (answer.width, answer.height, answer.engine, answer.model)
        [wave] = await until_felt(living, heard, 1)
        assert ("vision", "organs.vision.detect", 910_000, 1) == (
            wave.region,
            wave.source,
            wave.confidence_ppm,
            wave.polarity,
        )
        assert "person 2, dog 1" == wave.content
        assert wave.declared

    live(part(lambda: SimEyes({PICTURE.raw: TOLD})), life)


def test_of_a_personal_picture_nothing_is_felt(live: Live) -> None:
    """It is answered, and nobody else learns what was seen; nor is there anything to feel where nothing is."""

    async def life(living: Living) -> None:
        heard = await hearing(living)
        assert tuple(TOLD[:1]) == (await asked(living, PICTURE.raw, 900_000, personal=True)).seen
        assert () == (await asked(living, PICTURE.raw, 950_000)).seen
        assert () == (await asked(living, FILES["jpeg"], 0)).seen
        await asked(living, PICTURE.raw, 700_000)
        [wave] = await until_felt(living, heard, 1)
        assert "dog 1, person 1" == wave.content

    live(part(lambda: SimEyes({PICTURE.raw: TOLD})), life)


def test_nothing_of_a_picture_is_kept(live: Live) -> None:
    """No decision of the organ, and neither picture nor answer in anything but these two, dead letters included."""

    async def life(living: Living) -> None:
        heard = await hearing(living)
        assert isinstance(await asked(living, PICTURE.raw), VisionReply)
        assert "E001" == (await asked(living, PICTURE.raw[:-20])).code
        await until_felt(living, heard, 1)
        env = living.operator.env
        spoken = {VisionRequest.pattern(env), VisionReply.pattern(env)}  # to whom it was asked, and was granted to hear
        for one in heard:
            if one.subject not in spoken:
                assert PICTURE.raw[40:80] not in one.data, one.subject
                assert b"left" not in one.data, one.subject
        kept = [verdict.entry async for verdict in living.operator.replay()]
        assert [] == [entry for entry in kept if ".organs.vision." in entry.subject]
        assert [] == [entry for entry in kept if PICTURE.raw[40:80] in entry.raw]

    live(part(lambda: SimEyes({PICTURE.raw: TOLD})), life)


def test_without_eyes_it_says_what_to_configure(live: Live) -> None:
    """B011, never a guess: for a picture, and for what is none."""

    async def life(living: Living) -> None:
        for raw in (PICTURE.raw, b"", b"no picture"):
            no = await asked(living, raw)
            assert isinstance(no, Refusal)
            assert "B011" == no.code
            assert "vision_detector" in no.detail
            assert "vision_url" in no.detail

    live(part(lambda: None), life)


def test_a_trained_detector_finds_what_is_drawn(tmp_path: Path) -> None:
    """On a real server, with a real detector: the drawn things are in the answer, and a wave says so."""
    one = drawn()
    files = ModelFolder(tmp_path / "models", SUFFIX, "eyes install FILE")

    async def life(living: Living) -> None:
        heard = await hearing(living)
        answer = await asked(living, one.png(), 400_000)
        assert isinstance(answer, VisionReply), answer
        assert len(one.drawn) == found(one.drawn, answer.seen)
        assert ("onnx", blake3(detector()).hexdigest()) == (answer.engine, answer.model)
        assert answer.cost_ulf > 0
        [wave] = await until_felt(living, heard, 1)
        assert wave.content.split()[0] in ("disc", "square")
        no = await asked(living, one.png()[:100])
        assert "E001" == no.code

    live_nats(life, tmp_path / "home", part(lambda: OnnxEyes(files, files.put(detector()))))


@given(labels=st.lists(st.text(min_size=1, max_size=64).filter(str.isprintable), min_size=1, max_size=100))
def test_a_wave_is_short_whatever_was_seen(labels: list[str]) -> None:
    """However many things of however many names: what is felt fits, and begins with what there is most of."""
    wave = felt(Sight(tuple(Seen(label, 500_000, 0, 0, 1, 1) for label in labels), 1))
    most = max(labels.count(label) for label in labels)
    first = min(label for label in labels if labels.count(label) == most)
    assert wave.content.startswith(f"{first} {most}"[:200])
    assert len(wave.content) <= 200
    assert isinstance(wave, VisionWave)


# A vision model behind Ollama's protocol


async def code_of(eyes: Eyes) -> str:
    """What the organ answers with these eyes: the refusal's code and sentence, empty for an answer."""
    organ = VisionOrgan(eyes, RealWorld("dev"))
    try:
        await organ.on_look(VisionRequest(PICTURE.raw))
    except Refused as no:
        return str(no)
    finally:
        await organ.close()
    return ""


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("I see a dog.", "not in the shape"),
        ('{"things": [{"label": "dog", "sure": 101, "box": [0, 0, 9, 9]}]}', "not in the shape"),
        ('{"things": [{"label": "dog", "sure": 90, "box": [0, 0, 9]}]}', "not in the shape"),
        ('{"things": [{"label": "dog", "sure": 90, "box": [0, 0, 9, 1001]}]}', "not in the shape"),
        ('{"things": [{"label": "dog", "sure": 90, "box": [9, 0, 9, 9]}]}', "no area"),
        ('{"things": [{"label": "d\\u0000", "sure": 90, "box": [0, 0, 99, 99]}]}', "printed"),
        ("", "not in the shape"),
    ],
)
def test_a_model_that_does_not_answer_as_asked_is_no_eyes(said: str, words: str) -> None:
    """It is told once what was wrong; then L003 says so. Nothing is made of half an answer."""
    times = 0

    async def say(_: bytes) -> str:
        nonlocal times
        times += 1
        return said

    async def whole() -> str:
        async with seeing(say) as url:
            return await code_of(OllamaEyes(url, MODEL))

    no = asyncio.run(whole())
    assert no.startswith("L003")
    assert words in no
    assert SIGHT_ATTEMPTS == times


def test_a_model_that_answers_at_the_second_time_is_heard() -> None:
    """What was wrong is told, and the next answer counts."""
    answers = ["no list", '{"things": [{"label": "dog", "sure": 90, "box": [0, 0, 500, 1000]}]}']

    async def say(_: bytes) -> str:
        return answers.pop(0)

    async def whole() -> Sight:
        async with seeing(say) as url:
            eyes = OllamaEyes(url, MODEL)
            sight = await eyes.look(PICTURE, 0)
            await eyes.close()
            return sight

    assert Sight((Seen("dog", 900_000, 0, 0, 18, 23),), 10_000) == asyncio.run(whole())


@pytest.mark.parametrize("able", [("completion",), ()])
def test_a_model_that_cannot_see_is_not_asked(able: tuple[str, ...]) -> None:
    """It would answer out of nothing; so its server has to say that it sees. B011 says what to set."""

    async def never(_: bytes) -> str:
        raise AssertionError

    async def whole() -> str:
        async with seeing(never, able) as url:
            return await code_of(OllamaEyes(url, MODEL))

    no = asyncio.run(whole())
    assert no.startswith("B011")
    assert "set vision_model to a model that sees" in no


def test_our_own_server_says_that_its_model_does_not_see(tmp_path: Path) -> None:
    """organd's language models read no pictures: B011; so does a model that it does not hold."""
    with organd(tmp_path) as here:
        assert asyncio.run(code_of(OllamaEyes(here.rest.url, SAYS))).startswith("B011")
        assert asyncio.run(code_of(OllamaEyes(here.rest.url, "nobody"))).startswith("B011")

        async def missing() -> None:
            eyes = OllamaEyes(here.rest.url, "nobody")
            with pytest.raises(ModelMissing):
                await eyes.look(PICTURE, 0)
            await eyes.close()

        asyncio.run(missing())


def test_a_server_that_is_killed_while_it_looks_is_a_named_refusal(tmp_path: Path) -> None:
    """kill -9 in the middle of a picture: L004, at once; away altogether: L004 too. The organ lives on."""
    program = """
import asyncio, sys
from tests.vision_server import seeing
async def say(_):
    print("asked", flush=True)
    await asyncio.Event().wait()
async def main():
    async with seeing(say) as url:
        print(url, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""

    async def whole() -> None:
        server = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        try:
            assert server.stdout is not None
            eyes = OllamaEyes((await server.stdout.readline()).decode().strip(), MODEL)
            asking = asyncio.ensure_future(code_of(eyes))
            assert b"asked\n" == await server.stdout.readline()
            os.kill(server.pid, signal.SIGKILL)
            assert (await asking).startswith("L004")
            assert (await code_of(eyes)).startswith("L004")
            with pytest.raises(Unreachable):
                await eyes.look(PICTURE, 0)
            await eyes.close()
        finally:
            if server.returncode is None:
                server.kill()
            await server.wait()

    asyncio.run(whole())


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2_000) | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["things", "label", "sure", "box", "x"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@pytest.mark.spec("X-12")
@given(text=st.text(max_size=40) | _json.map(json.dumps) | st.just("[" * 5_000))
def test_any_words_of_a_model_are_a_list_or_none(text: str) -> None:
    """Whatever a model says: things that lie in the picture, or one error that says what was wrong."""
    try:
        seen = read_things(text, PICTURE)
    except ValueError:
        return
    assert all(0 <= one.left < one.right <= PICTURE.width for one in seen)
    assert all(0 <= one.top < one.bottom <= PICTURE.height for one in seen)


# Settings and commands


def test_the_settings_choose_the_eyes(tmp_path: Path) -> None:
    """None, a detector by its digest, or a model at an address; half of one, and both, are refused."""
    home = {"home": str(tmp_path)}

    def chosen(**given: str) -> Eyes | None:
        return eyes_of(load({}, home | given, "here").settings)

    assert chosen() is None
    onnx = chosen(vision_detector="ab" * 32)
    assert onnx is not None
    assert ("onnx", "ab" * 32) == (onnx.engine, onnx.model)
    ollama = chosen(vision_url="ollama+http://127.0.0.1:9", vision_model="sees")
    assert isinstance(ollama, OllamaEyes)
    assert ("http://127.0.0.1:9", "sees") == (ollama.client.url, ollama.model)
    for odd in (
        {"vision_detector": "yolo"},
        {"vision_url": "ollama+http://127.0.0.1:9"},
        {"vision_model": "sees"},
        {"vision_url": "http://127.0.0.1:9", "vision_model": "sees"},
        {"vision_url": "ollama+http://h:9", "vision_model": "sees", "vision_detector": "ab" * 32},
    ):
        with pytest.raises(ConfigFault, match="vision_"):
            chosen(**odd)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A data folder whose eyes see with the trained detector, installed as a person would."""
    home, file = cheap(tmp_path_factory.mktemp("eyes") / "home"), tmp_path_factory.mktemp("files") / "trained.onnx"
    file.write_bytes(detector())
    [told] = home.held("eyes", "install", str(file), "--json").documents
    assert {"detector", "layout", "width", "height", "labels"} == told.keys()
    assert blake3(detector()).hexdigest() == told["detector"]
    return home.set(vision_detector=told["detector"])


def test_look_says_what_is_in_a_file(home: Home, tmp_path: Path) -> None:
    """A large file too: in its own pixels, as words and as JSON, and drawn on a copy."""
    one = scene(np.random.default_rng(9), 64, 64)
    file, large, out = tmp_path / "one.png", tmp_path / "large.png", tmp_path / "out.png"
    file.write_bytes(one.png())
    [told] = home.held("look", str(file), "--least", "0.4", "--json").documents
    assert len(one.drawn) == found(one.drawn, [Seen(**seen) for seen in told["seen"]])
    assert "" == told["sent_as"]
    words = home.held("look", str(file), "--least", "0.4").out
    assert all(label in words for label, _ in one.drawn)
    wide = one.image.resize((2_400, 2_400))
    wide.paste(noisy(600, 600), (0, 0))
    large.write_bytes(saved(wide, "PNG"))
    [scaled] = home.held("look", str(large), "--least", "0.4", "--json", "--out", str(out), "--personal").documents
    assert (2_400, 2_400) == (scaled["width"], scaled["height"])
    assert scaled["sent_as"].startswith("JPEG")
    assert all(seen["right"] <= 2_400 for seen in scaled["seen"])
    assert (2_400, 2_400) == (Picture.read(out.read_bytes(), 10**7).width, Picture.read(out.read_bytes(), 10**7).height)


def test_the_commands_refuse_by_name(home: Home, tmp_path: Path) -> None:
    """No file, no picture, no eyes, no detector, and another file than the one that was meant."""
    text, other = tmp_path / "text.png", tmp_path / "other.onnx"
    text.write_text("no picture")
    other.write_bytes(answering(GOOD))
    names = tmp_path / "names"
    names.write_text("disc\nsquare\nhouse")
    picture = tmp_path / "one.png"
    picture.write_bytes(FILES["png"])
    for words, code, sentence in (
        (("look", str(tmp_path / "none.png")), 3, "there is no picture"),
        (("look", str(text)), 7, "E001 NOT_A_PICTURE"),
        (("look", str(picture), "--set", "vision_detector="), 7, "B011 NO_MODEL"),
        (("look", str(picture), "--set", f"vision_detector={'0' * 64}"), 7, "S002"),
        (("eyes", "install", str(tmp_path / "none.onnx")), 3, "cannot be read"),
        (("eyes", "install", str(text)), 7, "F002 WRONG_MODEL"),
        (("eyes", "install", str(other)), 7, "--names FILE"),
        (("eyes", "install", str(other), "--names", str(names)), 7, "7, N"),
        (("eyes", "install", str(other), "--digest", "0" * 64), 7, "expected 0000"),
    ):
        done = home.run(*words)
        assert (code, True) == (done.code, sentence in done.err), (words, done)
    names.write_text("disc\nsquare")
    [told] = home.held("eyes", "install", str(other), "--names", str(names), "--json").documents
    assert ["disc", "square"] == told["labels"]
    other.write_bytes(answering(GOOD, {"names": NAMES}))
    names.write_text("square\ndisc")
    [told] = home.held("eyes", "install", str(other), "--names", str(names), "--json").documents
    assert ["square", "disc"] == told["labels"]


def test_look_says_where_nobody_sees(home: Home, tmp_path: Path) -> None:
    """In an organism without the organ it is unanswered, and is told what starts it; with it, it sees."""
    picture = tmp_path / "one.png"
    picture.write_bytes(FILES["png"])
    with home.up("--part", "cells.math_cell"):
        done = home.run("look", str(picture))
        assert (7, True) == (done.code, "start it with `nimmerverse part organs.vision`" in done.err), done.err
        with home.living("part", "organs.vision", "--json") as part:
            part.document()
            assert "onnx" == home.held("look", str(picture), "--json").documents[0]["engine"]
