"""A picture as it comes: one whole PNG or JPEG, known by its own structure before anything decodes it.

Nothing is decompressed here, so a few bytes that promise a huge picture cost nothing. What follows the picture's own
end is passed over, as every reader does.
Sources: PNG (ISO/IEC 15948) section 5, JPEG (ITU-T T.81) annex B.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Literal

from shared.constant import constant
from shared.errors import Refusal, Refused
from shared.subjects.vision import PICTURE_BYTES

PICTURE_PIXELS = constant(50_000_000, "pixels", "X-12")

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
_HEADER_BYTES, _WIDTH_HEIGHT, _FRAME_BYTES = 13, 8, 8
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN, _END, _FILL = 0xDA, 0xD9, 0xFF
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})  #: markers without a length


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture; its sides as its header says."""

    raw: bytes
    kind: Literal["png", "jpeg"]
    width: int
    height: int

    @classmethod
    def read(cls, raw: bytes, most_bytes: int = PICTURE_BYTES) -> Picture:
        """Return the picture in these bytes. Refused E001 where they are no whole one, E002 where it is too large."""
        if len(raw) > most_bytes:
            raise Refused(Refusal("E002", f"the picture has {len(raw)} bytes, at most {most_bytes} are read"))
        if raw.startswith(_PNG):
            picture = cls(raw, "png", *_png_sides(raw))
        elif raw.startswith(_JPEG):
            picture = cls(raw, "jpeg", *_jpeg_sides(raw))
        else:
            raise _no_picture(f"it begins with {raw[:4].hex() or 'nothing'}")
        if not picture.width or not picture.height:
            raise _no_picture(f"it says that it has {picture.width}×{picture.height} pixels")
        if picture.width * picture.height > PICTURE_PIXELS:
            found = f"the picture says that it has {picture.width}×{picture.height} pixels"
            raise Refused(Refusal("E002", f"{found}, at most {PICTURE_PIXELS} in all are read"))
        return picture


def _png_sides(raw: bytes) -> tuple[int, int]:
    """Return width and height, having walked over every chunk to the last."""
    at, sides, drawn = len(_PNG), None, False
    while True:
        length, name = int.from_bytes(raw[at : at + 4], "big"), raw[at + 4 : at + 8]
        end = at + 8 + length
        if end + 4 > len(raw):
            raise _no_picture(f"it is cut short at byte {len(raw)}")
        if zlib.crc32(raw[at + 4 : end]).to_bytes(4, "big") != raw[end : end + 4]:
            raise _no_picture(f"its part at byte {at} is damaged")
        if sides is None:
            if name != b"IHDR" or length != _HEADER_BYTES:
                raise _no_picture("it has no header")
            body = raw[at + 8 : at + 8 + _WIDTH_HEIGHT]
            sides = int.from_bytes(body[:4], "big"), int.from_bytes(body[4:], "big")
        drawn = drawn or name == b"IDAT"
        if name == b"IEND":
            if not drawn:
                raise _no_picture("there is nothing between its header and its end")
            return sides
        at = end + 4


def _jpeg_sides(raw: bytes) -> tuple[int, int]:
    """Return width and height, having walked over every segment and every scan to the last."""
    at, sides, drawn = len(_JPEG), (0, 0), False
    while True:
        at, marker = _marker(raw, at)
        if marker == _END:
            if not drawn:
                raise _no_picture("there is nothing between its start and its end")
            return sides
        if marker in _ALONE:
            continue
        length = int.from_bytes(raw[at : at + 2], "big")
        if length < 2 or at + length > len(raw):  # noqa: PLR2004 - a length counts its own two bytes
            raise _no_picture(f"it is cut short or damaged at byte {at}")
        if marker in _START_OF_FRAME and length >= _FRAME_BYTES:
            sides = int.from_bytes(raw[at + 5 : at + 7], "big"), int.from_bytes(raw[at + 3 : at + 5], "big")
        at += length
        if marker == _START_OF_SCAN:
            drawn, at = True, _after_scan(raw, at)


def _marker(raw: bytes, at: int) -> tuple[int, int]:
    """Return the marker that stands here, and where what belongs to it begins."""
    if raw[at : at + 1] not in (b"\xff", b""):
        raise _no_picture(f"there is no marker at byte {at}")
    while raw[at : at + 1] == b"\xff":
        at += 1
    if at >= len(raw):
        raise _no_picture(f"it is cut short at byte {len(raw)}")
    return at + 1, raw[at]


def _after_scan(raw: bytes, at: int) -> int:
    """Return where the next marker stands that ends a scan: in a scan FF 00 is data, and FF D0 to D7 go on with it."""
    while (at := raw.find(b"\xff", at)) >= 0:
        following = raw[at + 1 : at + 2]
        if following and following[0] not in _ALONE and following[0] not in (0, _FILL):
            return at
        at += 1
    raise _no_picture(f"it is cut short at byte {len(raw)}")


def _no_picture(found: str) -> Refused:
    return Refused(Refusal("E001", f"{found}; expected one whole PNG or JPEG"))
