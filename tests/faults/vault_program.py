"""A program that changes a vault and dies at its n-th write to the disk: `vault_program.py DEED FOLDER N`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from shared.vault import Vault
from shared.world import RealWorld

PASS, NEW = b"the passphrase", b"another one"


def main(deed: str, folder: Path, step: int) -> None:
    """Unlock the vault, then count writes and die at one of them."""
    vault = Vault.unlock(folder, PASS, RealWorld("dev").entropy)
    real, count = os.fsync, 0

    def dying(descriptor: int) -> None:
        nonlocal count
        count += 1
        if count == step:
            os.kill(os.getpid(), signal.SIGKILL)
        real(descriptor)

    os.fsync = dying
    match deed:
        case "rotate":
            vault.rotate(add={("secret", "pin"): b"1234"})
        case "passphrase":
            vault.change_passphrase(NEW)
        case "put":
            vault.put("secret", "pin", b"1234")
        case "backup":
            vault.backup(folder.with_name(f"{folder.name}-copy"))
        case _:
            raise ValueError(deed)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
