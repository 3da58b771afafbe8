"""A real SoftHSM2 token in a test's own folder; the package is installed where it is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pkcs11

from shared.files import write_private
from shared.keys import Token

LABEL = "nimmerverse-test"
PIN = "471100"
_MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/*/softhsm/libsofthsm2.so", "/opt/*/lib/softhsm/libsofthsm2.so")


def module() -> Path:
    """SoftHSM's library, installed by the package manager where it is missing; fails where that is impossible."""
    if (found := _module()) is None:
        sys.stderr.write("SoftHSM2 is missing: installing the package softhsm2 with apt-get, which these tests need\n")
        apt = ["apt-get", "install", "-y", "--no-install-recommends", "softhsm2"]
        for command in (apt, ["apt-get", "update"], apt):  # a fresh machine knows no packages yet
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if (found := _module()) is not None:
                break
        else:
            raise AssertionError(f"softhsm2 could not be installed; install it and run again: {done.stderr}")
    return found


def _module() -> Path | None:
    folders = (Path("/").glob(pattern[1:]) for pattern in _MODULES)
    return next((path for found in folders for path in found), None) if shutil.which("softhsm2-util") else None


@dataclass(frozen=True)
class Soft:
    """A token, and where its PIN is written."""

    module: Path
    pin_file: Path
    label: str = LABEL

    def token(self) -> Token:
        """Another opening of it."""
        return Token(self.module, self.label, self.pin_file)

    @contextmanager
    def inside(self) -> Iterator[pkcs11.Session]:
        """Look into it as its user does, with everything else that used it logged out."""
        library = pkcs11.lib(str(self.module))
        library.reinitialize()
        with library.get_token(token_label=self.label).open(user_pin=PIN, rw=True) as session:
            yield session

    def settings(self, *names: str) -> dict[str, str]:
        """The settings that place these keys on it."""
        return {
            "pkcs11_module": str(self.module),
            "pkcs11_token": self.label,
            "pkcs11_pin_file": str(self.pin_file),
            "pkcs11_keys": ",".join(names),
        }


@contextmanager
def soft_token(folder: Path) -> Iterator[Soft]:
    """Initialise a token in `folder`; the library forgets it at the end."""
    library = module()
    store = folder / "tokens"
    store.mkdir(parents=True, mode=0o700)
    conf = folder / "softhsm2.conf"
    conf.write_text(f"directories.tokendir = {store}\nobjectstore.backend = file\nlog.level = ERROR\n")
    before = os.environ.get("SOFTHSM2_CONF")
    os.environ["SOFTHSM2_CONF"] = str(conf)
    pkcs11.unload(str(library))
    words = ["softhsm2-util", "--init-token", "--free", "--label", LABEL, "--pin", PIN, "--so-pin", "815815"]
    subprocess.run(words, check=True, capture_output=True)
    pin_file = folder / "pin"
    write_private(pin_file, f"{PIN}\n")
    try:
        yield Soft(library, pin_file)
    finally:
        pkcs11.unload(str(library))
        if before is None:
            del os.environ["SOFTHSM2_CONF"]
        else:
            os.environ["SOFTHSM2_CONF"] = before
