"""A program of its own: one detector in onnxruntime, on one thread, fed with pictures over its standard input.

`python -m organs.vision.worker`. Pictures and models are foreign bytes that libraries in C read, so they are read
here, where nothing else can be lost: with bounded memory, and for a bounded time, after which the kernel ends it. It
also ends with its standard input. Nothing of a picture is written anywhere.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import os
import resource
import signal
import sys
from typing import IO, Any, cast

import msgspec
import numpy as np
from PIL import Image

from organs.vision.layout import Floats, Frame, Layout, layout_of, things
from organs.vision.picture import Picture
from organs.vision.talk import LENGTH_BYTES, Answer, Found, Look, No, Ready, framed
from shared.codec import MAX_REASON_CHARS
from shared.constant import constant
from shared.errors import Refused
from shared.subjects.vision import LABEL_CHARS
from shared.world import RealWorld

WORKER_BYTES = constant(4_000_000_000, "bytes", "X-12")
WORKER_S = constant(30, "s", "X-12")  # longer than the organ waits
USUAL_SIDE = constant(640, "pixels", "NIM-17")  # of an input that a model leaves open
MOST_SIDE = constant(2_048, "pixels", "X-12")
MOST_LABELS = constant(10_000, "classes", "X-12")
MARGIN = (114, 114, 114)  #: the grey that these detectors are trained with
FATAL = 4  #: of onnxruntime's severities
_PARTS = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class Detector:
    """A loaded model, tried once. ValueError says why it is none."""

    def __init__(self, raw: bytes) -> None:
        engine: Any = importlib.import_module("onnxruntime")
        engine.set_default_logger_severity(FATAL)
        options = engine.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session: Any = engine.InferenceSession(raw, options, providers=["CPUExecutionProvider"])
        said = dict(self._session.get_modelmeta().custom_metadata_map)
        self.labels = read_labels(said.get("names", ""))
        self.input, self._type, (self.width, self.height) = self._taken()
        ended = said.get("end2end", said.get("nms", "")).lower() == "true"
        blank = np.zeros((1, 3, self.height, self.width), self._type)
        self.layout: Layout = layout_of(self._run(blank).shape, len(self.labels), ended=ended)

    def _taken(self) -> tuple[str, Any, tuple[int, int]]:
        """Return the input's name and kind of number, and its width and height."""
        inputs = self._session.get_inputs()
        shapes = [(one.type, list(one.shape)) for one in inputs]
        if len(inputs) != 1 or inputs[0].type not in _PARTS or len(inputs[0].shape) != 4:  # noqa: PLR2004 - NCHW
            raise ValueError(f"it takes {shapes}, expected one picture [1, 3, height, width] of floats")
        batch, channels, height, width = (one if isinstance(one, int) and one > 0 else None for one in inputs[0].shape)
        sides = width or USUAL_SIDE, height or USUAL_SIDE
        if batch not in (None, 1) or channels not in (None, 3) or max(sides) > MOST_SIDE:
            raise ValueError(f"it takes {shapes}, expected one picture of 3 colours, no side above {MOST_SIDE}")
        return inputs[0].name, _PARTS[inputs[0].type], sides

    def _run(self, filled: Any) -> Floats:  # noqa: ANN401 - an array of either kind of float
        outputs: list[Any] = self._session.run(None, {self.input: filled})
        if len(outputs) != 1:
            raise ValueError(f"it has {len(outputs)} outputs, expected one")
        return np.asarray(outputs[0], np.float32)

    def look(self, image: Image.Image, least_ppm: int) -> list[tuple[str, int, tuple[int, int, int, int]]]:
        """Return what is in a picture. ValueError where the model's numbers are none."""
        frame = Frame(image.size, (self.width, self.height))
        inside = Image.new("RGB", frame.input, MARGIN)
        inside.paste(image.resize(frame.size, Image.Resampling.BILINEAR), frame.corner)
        filled = (np.asarray(inside, np.float32) / 255.0).transpose(2, 0, 1)[None].astype(self._type)
        found = things(self._run(filled), self.layout, frame, least_ppm / 1e6)
        if any(not 0 <= one.number < len(self.labels) for one in found):
            raise ValueError(f"it names a class that is none of its {len(self.labels)}")
        return [(self.labels[one.number], one.confidence_ppm, one.box) for one in found]


