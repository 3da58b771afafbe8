"""The command line, but what destroys a key dies right after it: `vault_part_program.py part organs.vault`."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from deploy.cli import main
from shared.vault import Vault

real = Vault.rotate


def dying(self: Vault, *args: Any, **named: Any) -> None:  # noqa: ANN401 - whatever rotate takes
    """Rotate, and die before anything else happens."""
    real(self, *args, **named)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    Vault.rotate = dying
    sys.exit(main())
