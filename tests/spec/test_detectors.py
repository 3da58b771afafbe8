"""ONNX detectors: what their numbers mean, which files are none, and what becomes of a process that fails."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from organs.vision.detector import PROGRAM, SUFFIX, OnnxEyes, try_out
from organs.vision.layout import Floats, Frame, Layout, Model, layout_of, things
from organs.vision.naming import named, read_names
from organs.vision.onnx_child import read_labels
from organs.vision.picture import Picture
from shared.errors import ConfigFault, Refused
from shared.models import ModelFolder
from shared.ollama import ModelFailed
from tests.commands import ROOT
from tests.eyes import LABELS, NAMES, detector, saved, scene
from tests.onnx_models import FLOAT16, INT64, Graph, answering
from tests.spec.test_pictures import GROUND, chunk, png

pytestmark = pytest.mark.spec("NIM-17")

Corners = tuple[float, float, float, float]
PICTURE = Picture.read(saved(GROUND, "PNG"))
TWO = {"names": NAMES}


def output(layout: Layout, boxes: Sequence[tuple[Corners, int, float]], classes: int = 2) -> Floats:
    """What a model says that finds these: their corners, class and score."""
    if layout == "ended":
        return np.array([[[*corners, score, number] for corners, number, score in boxes]], np.float32)
    rows = np.zeros((len(boxes), 4 + classes), np.float32)
    for row, ((left, top, right, bottom), number, score) in zip(rows, boxes, strict=True):
        row[:4] = (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
        row[4 + number] = score
    if layout == "rows":
        return rows.T[None]
    return np.concatenate([rows[:, :4], np.ones((len(rows), 1), np.float32), rows[:, 4:]], axis=1)[None]


# Layouts


@pytest.mark.parametrize(
    ("shape", "classes", "ended", "layout"),
    [
        ((1, 84, 8_400), 80, False, "rows"),
        ((1, 25_200, 85), 80, False, "columns"),
        ((1, 300, 6), 80, False, "ended"),
        ((1, 300, 6), 1, True, "ended"),
        ((1, 25_200, 6), 1, False, "columns"),
        ((1, 5, 8_400), 1, False, "rows"),
    ],
)
def test_the_widespread_layouts_are_known(shape: Sequence[int], classes: int, *, ended: bool, layout: str) -> None:
    """By the output's shape, the number of classes and, with one class, the model's own word."""
    assert layout == layout_of(shape, classes, ended=ended)


@pytest.mark.parametrize(
    ("shape", "classes", "ended"),
    [
        ((1, 84, 8_400), 79, False),
        ((2, 84, 8_400), 80, False),
        ((84, 8_400), 80, False),
        ((1, 1_000), 1_000, False),
        ((1, 6, 7), 2, False),
        ((1, 6, 6), 2, False),
        ((1, 84, 8_400), 80, True),
        ((), 80, False),
    ],
)
def test_a_shape_that_is_none_or_two_of_them_is_refused(shape: Sequence[int], classes: int, *, ended: bool) -> None:
    """What was found and what was expected are named: nothing is guessed."""
    with pytest.raises(ValueError, match="expected one of"):
        layout_of(shape, classes, ended=ended)


@pytest.mark.parametrize("layout", ["rows", "columns", "ended"])
@given(
    sides=st.tuples(*(st.lists(st.integers(0, 60), min_size=2, max_size=2, unique=True) for _ in range(2))),
    number=st.integers(0, 1),
    score=st.floats(0.3125, 1.0, width=32),
)
def test_each_layout_says_the_same(layout: Layout, sides: tuple[list[int], ...], number: int, score: float) -> None:
    """A box, its class and its score come out of each layout as they were put in; what is unsure does not."""
    (left, right), (top, bottom) = (sorted(side) for side in sides)
    box = (left, top, right, bottom)
    unsure = ((0.0, 0.0, 64.0, 64.0), 1 - number, 0.1)
    [found] = things(output(layout, [(box, number, score), unsure]), layout, Frame((64, 64), (64, 64)), 0.25)
    assert (number, box) == (found.number, found.box)
    assert abs(found.confidence_ppm - 1e6 * score) <= 1


@pytest.mark.parametrize("layout", ["rows", "columns"])
def test_one_thing_is_found_once(layout: Layout) -> None:
    """Of boxes of one class that overlap much the surest is kept; another class or another place is another thing."""
    box, moved, apart = (10.0, 10.0, 30.0, 30.0), (12.0, 11.0, 32.0, 31.0), (40.0, 10.0, 60.0, 30.0)
    said = output(layout, [(moved, 0, 0.6), (box, 0, 0.9), (box, 1, 0.5), (apart, 0, 0.4)])
    found = things(said, layout, Frame((64, 64), (64, 64)), 0.25)
    assert [(0, (10, 10, 30, 30)), (1, (10, 10, 30, 30)), (0, (40, 10, 60, 30))] == [(t.number, t.box) for t in found]


@given(
    picture=st.tuples(st.integers(1, 5_000), st.integers(1, 5_000)),
    sides=st.tuples(st.sampled_from([32, 64, 416, 640]), st.sampled_from([32, 64, 640])),
    corners=st.tuples(*(st.floats(0, 1) for _ in range(4))),
)
def test_a_box_comes_back_from_the_detectors_input(
    picture: tuple[int, int], sides: tuple[int, int], corners: tuple[float, ...]
) -> None:
    """Whatever the picture's sides: it fits into the input, and a box comes back to its place within a pixel."""
    frame = Frame(picture, sides)
    assert all(0 < size <= side for size, side in zip(frame.size, sides, strict=True))
    left, right = sorted(corners[:2])
    top, bottom = sorted(corners[2:])
    shares = (left, top, right, bottom)
    placed = [frame.corner[n % 2] + share * frame.size[n % 2] for n, share in enumerate(shares)]
    back = frame.back(placed)
    if back is not None:
        wanted = [share * picture[n % 2] for n, share in enumerate(shares)]
        assert all(abs(one - other) <= 1 for one, other in zip(back, wanted, strict=True))
        assert 0 <= back[0] < back[2] <= picture[0]
        assert 0 <= back[1] < back[3] <= picture[1]


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), 1.5, -0.5, 80.0])
@pytest.mark.parametrize("layout", ["rows", "columns", "ended"])
def test_numbers_that_cannot_be_meant_so_are_refused(layout: Layout, wrong: float) -> None:
    """Not a number, and scores that are none: a model without its last step is not believed."""
    with pytest.raises(ValueError, match=r"finite|scores"):
        things(output(layout, [((1.0, 1.0, 9.0, 9.0), 0, wrong)] * 2), layout, Frame((64, 64), (64, 64)), 0.25)


