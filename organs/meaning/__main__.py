"""`python -m organs.meaning`: the organ as a process of its own."""

from __future__ import annotations

import sys

from organs.meaning import MeaningOrgan
from shared.part.main import main

sys.exit(main(MeaningOrgan))
