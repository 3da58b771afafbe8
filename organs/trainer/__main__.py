"""`python -m organs.trainer`: the organ as a process of its own."""

from __future__ import annotations

import sys

from organs.trainer.organ import TrainerOrgan
from shared.part.main import main

sys.exit(main(TrainerOrgan))
