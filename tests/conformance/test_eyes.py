"""The port to whatever sees: one behaviour, held by a trained detector, by a vision model and by the simulated eyes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from organs.vision import Eyes, Sight
from organs.vision.detector import SUFFIX, OnnxEyes
from organs.vision.ollama import OllamaEyes
from organs.vision.picture import Picture
from organs.vision.simulated import SimEyes
from shared.models import ModelFolder
from shared.subjects.vision import Seen
from tests.eyes import Scene, detector, found, saved, scene
from tests.vision_server import MODEL, seeing

pytestmark = pytest.mark.spec("NIM-17")

SURE = 400_000
SIZES = ((64, 64), (64, 64), (64, 64), (160, 112), (96, 144), (128, 128))


@cache
def scenes() -> tuple[Scene, ...]:
    """Pictures that nobody learned from, of several sizes."""
    draw = np.random.default_rng(2_024)
    return tuple(scene(draw, *size) for size in SIZES * 6)


@cache
def empty() -> bytes:
    """A picture with nothing on it."""
    ground = np.random.default_rng(5).normal(120, 5, (64, 64, 3)).clip(0, 255).astype(np.uint8)
    return saved(Image.fromarray(ground), "PNG")


def told() -> dict[bytes, list[Seen]]:
    """What the simulated eyes are told: what was drawn, each thing less sure than the one before."""
    return {
        one.png(): [Seen(label, 990_000 - 10_000 * n, *box) for n, (label, box) in enumerate(one.drawn)]
        for one in scenes()
    }


@asynccontextmanager
async def onnx(folder: Path) -> AsyncIterator[Eyes]:
    """The trained detector, in its own process."""
    files = ModelFolder(folder / "models", SUFFIX, "eyes install FILE")
    eyes = OnnxEyes(files, files.put(detector()))
    yield eyes
    await eyes.close()


@asynccontextmanager
async def ollama(folder: Path) -> AsyncIterator[Eyes]:
    """A model that sees, behind a server that speaks Ollama's protocol."""
    async with seeing() as url:
        eyes = OllamaEyes(url, MODEL)
        yield eyes
        await eyes.close()


@asynccontextmanager
async def simulated(folder: Path) -> AsyncIterator[Eyes]:
    """Eyes that see what they were told."""
    yield SimEyes(told())


Try = Callable[[Callable[[Eyes], Coroutine[Any, Any, None]]], None]


@pytest.fixture(params=[onnx, ollama, simulated], ids=lambda make: make.__name__)
def with_eyes(request: pytest.FixtureRequest, tmp_path: Path) -> Try:
    """How to do something with eyes of one kind."""

    def run(body: Callable[[Eyes], Coroutine[Any, Any, None]]) -> None:
        async def whole() -> None:
            async with request.param(tmp_path) as eyes:
                await body(eyes)

        asyncio.run(whole())

    return run


async def looked(eyes: Eyes, raw: bytes, least_ppm: int = SURE) -> Sight:
    """What is seen in a picture."""
    return await eyes.look(Picture.read(raw), least_ppm)


def test_what_is_drawn_is_found_at_its_place(with_eyes: Try) -> None:
    """Of what is on pictures that nobody learned from, four fifths are named rightly at their place; little else is."""

    async def body(eyes: Eyes) -> None:
        right = drawn = seen = 0
        for one in scenes():
            sight = await looked(eyes, one.png())
            right, drawn, seen = right + found(one.drawn, sight.seen), drawn + len(one.drawn), seen + len(sight.seen)
        assert 0.8 * drawn <= right, (right, drawn)
        assert seen <= 1.2 * drawn, (seen, drawn)

    with_eyes(body)


def test_every_box_lies_in_the_picture(with_eyes: Try) -> None:
    """Whatever a picture's sides are, a box is whole pixels of it and has an area; a label is text, a cost counted."""

    async def body(eyes: Eyes) -> None:
        for one in scenes():
            sight = await looked(eyes, one.png(), 1)
            assert sight.cost_ulf > 0
            for seen in sight.seen:
                assert 0 <= seen.left < seen.right <= one.image.width
                assert 0 <= seen.top < seen.bottom <= one.image.height
                assert 1 <= seen.confidence_ppm <= 1_000_000
                assert seen.label.isprintable()

    with_eyes(body)


def test_the_surest_come_first_and_the_unsure_are_left_out(with_eyes: Try) -> None:
    """Asked for what is surer, the answer is the beginning of what it was."""

    async def body(eyes: Eyes) -> None:
        for one in scenes()[:6]:
            whole = (await looked(eyes, one.png(), 100_000)).seen
            assert list(whole) == sorted(whole, key=lambda seen: -seen.confidence_ppm)
            for least in (300_000, 905_000, 1_000_000):
                expected = tuple(seen for seen in whole if seen.confidence_ppm >= least)
                assert expected == (await looked(eyes, one.png(), least)).seen

    with_eyes(body)


def test_nothing_is_seen_in_an_empty_picture(with_eyes: Try) -> None:
    """It is an answer like any other: empty."""

    async def body(eyes: Eyes) -> None:
        assert () == (await looked(eyes, empty())).seen

    with_eyes(body)


def test_a_picture_is_seen_alike_each_time(with_eyes: Try) -> None:
    """Alone or with others at once, and after the eyes were closed: the same is seen."""

    async def body(eyes: Eyes) -> None:
        pictures = [one.png() for one in scenes()[:6]]
        alone = [(await looked(eyes, raw)).seen for raw in pictures]
        together = await asyncio.gather(*(looked(eyes, raw) for raw in pictures))
        assert alone == [sight.seen for sight in together]
        await eyes.close()
        assert alone[0] == (await looked(eyes, pictures[0])).seen
        await eyes.close()
        await eyes.close()

    with_eyes(body)


def test_they_say_who_they_are(with_eyes: Try, request: pytest.FixtureRequest) -> None:
    """The engine by its name, the model by its digest or its name."""

    async def body(eyes: Eyes) -> None:
        assert {"onnx": "onnx", "ollama": "ollama", "simulated": "sim"}[request.node.callspec.id] == eyes.engine
        assert eyes.model

    with_eyes(body)