@pytest.mark.spec("X-12")
@pytest.mark.parametrize(
    "names",
    ["", "7", "[]", "{}", "{0: 'a', 2: 'b'}", "{'a': 0}", "[1]", "['']", "['a\\n']", "['" + "x" * 65 + "']", "(" * 500],
)
def test_names_that_are_none_are_refused(names: str) -> None:
    """Classes are numbered from nought, each with a name that can be shown."""
    with pytest.raises(ValueError, match="class"):
        read_labels(names)
    assert list(LABELS) == read_labels(NAMES) == read_labels("['disc', 'square']")


# Files


def two_outputs() -> bytes:
    """A model with one output too many."""
    graph = Graph()
    one, other = graph.node("Relu", "images"), graph.node("Neg", "images")
    return graph.file({one: (1, 3, 64, 64), other: (1, 3, 64, 64)}, metadata=TWO)


def heedless(kind: int) -> bytes:
    """A model that takes another kind of numbers, and passes them on."""
    graph = Graph()
    return graph.file({graph.node("Cast", "images", to=1): (1, 3, 64, 64)}, metadata=TWO, kind=kind)


GOOD = output("rows", [((1.0, 1.0, 9.0, 9.0), 0, 0.9)] * 3)
WRONG: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "no detector"),
    "text": (b"hello, world", "no detector"),
    "cut short": (answering(GOOD, TWO)[:-60], "no detector|names"),
    "no names": (answering(GOOD), "--names FILE"),
    "other names": (answering(GOOD, {"names": "['a', 'b', 'c']"}), r"\[1, 6, 3\].*\[1, 7, N\]"),
    "no layout": (answering(np.zeros((1, 1_000), np.float32), TWO), r"\[1, 1000\]"),
    "two outputs": (two_outputs(), "2 outputs"),
    "whole numbers": (heedless(INT64), "of floats"),
    "grey": (answering(GOOD, TWO, (1, 1, 64, 64)), "3 colours"),
    "many at once": (answering(GOOD, TWO, (8, 3, 64, 64)), "3 colours"),
    "a row": (answering(GOOD, TWO, (1, 64)), "one picture"),
    "huge": (answering(GOOD, TWO, (1, 3, 4_096, 4_096)), "2048"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_is_no_detector_is_refused_by_name(name: str) -> None:
    """F002 says what was found and what was expected, and nothing of it is used."""
    raw, words = WRONG[name]
    with pytest.raises(Refused, match=words) as no:
        asyncio.run(try_out(raw))
    assert "F002" == no.value.refusal.code


def test_open_sides_and_half_precision_are_taken() -> None:
    """A model that leaves its input's sides open is shown 640 pixels; one may compute in half precision."""
    opened = answering(GOOD, TWO, ("batch", 3, "height", "width"))
    assert Model(640, 640, "rows", list(LABELS)) == asyncio.run(try_out(opened))
    graph = Graph()
    half = graph.node("Cast", graph.node("ReduceMax", "images", keepdims=0), to=1)
    nothing = graph.node("Mul", half, graph.constant(np.zeros((), np.float32)))
    raw = graph.file({graph.node("Add", graph.constant(GOOD), nothing): GOOD.shape}, metadata=TWO, kind=FLOAT16)
    assert Model(64, 64, "rows", list(LABELS)) == asyncio.run(try_out(raw))


@pytest.mark.spec("X-12")
@pytest.mark.parametrize("files", [4, pytest.param(12, marks=pytest.mark.slow)])
def test_a_damaged_file_takes_nobody_with_it(files: int) -> None:
    """Whatever bytes of a true model are changed or lost: it still loads, or is refused; only its process may die."""
    whole, draw = detector(), random.Random(11)

    async def tried(raw: bytes) -> str:
        try:
            await try_out(raw)
        except Refused as no:
            return no.refusal.code
        return ""

    for _ in range(files):
        damaged = bytearray(whole)
        for _ in range(draw.choice([1, 20])):
            damaged[draw.randrange(draw.choice([400, len(whole)]))] = draw.randrange(256)
        assert asyncio.run(tried(bytes(damaged[: draw.choice([len(whole), draw.randrange(len(whole))])]))) in (
            "",
            "F002",
        )


def test_names_are_sealed_into_a_file(tmp_path: Path) -> None:
    """A file without names is given some, which its digest names too; a list that is none is refused."""
    path = tmp_path / "names.txt"
    path.write_text("disc\n square \n")
    raw = named(answering(GOOD), read_names(path))
    assert list(LABELS) == asyncio.run(try_out(raw)).labels
    for odd in ("", "disc\n\nsquare", "x" * 100):
        path.write_text(odd)
        with pytest.raises(ConfigFault, match="one class a line"):
            read_names(path)


# Processes


def kept(folder: Path, raw: bytes, program: Path = PROGRAM) -> OnnxEyes:
    """Eyes of a detector that lies where it should."""
    files = ModelFolder(folder / "models", SUFFIX, "eyes install FILE")
    return OnnxEyes(files, files.put(raw), program)


async def refused(eyes: OnnxEyes, picture: Picture = PICTURE) -> str:
    """The refusal that comes back, as a sentence."""
    with pytest.raises(Refused) as no:
        await eyes.look(picture, 0)
    return str(no.value)


def test_only_the_file_that_the_digest_names_is_loaded(tmp_path: Path) -> None:
    """No file, another's bytes and a digest that is none are refused by name; put right, it sees."""

    async def whole() -> None:
        eyes = kept(tmp_path, detector())
        path = eyes.files.path(eyes.model)
        path.write_bytes(detector() + b"\0")
        assert (await refused(eyes)).startswith("F002 WRONG_MODEL")
        path.unlink()
        found = await refused(eyes)
        assert found.startswith("S002")
        assert "`eyes install FILE` puts it" in found
        assert (await refused(OnnxEyes(eyes.files, "../secret"))).startswith("S001")
        assert eyes.pid is None
        eyes.files.put(detector())
        assert await eyes.look(PICTURE, 0)
        await eyes.close()

    asyncio.run(whole())


def test_a_picture_that_cannot_be_decoded_is_refused_and_the_next_is_seen(tmp_path: Path) -> None:
    """Whole by its structure, and nothing inside: E001, and the process goes on."""

    async def whole() -> None:
        eyes = kept(tmp_path, detector())
        await eyes.look(PICTURE, 0)
        before = eyes.pid
        for body in (b"nothing that was ever packed", b"", b"x" * 10_000):
            hollow = Picture.read(png(64, 64, chunk(b"IDAT", body)))
            assert (await refused(eyes, hollow)).startswith("E001")
        assert await eyes.look(PICTURE, 0)
        assert before == eyes.pid
        await eyes.close()

    asyncio.run(whole())


def test_a_process_that_is_killed_while_it_looks_is_replaced_and_asked_again(tmp_path: Path) -> None:
    """kill -9 in the middle of a picture: another process sees the same in it."""

    async def whole() -> None:
        eyes = kept(tmp_path, detector())
        first = await eyes.look(PICTURE, 0)
        pid = eyes.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        asking = asyncio.ensure_future(eyes.look(PICTURE, 0))
        done, _ = await asyncio.wait([asking], timeout=0.05)
        assert not done
        os.kill(pid, signal.SIGKILL)
        assert first.seen == (await asking).seen
        assert eyes.pid not in (None, pid)
        await eyes.close()

    asyncio.run(whole())


#: A detector that begins with any file, and dies of any picture or sends what is none of its answers.
ODD = """
import os, signal
def load(options, given):
    def look(asked, picture):
        if asked["least_ppm"]:
            os.kill(os.getpid(), signal.SIGKILL)
        return {}, b"neither one nor the other"
    return look
"""


@pytest.mark.parametrize(("least_ppm", "words"), [(1, "2 times .killed by SIGKILL"), (0, "no answer")])
def test_what_every_process_fails_at_is_told(tmp_path: Path, least_ppm: int, words: str) -> None:
    """A Fault that is worth another attempt; nothing is made of it."""
    program = tmp_path / "odd_child.py"
    program.write_text(ODD)

    async def whole() -> None:
        eyes = kept(tmp_path, detector(), program)
        with pytest.raises(ModelFailed, match=words) as fault:
            await eyes.look(PICTURE, least_ppm)
        assert fault.value.retry
        await eyes.close()

    asyncio.run(whole())


def test_nobody_is_left_behind(tmp_path: Path) -> None:
    """Whoever gives up asking leaves no process, and closed eyes have none."""

    async def whole() -> None:
        eyes = kept(tmp_path, detector())
        await eyes.look(PICTURE, 0)
        pid = eyes.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        asking = asyncio.ensure_future(eyes.look(PICTURE, 0))
        await asyncio.wait([asking], timeout=0.05)
        asking.cancel()
        await asyncio.wait([asking])
        assert not psutil.pid_exists(pid)
        await eyes.look(PICTURE, 0)
        last = eyes.pid
        assert last is not None
        await eyes.close()
        assert not psutil.pid_exists(last)

    asyncio.run(whole())


@pytest.mark.parametrize(
    "said",
    [
        output("rows", [((1.0, 1.0, 9.0, 9.0), 0, float("nan"))] * 3),
        output("rows", [((1.0, 1.0, 9.0, 9.0), 0, 7.0)] * 3),
    ],
)
def test_a_model_whose_numbers_are_none_gives_no_answer(tmp_path: Path, said: Floats) -> None:
    """It is a Fault of the model; nothing is made of it."""

    async def whole() -> None:
        eyes = kept(tmp_path, answering(said, TWO))
        with pytest.raises(ModelFailed, match=r"finite|scores"):
            await eyes.look(PICTURE, 0)
        await eyes.close()

    asyncio.run(whole())


def test_the_process_has_nothing_of_ours(tmp_path: Path) -> None:
    """Its environment holds none of our settings, it is bounded in memory, and leaves no core behind."""

    async def whole() -> None:
        eyes = kept(tmp_path, detector())
        await eyes.look(PICTURE, 0)
        child = psutil.Process(eyes.pid)
        assert [] == [name for name in child.environ() if name.startswith("NIMMERVERSE")]
        assert 4_000_000_000 == child.rlimit(psutil.RLIMIT_AS)[1]
        assert (0, 0) == child.rlimit(psutil.RLIMIT_CORE)
        await eyes.close()

    asyncio.run(whole())


@pytest.mark.parametrize("missing", ["onnxruntime", "PIL"])
def test_without_the_extra_the_eyes_refuse(tmp_path: Path, missing: str) -> None:
    """B011 says what is missing and what to install; nothing is seen."""
    program = f"""
import asyncio, sys
sys.modules[{missing!r}] = None
from pathlib import Path
from organs.vision.detector import OnnxEyes
from organs.vision.picture import Picture
from shared.errors import Refused
from shared.models import ModelFolder
eyes = OnnxEyes(ModelFolder(Path({str(tmp_path)!r}), ".onnx", ""), "0" * 64)
try:
    asyncio.run(eyes.look(Picture.read({PICTURE.raw!r}), 0))
except Refused as no:
    print(no)
"""
    said = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout.startswith(f"B011 NO_MODEL: an ONNX detector needs {missing}, which")
    assert "pip install 'nimmerverse[eyes]'" in said.stdout


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000))
def test_scenes_are_what_they_say(seed: int) -> None:
    """What these tests judge by holds: each thing lies in its picture, apart from the others."""
    one = scene(np.random.default_rng(seed), 100, 60)
    assert 1 <= len(one.drawn) <= 3
    for _, (left, top, right, bottom) in one.drawn:
        assert 0 <= left < right <= 100
        assert 0 <= top < bottom <= 60
