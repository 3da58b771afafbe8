"""What the child process of the eyes runs: one detector in onnxruntime, on one thread.

Pictures and models are foreign bytes that libraries in C read, so they are read here, where nothing else can be lost:
with bounded memory, and for a bounded time, after which the kernel ends it. Nothing of a picture is written anywhere.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import resource
import signal
from collections.abc import Callable, Generator
from typing import Any, cast

import msgspec
import numpy as np
from PIL import Image

from organs.vision.layout import Floats, Frame, Layout, Model, layout_of, things
from organs.vision.picture import Picture
from organs.vision.port import surest
from shared.constant import constant
from shared.subjects.vision import LABEL_CHARS, Seen

CHILD_BYTES = constant(4_000_000_000, "bytes", "X-12")
CHILD_S = constant(30, "s", "X-12")  # as long as the organ waits or longer; it may be frozen
USUAL_SIDE = constant(640, "pixels", "NIM-17")  # of an input that a model leaves open
MOST_SIDE = constant(2_048, "pixels", "X-12")
MOST_LABELS = constant(10_000, "classes", "X-12")
MARGIN = (114, 114, 114)  #: the grey that these detectors are trained with
FATAL = 4  #: of onnxruntime's severities
_PARTS = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


def load(_: dict[str, Any], raw: bytes) -> Callable[[dict[str, Any], bytes], tuple[dict[str, Any], bytes]]:
    """Return what looks at one picture, and tells of the model where it is given none. ValueError for no detector."""
    _bound()
    with _in_time():
        detector = Detector(raw)

    def look(asked: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        if not data:
            return {}, msgspec.msgpack.encode(detector.model)
        with _in_time():
            try:
                image = decoded(Picture.read(data))
            except ValueError as error:
                return {"no_picture": str(error)}, b""
            return {}, msgspec.msgpack.encode(detector.look(image, int(asked["least_ppm"])))

    return look


def _bound() -> None:
    """Take no more memory than a detector needs, and leave no core behind."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(ValueError, OSError):  # macOS does not bound it
        resource.setrlimit(resource.RLIMIT_AS, (CHILD_BYTES, CHILD_BYTES))


@contextlib.contextmanager
def _in_time() -> Generator[None]:
    """Have the kernel end this process where something takes too long."""
    signal.alarm(CHILD_S)
    yield
    signal.alarm(0)


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

    @property
    def model(self) -> Model:
        """What there is to know of the model."""
        return Model(self.width, self.height, self.layout, self.labels)

    def look(self, image: Image.Image, least_ppm: int) -> tuple[Seen, ...]:
        """Return what is in a picture. ValueError where the model's numbers are none."""
        frame = Frame(image.size, (self.width, self.height))
        inside = Image.new("RGB", frame.input, MARGIN)
        inside.paste(image.resize(frame.size, Image.Resampling.BILINEAR), frame.corner)
        filled = (np.asarray(inside, np.float32) / 255.0).transpose(2, 0, 1)[None].astype(self._type)
        found = things(self._run(filled), self.layout, frame, least_ppm / 1e6)
        if any(not 0 <= one.number < len(self.labels) for one in found):
            raise ValueError(f"it names a class that is none of its {len(self.labels)}")
        return surest([Seen(self.labels[one.number], one.confidence_ppm, *one.box) for one in found], least_ppm)


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
