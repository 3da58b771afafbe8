"""What a GGUF file says of itself before its weights: its plain values, read within bounds and without llama.cpp.

The format is ggml's (docs/gguf.md there): magic, version, counts, then key and value, everything little-endian.
"""

from __future__ import annotations

import struct

from shared.constant import constant

MAGIC = b"GGUF"
GGUF_VERSION = constant(3, "version", "NIM-14")
MAX_VALUES = constant(1_000, "values", "X-12")
_STRING, _ARRAY = 8, 9
#: How each plain type is packed, by the format's number for it.
_PLAIN = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

Value = int | float | bool | str


class _Reader:
    def __init__(self, raw: bytes) -> None:
        self.raw, self.at = raw, 0

    def plain(self, code: str) -> int | float | bool:
        (value,) = struct.unpack_from(f"<{code}", self.raw, self.at)
        self.at += struct.calcsize(f"<{code}")
        return value

    def number(self, code: str) -> int:
        return int(self.plain(code))

    def text(self) -> str:
        return self.take(self.number("Q")).decode()

    def value(self, kind: int) -> Value | None:
        """Read one value; None for an array, which is passed over."""
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY:
            return self.plain(_PLAIN[kind])
        inner, count = self.number("I"), self.number("Q")
        if inner == _STRING:
            for _ in range(count):
                self.take(self.number("Q"))
        else:
            self.take(count * struct.calcsize(f"<{_PLAIN[inner]}"))
        return None

    def take(self, size: int) -> bytes:
        if self.at + size > len(self.raw):
            raise ValueError(f"a value of {size} bytes does not fit")
        self.at += size
        return self.raw[self.at - size : self.at]


def read_header(raw: bytes) -> dict[str, Value]:
    """Return the plain values of a GGUF file by key; ValueError where the bytes are none."""
    reader = _Reader(raw)
    try:
        magic, version = reader.take(len(MAGIC)), reader.number("I")
        if (magic, version) != (MAGIC, GGUF_VERSION):
            raise ValueError(f"no GGUF file of version {GGUF_VERSION}")
        reader.number("Q")
        count = reader.number("Q")
        if count > MAX_VALUES:
            raise ValueError(f"{count} values, at most {MAX_VALUES} are read")
        found: dict[str, Value] = {}
        for _ in range(count):
            key, kind = reader.text(), reader.number("I")
            value = reader.value(kind)
            if value is not None:
                found[key] = value
        return found
    except (struct.error, KeyError, UnicodeDecodeError) as error:
        raise ValueError(f"no readable GGUF header: {error}") from None
