"""Looking for a text, or for a key, in every byte of a folder."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nacl._sodium import ffi, lib

KEY = 32
DISTINCT = 20  #: 32 random bytes hold fewer different values than this once in 10**12 times
PAGE = 8_192


def disguises(text: str) -> dict[str, bytes]:
    """A text in the forms in which files hold texts."""
    raw = text.encode()
    found = {"utf-8": raw, "utf-16-le": text.encode("utf-16-le"), "utf-16-be": text.encode("utf-16-be")}
    found |= {"hex": raw.hex().encode(), "HEX": raw.hex().upper().encode()}
    return found | {f"base64+{i}": form for i, form in enumerate(base64_forms(raw))}


def base64_forms(raw: bytes) -> list[bytes]:
    """What is certain of a base64 text that holds these bytes: one form for each place in a group of three."""
    forms: list[bytes] = []
    for lead in range(3):
        whole = base64.b64encode(bytes(lead) + raw)
        forms.append(whole[(0, 2, 3)[lead] : (lead + len(raw)) // 3 * 4])
    return forms


def files_of(*folders: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file below the folders and its bytes."""
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                yield path, path.read_bytes()


def places(needle: bytes, *folders: Path) -> list[Path]:
    """The files that hold these bytes, in the file or in its name."""
    return [path for path, data in files_of(*folders) if needle in data or needle in str(path).encode()]


@dataclass(frozen=True)
class Closed:
    """Something sealed, nonce first, and what it was sealed about."""

    bytes: bytes
    about: bytes


def openers(closed: Sequence[Closed], *folders: Path) -> tuple[list[Path], int]:
    """Try every 32 bytes in a row of every file as a key; return the files that hold one that opens, and the tries.

    What cannot be a key for lack of different bytes is passed over, and a page that was seen is not tried again.
    """
    tries, found, seen = 0, list[Path](), set[bytes]()
    ready = [(c.bytes[:24], c.bytes[24:], c.about, ffi.new("unsigned char[]", len(c.bytes))) for c in closed]
    for path, data in files_of(*folders):
        for start in range(0, len(data), PAGE):
            page = data[start : start + PAGE + KEY - 1]
            if page in seen or len(set(page)) < DISTINCT:
                continue
            seen.add(page)
            for key in _windows(page):
                tries += 1
                for nonce, sealed, about, into in ready:
                    if not lib.crypto_aead_xchacha20poly1305_ietf_decrypt(
                        into, ffi.NULL, ffi.NULL, sealed, len(sealed), about, len(about), nonce, key
                    ):
                        found.append(path)
    return found, tries


def _windows(page: bytes) -> Iterator[bytes]:
    count, distinct = [0] * 256, 0
    for i, byte in enumerate(page):
        count[byte] += 1
        distinct += count[byte] == 1
        if i >= KEY:
            old = page[i - KEY]
            count[old] -= 1
            distinct -= count[old] == 0
        if i >= KEY - 1 and distinct >= DISTINCT:
            yield page[i - KEY + 1 : i + 1]
