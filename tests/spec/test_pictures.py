"""Pictures as they come: whole PNG and JPEG files are read, everything else is refused by name, and nothing breaks."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from deploy.pictures import Sent, prepared, scaled
from organs.vision.onnx_child import decoded
from organs.vision.picture import PICTURE_PIXELS, Picture
from shared.errors import Refused
from shared.subjects.vision import PICTURE_BYTES, Seen
from tests.eyes import saved

pytestmark = pytest.mark.spec("NIM-17", "X-12")

GROUND = Image.fromarray(np.random.default_rng(3).integers(0, 255, (23, 37, 3), np.uint8))
DEEP = Image.fromarray(np.arange(37 * 23, dtype=np.uint16).reshape(23, 37) * 77)
FILES: dict[str, bytes] = {
    "png": saved(GROUND, "PNG"),
    "png grey": saved(GROUND.convert("L"), "PNG"),
    "png palette": saved(GROUND.convert("P"), "PNG"),
    "png alpha": saved(GROUND.convert("RGBA"), "PNG"),
    "png deep": saved(DEEP, "PNG"),
    "png bits": saved(GROUND.convert("1"), "PNG"),
    "jpeg": saved(GROUND, "JPEG"),
    "jpeg progressive": saved(GROUND, "JPEG", progressive=True, quality=95),
    "jpeg restarts": saved(GROUND, "JPEG", restart_marker_blocks=1),
    "jpeg grey": saved(GROUND.convert("L"), "JPEG"),
    "jpeg cmyk": saved(GROUND.convert("CMYK"), "JPEG"),
    "jpeg more after it": saved(GROUND, "JPEG") + b"\xff\xd8\xff\xe1more",
}


def code(raw: bytes, *, decode: bool = False) -> str:
    """The refusal's code, empty where these bytes are a picture, or one that cannot be decoded."""
    try:
        picture = Picture.read(raw)
        if decode:
            decoded(picture)
    except Refused as no:
        return no.refusal.code
    except ValueError as error:
        return "undecodable" if "cannot be decoded" in str(error) else str(error)
    return ""


def chunk(name: bytes, body: bytes) -> bytes:
    """A part of a PNG file."""
    return len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")


def png(width: int, height: int, *chunks: bytes) -> bytes:
    """A PNG file that says that it has these sides."""
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IEND", b"")


@pytest.mark.parametrize("name", FILES)
def test_a_whole_picture_is_read(name: str) -> None:
    """Its kind and its sides are known without decoding it, and what is decoded has them."""
    picture = Picture.read(FILES[name])
    assert (name.split(maxsplit=1)[0], 37, 23) == (picture.kind, picture.width, picture.height)
    image = decoded(picture)
    assert ("RGB", (37, 23)) == (image.mode, image.size)


def test_sixteen_bits_of_grey_are_as_bright_as_they_are() -> None:
    """The higher eight bits are kept, not the lower."""
    expected = (np.asarray(DEEP) >> 8).astype(np.uint8)
    assert (expected == np.asarray(decoded(Picture.read(FILES["png deep"])))[:, :, 0]).all()


@pytest.mark.parametrize("name", [name for name in FILES if "after" not in name])
def test_a_picture_that_was_cut_short_is_refused(name: str) -> None:
    """Wherever it was cut."""
    assert {"E001"} == {code(FILES[name][:length]) for length in range(len(FILES[name]))}


@pytest.mark.parametrize(
    ("raw", "wanted", "words"),
    [
        (b"", "E001", "nothing"),
        (b"hello, world", "E001", "68656c6c"),
        (saved(GROUND, "GIF"), "E001", "47494638"),
        (saved(GROUND, "WEBP"), "E001", "52494646"),
        (saved(GROUND, "TIFF"), "E001", "49492a00"),
        (png(0, 5, chunk(b"IDAT", b"x")), "E001", "0×5"),
        (png(5, 0, chunk(b"IDAT", b"x")), "E001", "5×0"),
        (png(5, 5), "E001", "nothing between"),
        (png(60_000, 60_000, chunk(b"IDAT", b"x")), "E002", "60000×60000"),
        (png(2**31, 2**31, chunk(b"IDAT", b"x")), "E002", str(PICTURE_PIXELS)),
        (b"\xff\xd8\xff\xd9", "E001", "nothing between"),
        (FILES["jpeg"][:2] + b"\0" + FILES["jpeg"][2:], "E001", "no marker"),
        (FILES["png"].replace(b"IHDR", b"IHDX"), "E001", "damaged"),
        (FILES["png"] + bytes(PICTURE_BYTES), "E002", str(PICTURE_BYTES)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_picture_or_too_large_is_refused_by_name(raw: bytes, wanted: str, words: str) -> None:
    """Wrong kinds, no size at all, a few bytes that promise a huge picture, and too many bytes."""
    with pytest.raises(Refused, match=words) as no:
        Picture.read(raw)
    assert wanted == no.value.refusal.code


@settings(max_examples=300)
@given(
    raw=st.binary(max_size=80), name=st.sampled_from([*FILES, ""]), at=st.integers(0, 2_000), flip=st.integers(1, 255)
)
def test_any_bytes_are_a_picture_or_are_refused(raw: bytes, name: str, at: int, flip: int) -> None:
    """Random bytes, random parts behind a true beginning, and true files with one byte changed: no other error."""
    if name:
        whole = bytearray(FILES[name])
        whole[at % len(whole)] ^= flip
        for tried in (bytes(whole), FILES[name][: at % len(whole)] + raw):
            assert code(tried, decode=True) in ("", "E001", "E002", "undecodable")
    assert code(raw) in ("", "E001", "E002")


# What `look` sends


def noisy(width: int, height: int) -> Image.Image:
    """A picture that cannot be packed well."""
    return Image.fromarray(np.random.default_rng(4).integers(0, 255, (height, width, 3), np.uint8))


def sent_of(path: Path, raw: bytes) -> Sent:
    """What is sent of a file with these bytes."""
    path.write_bytes(raw)
    return prepared(path)


def test_a_large_picture_is_made_to_fit(tmp_path: Path) -> None:
    """What fits is sent as it is; what does not becomes a smaller JPEG, and says so; its sides are still the file's."""
    assert FILES["png"] == sent_of(tmp_path / "small", FILES["png"]).raw
    sent = sent_of(tmp_path / "large", saved(noisy(1_000, 700), "PNG"))
    packed = Picture.read(sent.raw)
    assert packed.kind == "jpeg"
    assert packed.width / packed.height == pytest.approx(1_000 / 700, rel=0.01)
    assert (1_000, 700) == (sent.width, sent.height)
    assert f"{packed.width}×{packed.height}" in sent.changed


def test_a_picture_that_lies_on_its_side_is_turned(tmp_path: Path) -> None:
    """A camera's word for which side is up is heard: what is sent stands upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = io.BytesIO()
    GROUND.save(lying, "JPEG", exif=exif)
    sent = sent_of(tmp_path / "lying", lying.getvalue())
    assert (23, 37) == (sent.width, sent.height)
    assert "upright" in sent.changed


def test_a_place_is_told_in_the_files_own_pixels() -> None:
    """A box of what was sent is scaled to the file's picture."""
    assert Seen("disc", 1, 20, 40, 60, 100) == scaled(Seen("disc", 1, 10, 20, 30, 50), (100, 100), (200, 200))
