"""What a detector's process and the organ say to each other: frames of four bytes of length and that many bytes.

The first frame is the model's file as it is, answered by Ready; each further one is a Look, answered by Found. Either
may be answered by a No: of the model it is the last word.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from shared.models import MAX_MODEL_BYTES

LENGTH_BYTES = 4
MAX_FRAME_BYTES = MAX_MODEL_BYTES


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The model is loaded; what it takes and what it tells apart."""

    width: int
    height: int
    layout: Literal["rows", "columns", "ended"]
    labels: list[str]


class Look(msgspec.Struct, frozen=True, tag=True):
    """A picture, and how sure a thing must be."""

    picture: bytes
    least_ppm: int


class Found(msgspec.Struct, frozen=True, tag=True):
    """What was found: label, confidence, and the box's four sides. What it cost is measured in the process."""

    things: list[tuple[str, int, tuple[int, int, int, int]]]
    cost_ulf: int


class No(msgspec.Struct, frozen=True, tag=True):
    """Why not. `model`: nothing can be done with this model. `picture`: nothing with this picture."""

    about: Literal["model", "picture"]
    reason: str


Answer = Ready | Found | No


def framed(body: bytes) -> bytes:
    """Return a frame."""
    return len(body).to_bytes(LENGTH_BYTES, "big") + body
