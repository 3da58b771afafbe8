"""Model files in the user's home, each under its BLAKE3 digest; each is read whole, and checked, before it is used."""

from __future__ import annotations

import re
from pathlib import Path

from blake3 import blake3

from shared.constant import constant
from shared.errors import Refusal, Refused
from shared.files import private_folder, write_private
from shared.home import place
from shared.settings import Settings

MAX_MODEL_BYTES = constant(256_000_000, "bytes", "NIM-14")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class ModelFolder:
    """`folder/{digest}{suffix}`; the folder is open to its owner alone. `install` names the command that fills it."""

    def __init__(self, folder: Path, suffix: str, install: str) -> None:
        self.folder, self.suffix, self.install = folder, suffix, install

    def path(self, digest: str) -> Path:
        """Return where the file of a digest lies, if it is here."""
        return self.folder / f"{digest}{self.suffix}"

    def has(self, digest: str) -> bool:
        """Say whether a file of this digest lies here; nothing of it is read. Refused S001."""
        return self.path(checked_digest(digest)).is_file()

    def read(self, digest: str) -> bytes:
        """Return a file's bytes, and no others than its digest names. Refused S001, S002; F002 if it holds others."""
        path = self.path(checked_digest(digest))
        try:
            size = path.stat().st_size
            if size > MAX_MODEL_BYTES:
                raise Refused(Refusal("F002", f"{path.name} has {size} bytes, at most {MAX_MODEL_BYTES} are loaded"))
            raw = path.read_bytes()
        except OSError as error:
            raise Refused(
                Refusal("S002", f"there is no model {digest} here ({error.strerror}); `{self.install}` puts it")
            ) from None
        found = blake3(raw).hexdigest()
        if found != digest:
            raise Refused(Refusal("F002", f"{path.name} holds bytes with BLAKE3 {found}"))
        return raw

    def put(self, raw: bytes) -> str:
        """Put a file here and return its digest. Raises StorageFault, ConfigFault."""
        digest = blake3(raw).hexdigest()
        private_folder(self.folder)
        write_private(self.path(digest), raw)
        return digest


def models_folder(settings: Settings) -> Path:
    """Return the folder that models are loaded from."""
    return place(settings) / "models"


def checked_digest(digest: str) -> str:
    """Return a digest that is one, so that it can be part of a path; Refused S001."""
    if not _DIGEST.fullmatch(digest):
        raise Refused(Refusal("S001", f"found {digest[:80]!r}, expected 64 lower-case hexadecimal digits"))
    return digest


def check_wanted(raw: bytes, wanted: str | None) -> None:
    """Raise Refused F002 where a file is not the one that a person named by its digest."""
    digest = blake3(raw).hexdigest()
    if wanted not in (None, digest):
        raise Refused(Refusal("F002", f"the file has the digest {digest}, expected {wanted}"))
