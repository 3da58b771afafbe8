"""`python -m organs.witness`: the organ as a process of its own."""

from __future__ import annotations

import sys

from organs.witness import WitnessOrgan
from shared.part.main import main

sys.exit(main(WitnessOrgan))
