"""The passphrase of a keyring: handed over as a credential, read from a private file, or generated on first run."""

from __future__ import annotations

import base64
import os
from pathlib import Path

from shared.errors import KeyFault
from shared.keys.files import Entropy, draw, make_folder, read_file, write_file

SECRET_BYTES = 32
MAX_PASSPHRASE_BYTES = 4096
GENERATED = ", or remove the file to have one generated"


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


def read_secret(path: Path, what: str) -> bytes:
    """The secret in a private file without its line end; KeyFault when it is missing, empty or open to others."""
    return _secret(path, read_file(path), what, "")


def _secret(path: Path, data: bytes, what: str = "passphrase", otherwise: str = GENERATED) -> bytes:
    secret = data.removesuffix(b"\n").removesuffix(b"\r")
    if not secret:
        raise KeyFault(f"{path} holds no {what}: write one into it{otherwise}.")
    if len(secret) > MAX_PASSPHRASE_BYTES:
        limit = f"at most {MAX_PASSPHRASE_BYTES}"
        raise KeyFault(f"{path} holds a {what} of {len(secret)} bytes, expected {limit}: choose a shorter one.")
    return secret
