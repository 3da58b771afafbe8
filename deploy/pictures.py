"""A picture file made fit for one message, and the answer drawn on it. Only what does not fit as it is takes Pillow."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from organs.vision.picture import Picture
from shared.constant import constant
from shared.errors import ConfigFault, Refusal, Refused
from shared.extras import how_to_install
from shared.subjects.vision import PICTURE_BYTES, Seen

if TYPE_CHECKING:  # it comes with the extra `eyes`
    from PIL import Image

FILE_BYTES = constant(64_000_000, "bytes", "X-12")
SIDES = (1_280, 960, 640, 480, 320)  #: longest sides that are tried, in pixels; detectors mostly see 640
QUALITIES = (90, 75, 60)
ORIENTATION, UPRIGHT = 0x0112, 1  #: EXIF's tag, and the value that asks for nothing
OUTLINE = "#ff2d2d"


@dataclass(frozen=True, slots=True)
class Sent:
    """A picture as it is sent, and what it was; sides and places are told in pixels of the file's picture, upright."""

    raw: bytes
    width: int
    height: int
    file: bytes
    changed: str = ""  #: as what it is sent, in words; empty where it is sent as it is


def prepared(path: Path) -> Sent:
    """Return a file's picture as it fits into one message. Refused E001, E002; ConfigFault where that takes Pillow."""
    with path.open("rb") as file:
        raw = file.read(FILE_BYTES + 1)
    picture = Picture.read(raw, FILE_BYTES)
    whole = Sent(raw, picture.width, picture.height, raw)
    if len(raw) <= PICTURE_BYTES and not _may_lie(raw):
        return whole
    image, turned = upright(raw)
    if len(raw) <= PICTURE_BYTES and not turned:
        return whole
    for side in SIDES:
        smaller = image.copy()
        smaller.thumbnail((side, side))
        for quality in QUALITIES:
            packed = io.BytesIO()
            smaller.save(packed, "JPEG", quality=quality)
            if packed.tell() <= PICTURE_BYTES:
                changed = f"JPEG, {smaller.width}×{smaller.height} pixels{', upright' if turned else ''}"
                return Sent(packed.getvalue(), image.width, image.height, raw, changed)
    raise Refused(Refusal("E002", f"{path.name} does not fit into {PICTURE_BYTES} bytes, however small"))


def upright(raw: bytes) -> tuple[Image.Image, bool]:
    """Return the pixels of a picture as a viewer shows them, and whether it had to be turned. Refused E001."""
    try:
        from PIL import Image, ImageOps
    except ModuleNotFoundError:
        raise ConfigFault(
            f"a picture of more than {PICTURE_BYTES} bytes, one that lies on its side, and --out take Pillow, which is "
            f"not installed here: {how_to_install('eyes')}"
        ) from None
    try:
        with Image.open(io.BytesIO(raw), formats=["PNG", "JPEG"]) as opened:
            turned = opened.getexif().get(ORIENTATION, UPRIGHT) != UPRIGHT
            return ImageOps.exif_transpose(opened).convert("RGB"), turned
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise Refused(Refusal("E001", f"it cannot be decoded ({type(error).__name__}: {error})")) from None


def scaled(seen: Seen, sent: tuple[int, int], file: tuple[int, int]) -> Seen:
    """Return a thing's place in the file's picture, from its place in the one that was sent."""
    left, right = (round(one * file[0] / sent[0]) for one in (seen.left, seen.right))
    top, bottom = (round(one * file[1] / sent[1]) for one in (seen.top, seen.bottom))
    return Seen(seen.label, seen.confidence_ppm, left, top, right, bottom)


def outlined(sent: Sent, seen: list[Seen]) -> bytes:
    """Return the file's picture as PNG with a box and a name around each thing."""
    image, _ = upright(sent.file)
    from PIL import ImageDraw

    brush, width = ImageDraw.Draw(image), max(1, max(image.size) // 300)
    for one in seen:
        brush.rectangle((one.left, one.top, one.right - 1, one.bottom - 1), outline=OUTLINE, width=width)
        brush.text((one.left + width + 1, one.top + width), f"{one.label} {one.confidence_ppm / 1e6:.2f}", OUTLINE)
    packed = io.BytesIO()
    image.save(packed, "PNG")
    return packed.getvalue()


def _may_lie(raw: bytes) -> bool:
    """Say whether a file has anything that could ask a viewer to turn it."""
    return b"Exif\0\0" in raw or b"eXIf" in raw
