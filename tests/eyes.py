"""Pictures of discs and squares, and a small detector that really learns to find them: trained here, in seconds.

The network has the shape of its large relatives: convolutions that shrink the picture eightfold, then for each cell of
the grid a box and one score for each class, exported in YOLOv8's layout, in pixels of its input.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import nn
from torch.nn import functional

from shared.subjects.vision import Seen
from tests.onnx_models import Graph

SIDE, STRIDE = 64, 8
CELLS = SIDE // STRIDE
LABELS = ("disc", "square")
NAMES = "{0: 'disc', 1: 'square'}"
LARGEST = 32  #: what a cell can say of a side, in pixels of the input
CHANNELS = (12, 24, 32)
SCENES, STEPS, BATCH = 1_500, 300, 48
RARE = -4.0  #: nearly every cell is empty, and a network that begins with that learns faster

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Scene:
    """A picture and what was drawn on it."""

    image: Image.Image
    drawn: tuple[tuple[str, Box], ...]

    def png(self) -> bytes:
        """The picture as a PNG file."""
        return saved(self.image, "PNG")

    def jpeg(self) -> bytes:
        """The picture as a JPEG file."""
        return saved(self.image, "JPEG", quality=92)


def saved(image: Image.Image, kind: str, **how: Any) -> bytes:  # noqa: ANN401 - Pillow's own options
    """An image as a file."""
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


def scene(draw: np.random.Generator, width: int = SIDE, height: int = SIDE, most: int = 3) -> Scene:
    """A noisy ground with one to `most` things on it that do not touch, of sizes in proportion to the picture."""
    ground = draw.integers(60, 190, 3) + draw.normal(0, 5, (height, width, 3))
    image = Image.fromarray(ground.clip(0, 255).astype(np.uint8))
    brush, drawn = ImageDraw.Draw(image), list[tuple[str, Box]]()
    unit = max(width, height) / SIDE
    for _ in range(int(draw.integers(1, most + 1))):
        size = int(draw.integers(12, 25) * unit)
        left, top = int(draw.integers(0, width - size)), int(draw.integers(0, height - size))
        box = (left, top, left + size, top + size)
        if any(near(box, other) for _, other in drawn):
            continue
        label = LABELS[int(draw.integers(2))]
        color = tuple(int(one) for one in (ground.mean((0, 1)) + draw.choice([-1, 1], 3) * 60).clip(0, 255))
        shape = brush.ellipse if label == "disc" else brush.rectangle
        shape((left, top, left + size - 1, top + size - 1), fill=color)
        drawn.append((label, box))
    return Scene(image, tuple(drawn))


def near(one: Box, other: Box) -> bool:
    """Whether two boxes touch, or nearly."""
    gap = 2
    apart = one[2] + gap <= other[0] or other[2] + gap <= one[0] or one[3] + gap <= other[1] or other[3] + gap <= one[1]
    return not apart


def overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    width = max(min(one[2], other[2]) - max(one[0], other[0]), 0)
    height = max(min(one[3], other[3]) - max(one[1], other[1]), 0)
    area = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return width * height / (area - width * height)


def box_of(seen: Seen) -> Box:
    """Where a thing is."""
    return seen.left, seen.top, seen.right, seen.bottom


def found(drawn: Sequence[tuple[str, Box]], seen: Sequence[Seen], least: float = 0.5) -> int:
    """How many of the drawn things were seen: by their own name, and at their place."""
    return sum(any(one.label == label and overlap(box, box_of(one)) >= least for one in seen) for label, box in drawn)


class Network(nn.Module):
    """Nine cells of a picture away in each direction, each cell says a box and two scores."""

    def __init__(self) -> None:
        super().__init__()
        sizes = (3, *CHANNELS)
        down = [nn.Conv2d(a, b, 3, 2, 1, bias=False) for a, b in pairwise(sizes)]
        mix = [nn.Conv2d(sizes[-1], sizes[-1], 3, 1, 1, bias=False) for _ in range(2)]
        self.layers = nn.ModuleList([*down, *mix])
        self.norms = nn.ModuleList(nn.BatchNorm2d(layer.out_channels) for layer in (*down, *mix))
        self.head = nn.Conv2d(sizes[-1], 4 + len(LABELS), 1)
        assert self.head.bias is not None
        nn.init.constant_(self.head.bias[4:], RARE)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return [batch, 6, cells, cells] before the last sigmoid."""
        for layer, norm in zip(self.layers, self.norms, strict=True):
            pictures = functional.relu(norm(layer(pictures)))
        return self.head(pictures)


