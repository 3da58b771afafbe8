"""Seeing: a picture, what is in it and where. Nobody keeps a picture; a wave tells only how many of what were seen."""

from __future__ import annotations

import msgspec

from shared.constant import constant
from shared.declaration import MAX_LARGE_BYTES
from shared.message import Ppm, Reply, Request, Wave

PICTURE_BYTES = constant(
    690_000, "bytes", "X-12"
)  # what one message carries; `nimmerverse look` makes a larger one fit
MOST_SEEN = constant(100, "things", "X-12")
LABEL_CHARS = constant(64, "characters", "X-12")
LEAST_SURE_PPM = constant(250_000, "ppm", "NIM-17")


class Seen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing and where it is, in pixels of the picture as it was sent; `right` and `bottom` are the first past it.

    A detector's confidence is its score. A vision model's is what the model says of itself, as its boxes are.
    """

    label: str
    confidence_ppm: Ppm
    left: int
    top: int
    right: int
    bottom: int


class VisionReply(Reply, subject="organs.vision.detect.reply", confidential=True):
    """What is in a picture, the surest first, and who says so."""

    seen: tuple[Seen, ...]
    width: int  #: of the picture, in pixels
    height: int
    engine: str  #: `onnx` or `ollama`
    model: str  #: the detector's digest, or the model's name
    cost_ulf: int  #: measured
    latency_ms: int


class VisionRequest(
    Request, subject="organs.vision.detect", reply=VisionReply, confidential=True, max_bytes=MAX_LARGE_BYTES
):
    """Ask what is in a PNG or JPEG picture. Of what is `personal` no wave tells."""

    picture: bytes
    least_ppm: Ppm = LEAST_SURE_PPM
    personal: bool = False


class VisionWave(Wave, subject="organs.vision.detect.wave"):
    """What was seen, as the gates feel it: `person 3, dog 1`, as sure as the surest of them; no place, no picture."""
