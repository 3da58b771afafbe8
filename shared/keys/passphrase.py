"""The passphrase of a keyring: handed over as a credential, read from a private file, or generated on first run."""

from __future__ import annotations

import base64
import os
from pathlib import Path

from shared.errors import KeyFault
from shared.keys.files import Entropy, draw, make_folder, read_file, write_file

SECRET_BYTES = 32
MAX_PASSPHRASE_BYTES = 4096


def obtain(path: Path, credential: Path | None, entropy: Entropy) -> bytes:
    """The passphrase: of the credential if one is given, else of the file, which is generated 0600 when absent.

    One line end at the end is not part of it. Whoever hands over a credential protects it, so its mode is not judged.
    Raises KeyFault for a missing credential, a file open to others, or an empty passphrase; StorageFault when the
    generated one cannot be stored.
    """
    if credential is not None:
        return _secret(credential, read_file(credential, private=False))
    if not os.path.lexists(path):
        _generate(path, entropy)
    return _secret(path, read_file(path))


def _generate(path: Path, entropy: Entropy) -> None:
    make_folder(path.parent)
    text = base64.b32encode(draw(entropy, SECRET_BYTES)).rstrip(b"=").lower()
    temporary = f".{path.name}.{draw(entropy, 8).hex()}.tmp"
    write_file(path, text + b"\n", temporary=temporary, replace=False)  # of two first runs, one wins and both read it


def _secret(path: Path, data: bytes) -> bytes:
    secret = data.removesuffix(b"\n").removesuffix(b"\r")
    if not secret:
        raise KeyFault(f"{path} holds no passphrase: write one into it, or remove the file to have one generated.")
    if len(secret) > MAX_PASSPHRASE_BYTES:
        limit = f"at most {MAX_PASSPHRASE_BYTES}"
        raise KeyFault(f"{path} holds a passphrase of {len(secret)} bytes, expected {limit}: choose a shorter one.")
    return secret
