"""The checkpoint guardian: what may be kept as a checkpoint, and how it is written and read (COL-08).

A checkpoint is one safetensors file, so reading it runs no code; a pickle, or an archive that holds one, is refused and
named, and never opened. It lies under the BLAKE3 digest of its bytes, written in one step. Numbers that are
none (NaN, infinity) are refused too: who goes on from them trains nothing any more.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from blake3 import blake3

from shared.constant import constant
from shared.errors import Refusal, Refused
from shared.files import private_folder, write_private
from shared.models import checked_digest

MAX_CHECKPOINT_BYTES = constant(4_000_000_000, "bytes", "COL-08")
HEADER_BYTES = 8  #: the length of the header, little-endian, before the header itself
SUFFIX = ".safetensors"

#: First bytes of what people offer as checkpoints, and its name. Only what is no safetensors file is asked for them:
#: one whose header has 640 bytes begins as a pickle does.
_FOREIGN = (
    (b"\x80\x02", "a pickle"),
    (b"\x80\x03", "a pickle"),
    (b"\x80\x04", "a pickle"),
    (b"\x80\x05", "a pickle"),
    (b"PK\x03\x04", "a zip archive (what torch.save writes, with a pickle inside)"),
    (b"PK\x05\x06", "a zip archive (what torch.save writes, with a pickle inside)"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy file, which may hold a pickle"),
    (b"\x1f\x8b", "a gzip file"),
    (b"GGUF", "a GGUF file"),
)
_safetensors: Any = safetensors  #: its functions carry no types
_FLOATS = {"F64": np.float64, "F32": np.float32, "F16": np.float16}
_BF16_EXPONENT = 0x7F80  #: all ones in a bfloat16 is no number
_WHOLE = frozenset({"I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL"})


def keep(folder: Path, raw: bytes) -> tuple[str, Path]:
    """Write a checkpoint under its digest, whole or not at all; return both. Refused T009; StorageFault."""
    check(raw)
    digest = blake3(raw).hexdigest()
    path = folder / f"{digest}{SUFFIX}"
    private_folder(folder)
    write_private(path, raw)
    return digest, path


def load(path: Path, digest: str) -> bytes:
    """Return a checkpoint's bytes, and no others than its digest names. Refused S001, S002, T009."""
    checked_digest(digest)
    try:
        raw = path.read_bytes() if path.stat().st_size <= MAX_CHECKPOINT_BYTES else b""
    except OSError as error:
        raise Refused(Refusal("S002", f"{path.name} cannot be read ({error.strerror})")) from None
    found = blake3(raw).hexdigest()
    if found != digest:
        raise Refused(Refusal("T009", f"{path.name} holds bytes with BLAKE3 {found}, expected {digest}"))
    check(raw)
    return raw


def check(raw: bytes) -> None:
    """Raise Refused T009 unless these bytes are one safetensors file whose every number is one."""
    if len(raw) > MAX_CHECKPOINT_BYTES:
        raise _bad(f"it has {len(raw)} bytes, at most {MAX_CHECKPOINT_BYTES} may be")
    try:
        tensors: list[tuple[str, dict[str, Any]]] = _safetensors.deserialize(raw)
    except safetensors.SafetensorError as error:
        raise _bad(_foreign(raw) or f"this is no safetensors file: {error}") from None
    for name, tensor in tensors:
        _check_numbers(name, str(tensor["dtype"]), bytes(tensor["data"]))


def note_of(raw: bytes, name: str) -> str:
    """Return what a checked checkpoint says of itself under a name; Refused T009 where it says nothing."""
    size = int.from_bytes(raw[:HEADER_BYTES], "little")
    header: dict[str, dict[str, str]] = json.loads(raw[HEADER_BYTES : HEADER_BYTES + size])
    note = header.get("__metadata__", {}).get(name)
    if note is None:
        raise _bad(f"it says nothing under {name!r}, so it is another recipe's")
    return note


def discard(folder: Path, but: str) -> None:
    """Remove every checkpoint of a folder except one: the last that was agreed on is all that is gone on from."""
    for path in folder.glob(f"*{SUFFIX}"):
        if path.stem != but:
            path.unlink(missing_ok=True)


def _foreign(raw: bytes) -> str:
    """Return what bytes are that are no safetensors file, nothing where nobody knows it."""
    name = next((name for magic, name in _FOREIGN if raw.startswith(magic)), "")
    return f"this is {name}; checkpoints are safetensors files, and nothing else is opened" if name else ""


def _check_numbers(name: str, dtype: str, data: bytes) -> None:
    if dtype in _FLOATS:
        finite = bool(np.isfinite(np.frombuffer(data, _FLOATS[dtype])).all())
    elif dtype == "BF16":
        finite = not bool(((np.frombuffer(data, np.uint16) & _BF16_EXPONENT) == _BF16_EXPONENT).any())
    elif dtype in _WHOLE:
        finite = True
    else:
        raise _bad(f"{name} is of type {dtype}, which nobody here looks into")
    if not finite:
        raise _bad(f"{name} holds what is no number (NaN or infinity): the training diverged")


def _bad(detail: str) -> Refused:
    return Refused(Refusal("T009", detail))
