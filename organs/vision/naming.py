"""Names for the classes of a detector whose file has none: sealed into the file, so that its digest names them too.

An ONNX file is one protobuf message, and two of them one after the other are both in one: what is appended is one more
entry of `metadata_props`, as exporters write it. Of two entries with one key the last counts.
"""

from __future__ import annotations

from pathlib import Path

from shared.constant import constant
from shared.errors import ConfigFault
from shared.subjects.vision import LABEL_CHARS

METADATA_PROPS, KEY, VALUE = 14, 1, 2  #: fields of ModelProto and StringStringEntryProto
NAMES = "names"
NAMES_BYTES = constant(1_000_000, "bytes", "X-12")


def read_names(path: Path) -> list[str]:
    """Return the names in a file, one a line. ConfigFault where they are none."""
    try:
        with path.open("rb") as file:
            lines = file.read(NAMES_BYTES + 1)[:NAMES_BYTES].decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigFault(f"{path} cannot be read ({error}); name a text file with one class a line") from None
    names = [line.strip() for line in lines]
    wrong = [
        number for number, name in enumerate(names, 1) if not 0 < len(name) <= LABEL_CHARS or not name.isprintable()
    ]
    if wrong or not names:
        place = f"line {wrong[0]}" if wrong else "it"
        raise ConfigFault(f"{path}: {place} holds no name of 1 to {LABEL_CHARS} characters; write one class a line")
    return names


def named(raw: bytes, names: list[str]) -> bytes:
    """Return a model's file with the names of its classes in it."""
    entry = _part(KEY, NAMES.encode()) + _part(VALUE, repr(names).encode())
    return raw + _part(METADATA_PROPS, entry)


def _part(field: int, body: bytes) -> bytes:
    """Return a field of protobuf's wire format that holds bytes."""
    return bytes([field << 3 | 2]) + _varint(len(body)) + body


def _varint(number: int) -> bytes:
    raw = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits a byte
        raw.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*raw, number])
