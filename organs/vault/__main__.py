"""`python -m organs.vault`: the organ as a process of its own."""

from __future__ import annotations

import sys

from organs.vault import VaultOrgan
from shared.part.main import main

sys.exit(main(VaultOrgan))
