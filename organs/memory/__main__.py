"""`python -m organs.memory`: the organ as a process of its own."""

from __future__ import annotations

import sys

from organs.memory import MemoryOrgan
from shared.part.main import main

sys.exit(main(MemoryOrgan))
