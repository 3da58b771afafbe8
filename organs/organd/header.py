"""The header of a GGUF file: what a model says of itself before its weights.

    "GGUF"  u32 version (2, 3)  u64 tensors  u64 entries
    entries × (string key, u32 type, value)      string = u64 length, UTF-8; array = u32 type, u64 length, values
    tensors × (string name, u32 dimensions, dimensions × u64, u32 type, u64 offset)

All numbers are little-endian. Whatever is not exactly this is refused by name: a file from a stranger is read here
before llama.cpp sees it.
"""

from __future__ import annotations

import struct
from math import prod
from typing import BinaryIO, ClassVar, cast

from organs.organd.ports import Facts, ModelFault
from shared.constant import constant
from shared.errors import Exit

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_STRING_BYTES = constant(1_000_000, "bytes", "X-12")
MAX_ARRAY = constant(4_000_000, "values", "X-12")
MAX_ENTRIES = constant(10_000, "entries", "X-12")
MAX_TENSORS = constant(100_000, "tensors", "X-12")
MAX_DIMENSIONS = 4
_FIXED = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9

#: What the numbers of `general.file_type` are called.
QUANTIZATIONS = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    32: "BF16",
}

Value = int | float | bool | str


class NotAModel(ModelFault):
    """The file is not a GGUF model; the sentence says what was found in it."""

    status: ClassVar[int] = 400
    exit = Exit.USAGE


def read_facts(file: BinaryIO) -> Facts:
    """Return what a model's file says of itself. Raises NotAModel."""
    reader = _Reader(file)
    if reader.take(len(MAGIC)) != MAGIC:
        raise NotAModel("the file does not begin with GGUF")
    version = reader.number("<I")
    if version not in VERSIONS:
        raise NotAModel(f"the file is of GGUF version {version}, known are {VERSIONS}")
    tensors = reader.count(MAX_TENSORS, "tensors")
    entries = dict(reader.entry() for _ in range(reader.count(MAX_ENTRIES, "entries")))
    parameters = sum(reader.tensor() for _ in range(tensors))
    return _facts(entries, parameters)


def _facts(entries: dict[str, Value | None], parameters: int) -> Facts:
    architecture = _text(entries, "general.architecture", "")
    if not architecture:
        raise NotAModel("the file names no general.architecture")
    context = _whole(entries, f"{architecture}.context_length")
    width = _whole(entries, f"{architecture}.embedding_length")
    return Facts(
        architecture=architecture,
        context=context,
        width=width,
        parameters=parameters,
        quantization=QUANTIZATIONS.get(_whole(entries, "general.file_type", 0), "unknown"),
        embeds=f"{architecture}.pooling_type" in entries,
        template=_text(entries, "tokenizer.chat_template", ""),
    )


def _text(entries: dict[str, Value | None], key: str, default: str) -> str:
    value = entries.get(key, default)
    if not isinstance(value, str):
        raise NotAModel(f"{key} is no text")
    return value


def _whole(entries: dict[str, Value | None], key: str, default: int | None = None) -> int:
    value = entries.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise NotAModel(f"{key} is no whole number")
    return value


class _Reader:
    """Reads a file from its beginning on; NotAModel where it ends too early."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file

    def take(self, size: int) -> bytes:
        raw = self.file.read(size)
        if len(raw) != size:
            raise NotAModel(f"the file ends in its header: {size} bytes are expected, {len(raw)} are left")
        return raw

    def number(self, form: str) -> int:
        return cast("int", struct.unpack(form, self.take(struct.calcsize(form)))[0])

    def count(self, most: int, what: str) -> int:
        number = self.number("<Q")
        if number > most:
            raise NotAModel(f"the header names {number} {what}, at most {most} are read")
        return number

    def text(self) -> str:
        raw = self.take(self.count(MAX_STRING_BYTES, "bytes of a text"))
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise NotAModel(f"a text of the header is no UTF-8 ({error.reason})") from None

    def entry(self) -> tuple[str, Value | None]:
        return self.text(), self.value(self.number("<I"))

    def value(self, kind: int) -> Value | None:
        """Return a value, None for an array: none is needed here."""
        if kind == _STRING:
            return self.text()
        if kind == _ARRAY:
            self.skip_array()
            return None
        raw = self.take(_size(kind))
        return cast("Value", struct.unpack(_FIXED[kind], raw)[0])

    def skip_array(self) -> None:
        kind, length = self.number("<I"), self.count(MAX_ARRAY, "values of an array")
        if kind == _STRING:
            for _ in range(length):
                self.take(self.count(MAX_STRING_BYTES, "bytes of a text"))
        else:
            self.take(length * _size(kind))

    def tensor(self) -> int:
        """Return how many numbers a tensor holds."""
        self.text()
        dimensions = self.number("<I")
        if dimensions > MAX_DIMENSIONS:
            raise NotAModel(f"a tensor has {dimensions} dimensions, at most {MAX_DIMENSIONS} are known")
        size = prod(self.number("<Q") for _ in range(dimensions))
        self.take(4 + 8)  # its type and its offset
        return size


def _size(kind: int) -> int:
    if kind not in _FIXED:
        raise NotAModel(f"a value has the unknown type {kind}")
    return struct.calcsize(_FIXED[kind])
