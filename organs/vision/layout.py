"""What the numbers of a detector mean: the widespread YOLO layouts, and the way from its input back to the picture.

    rows     [1, 4 + classes, N]   centre x and y, width, height, one score for each class (YOLOv8 and later)
    columns  [1, N, 5 + classes]   the same, and before the scores one for there being anything at all (YOLOv5, v7)
    ended    [1, N, 6]             left, top, right, bottom, score, class: each thing once already (YOLOv10, with NMS)

All in pixels of the model's own input. A shape that is none of these, or could be two of them, is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from shared.constant import constant

OVERLAP = constant(0.45, "intersection over union", "NIM-17")  # two boxes of one class that overlap more are one thing
BOXES_WEIGHED = constant(1_000, "boxes", "X-12")
ENDED_COLUMNS = 6
ONE = 1.001  #: a score that is larger by more than rounding is none

Layout = Literal["rows", "columns", "ended"]
Floats = NDArray[np.float32]


class Model(msgspec.Struct, frozen=True):
    """What a model says of itself: the sides of its input, how it answers, and what it tells apart."""

    width: int
    height: int
    layout: Layout
    labels: list[str]


@dataclass(frozen=True, slots=True)
class Thing:
    """One detection: its class by number, its score in millionths, its box in pixels of the picture."""

    number: int
    confidence_ppm: int
    box: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Frame:
    """How a picture lies in a detector's input: shrunk or grown as a whole, in the middle, with margins (letterbox)."""

    picture: tuple[int, int]  #: width and height, as in the others
    input: tuple[int, int]

    @property
    def scale(self) -> float:
        """How many pixels of the input one of the picture's has for a side."""
        return min(self.input[0] / self.picture[0], self.input[1] / self.picture[1])

    @property
    def size(self) -> tuple[int, int]:
        """The picture's sides in the input."""
        width, height = (max(round(side * self.scale), 1) for side in self.picture)
        return width, height

    @property
    def corner(self) -> tuple[int, int]:
        """Where its upper left corner lies in the input."""
        return (self.input[0] - self.size[0]) // 2, (self.input[1] - self.size[1]) // 2

    def back(self, box: Sequence[float]) -> tuple[int, int, int, int] | None:
        """Return a box of the input as one of the picture, whole pixels; None where nothing of it lies in there."""
        found = list[int]()
        for place, value in enumerate(box):
            axis = place % 2
            inside = (float(value) - self.corner[axis]) * self.picture[axis] / self.size[axis]
            found.append(round(min(max(inside, 0.0), float(self.picture[axis]))))
        left, top, right, bottom = found
        return (left, top, right, bottom) if left < right and top < bottom else None


def layout_of(shape: Sequence[int], classes: int, *, ended: bool) -> Layout:
    """Return what an output of this shape is. ValueError where it is none of the layouts, or could be two.

    `ended` is the model's own word that each thing comes once; with one class its shape alone would not say so.
    """
    may: dict[Layout, bool] = {}
    if len(shape) == 3 and shape[0] == 1:  # noqa: PLR2004 - the layouts have three dimensions
        if ended:
            may = {"ended": shape[2] == ENDED_COLUMNS}
        else:
            many = shape[2] == ENDED_COLUMNS and classes > 1
            may = {"rows": shape[1] == 4 + classes, "columns": shape[2] == 5 + classes, "ended": many}
    found: list[Layout] = [layout for layout in may if may[layout]]
    if len(found) != 1:
        expected = f"[1, {4 + classes}, N], [1, N, {5 + classes}] or [1, N, {ENDED_COLUMNS}]"
        raise ValueError(
            f"its output is {list(shape)}, which is {' and '.join(found) or 'no layout'} of {classes} classes; "
            f"expected one of {expected}"
        )
    return found[0]


def things(output: Floats, layout: Layout, frame: Frame, least: float) -> list[Thing]:
    """Return what an output says is there and at least so sure. ValueError where its numbers cannot be meant so."""
    if not np.isfinite(output).all():
        raise ValueError("some of its numbers are not finite")
    boxes, scores, numbers = _read(output[0], layout)
    sure = np.flatnonzero(scores >= least)
    sure = sure[np.argsort(-scores[sure], kind="stable")][:BOXES_WEIGHED]
    kept = sure if layout == "ended" else sure[_alone(boxes[sure], numbers[sure])]
    found = list[Thing]()
    for index in kept:
        box = frame.back(boxes[index].tolist())
        if box is not None:
            score = min(max(float(scores[index]), 0.0), 1.0)
            found.append(Thing(int(numbers[index]), round(1e6 * score), box))
    return found


def _read(output: Floats, layout: Layout) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Return the boxes by their corners, their scores and their classes."""
    if layout == "ended":
        return output[:, :4], _checked(output[:, 4]), output[:, 5].round().astype(np.int64)
    rows = output.T if layout == "rows" else output
    _checked(rows[:, 4:])
    scores = rows[:, 4:] if layout == "rows" else rows[:, 5:] * rows[:, 4:5]
    half = rows[:, 2:4] / 2
    boxes = np.concatenate([rows[:, :2] - half, rows[:, :2] + half], axis=1, dtype=np.float32)
    return boxes, scores.max(axis=1), scores.argmax(axis=1)


def _checked(scores: Floats) -> Floats:
    """Return scores that are some. ValueError: a model without its last step says numbers of any size."""
    if scores.size and not (scores.min() >= 1 - ONE and scores.max() <= ONE):
        raise ValueError(f"its scores reach from {scores.min():g} to {scores.max():g}, expected 0 to 1")
    return scores


def _alone(boxes: Floats, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return which boxes, the surest first, overlap no surer one of their class (non-maximum suppression)."""
    left, kept = np.arange(len(boxes)), list[int]()
    area = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)
    while left.size:
        first, rest = left[0], left[1:]
        kept.append(int(first))
        low, high = np.maximum(boxes[rest, :2], boxes[first, :2]), np.minimum(boxes[rest, 2:], boxes[first, 2:])
        shared = np.prod(np.maximum(high - low, 0), axis=1)
        over = shared > OVERLAP * np.maximum(area[rest] + area[first] - shared, np.finfo(np.float32).tiny)
        left = rest[~(over & (numbers[rest] == numbers[first]))]
    return np.array(kept, dtype=np.int64)