def read_labels(names: str) -> list[str]:
    """Return a model's classes in order, from its own `names`: `{0: 'person', 1: …}` or `['person', …]`. ValueError."""
    try:
        given = ast.literal_eval(names)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        given = None
    listed = cast("dict[Any, Any]", given) if isinstance(given, dict) else None
    if isinstance(given, list | tuple):
        listed = dict(enumerate(cast("list[Any]", given)))
    if not listed or len(listed) > MOST_LABELS or sorted(map(str, listed)) != sorted(map(str, range(len(listed)))):
        raise ValueError(
            "it does not name its classes in its metadata (`names`); install it with --names FILE, one a line"
        )
    by_number = {int(number): name for number, name in listed.items()}
    labels = [by_number[number] for number in range(len(by_number))]
    for label in labels:
        if not isinstance(label, str) or not label.isprintable() or not 0 < len(label) <= LABEL_CHARS:
            raise ValueError(f"it names a class {str(label)[:LABEL_CHARS]!r}; 1 to {LABEL_CHARS} characters may be")
    return labels


def decoded(picture: Picture) -> Image.Image:
    """Return a picture's pixels, as they are stored. ValueError where it cannot be decoded whole."""
    Image.MAX_IMAGE_PIXELS = None  # its header was held against our own bound
    try:
        with Image.open(io.BytesIO(picture.raw), formats=[picture.kind]) as opened:
            opened.load()
            if opened.mode.startswith("I"):  # 16 bits of grey, of which Pillow would take the lower eight
                grey = (np.asarray(opened, np.int32) >> 8).clip(0, 255).astype(np.uint8)
                return Image.fromarray(grey).convert("RGB")
            return opened.convert("RGB")
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError, Image.DecompressionBombError) as error:
        raise ValueError(f"it cannot be decoded ({type(error).__name__}: {error})") from None


def main() -> None:
    """Load what comes first, then look at what comes after it."""
    heard, said = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library may print; only frames go out
    _bound()
    raw = _read(heard)
    if raw is None:
        return
    try:
        detector = Detector(raw)
    except Exception as error:  # noqa: BLE001 - whatever onnxruntime finds, the organ is told
        _say(said, No("model", _shown(error)))
        return
    del raw
    signal.alarm(0)
    _say(said, Ready(detector.width, detector.height, detector.layout, detector.labels))
    world = RealWorld("")
    while (asked := _read(heard)) is not None:
        signal.alarm(WORKER_S)
        before_s = world.cpu_s()
        _say(said, _answer(detector, msgspec.msgpack.decode(asked, type=Look), world, before_s))
        signal.alarm(0)


def _answer(detector: Detector, look: Look, world: RealWorld, before_s: float) -> Answer:
    try:
        image = decoded(Picture.read(look.picture))
    except (ValueError, Refused) as error:
        return No("picture", _shown(error))
    try:
        found = detector.look(image, look.least_ppm)
    except Exception as error:  # noqa: BLE001 - whatever onnxruntime finds, the organ is told
        return No("model", _shown(error))
    return Found(found, round(1e6 * (world.cpu_s() - before_s)))


def _bound() -> None:
    """Take no more memory than a detector needs, leave no core behind, and load a model within its time."""
    signal.alarm(WORKER_S)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(ValueError, OSError):  # macOS does not bound it
        resource.setrlimit(resource.RLIMIT_AS, (WORKER_BYTES, WORKER_BYTES))


def _read(heard: IO[bytes]) -> bytes | None:
    """Return the next frame's body; None at the end."""
    head = heard.read(LENGTH_BYTES)
    size = int.from_bytes(head, "big")
    body = heard.read(size)
    return body if len(head) == LENGTH_BYTES and len(body) == size else None


def _say(said: IO[bytes], answer: Answer) -> None:
    said.write(framed(msgspec.msgpack.encode(answer)))
    said.flush()


def _shown(error: Exception) -> str:
    return " ".join((str(error) or type(error).__name__).split())[:MAX_REASON_CHARS]


if __name__ == "__main__":
    main()