@cache
def trained() -> Network:
    """The network after some seconds of training, the same each time on one machine."""
    torch.manual_seed(7)
    torch.set_num_threads(1)  # several would wait for each other where others compute too
    draw, network = np.random.default_rng(7), Network()
    pictures, boxes, scores = lessons([scene(draw) for _ in range(SCENES)])
    descent = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(descent, 1e-2, STEPS)
    for _ in range(STEPS):
        some = torch.from_numpy(draw.integers(0, SCENES, BATCH))
        descent.zero_grad()
        loss(network(pictures[some]), boxes[some], scores[some]).backward()
        descent.step()
        schedule.step()
    return network.eval()


def lessons(scenes: Sequence[Scene]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pictures, and what the cells of each should say: the box, and whether a disc or a square has its middle there."""
    boxes = torch.zeros(len(scenes), 4, CELLS, CELLS)
    scores = torch.zeros(len(scenes), len(LABELS), CELLS, CELLS)
    for index, one in enumerate(scenes):
        for label, (left, top, right, bottom) in one.drawn:
            x, y = (left + right) / 2 / STRIDE, (top + bottom) / 2 / STRIDE
            inside = (x % 1, y % 1, (right - left) / LARGEST, (bottom - top) / LARGEST)
            boxes[index, :, int(y), int(x)] = torch.tensor(inside)
            scores[index, LABELS.index(label), int(y), int(x)] = 1.0
    return torch.from_numpy(np.stack([pixels(one.image) for one in scenes])), boxes, scores


def loss(said: torch.Tensor, boxes: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """How wrong the network is about where things are, and about what is in each cell."""
    there = scores.amax(1, keepdim=True)
    where = ((said[:, :4].sigmoid() - boxes).abs() * there).sum() / there.sum()
    what = functional.binary_cross_entropy_with_logits(said[:, 4:], scores, reduction="sum") / there.sum()
    return where + what


def pixels(image: Image.Image) -> NDArray[np.float32]:
    """An image as colours, rows and columns, from 0 to 1."""
    return (np.asarray(image, np.float32) / 255.0).transpose(2, 0, 1)


@cache
def detector() -> bytes:
    """The trained network as an ONNX file, in YOLOv8's layout, with the names of its classes."""
    network, graph, last = trained(), Graph(), "images"
    for layer, norm in zip(network.layers, network.norms, strict=True):
        assert isinstance(layer, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        last = graph.node("Conv", last, kept(graph, layer.weight), pads=[1] * 4, strides=list(layer.stride))
        learned = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
        last = graph.node("BatchNormalization", last, *(kept(graph, one) for one in learned), epsilon=norm.eps)
        last = graph.node("Relu", last)
    last = graph.node("Conv", last, kept(graph, network.head.weight), kept(graph, network.head.bias))
    flat = graph.node("Reshape", last, graph.constant(np.array([1, 6, CELLS * CELLS], np.int64)))
    said = graph.node("Sigmoid", flat)
    row, column = np.divmod(np.arange(CELLS * CELLS, dtype=np.float32), np.float32(CELLS))
    none = np.zeros_like(row)
    shift = np.stack([STRIDE * column, STRIDE * row, none, none, none, none])[None].astype(np.float32)
    scale = np.array([STRIDE, STRIDE, LARGEST, LARGEST, 1, 1], np.float32)[None, :, None]
    answer = graph.node("Add", graph.node("Mul", said, graph.constant(scale)), graph.constant(shift))
    return graph.file({answer: (1, 6, CELLS * CELLS)}, (1, 3, SIDE, SIDE), {"names": NAMES})


def kept(graph: Graph, tensor: torch.Tensor | None) -> str:
    """What was learned, as a constant of a graph."""
    assert tensor is not None
    return graph.constant(tensor.detach().numpy())
