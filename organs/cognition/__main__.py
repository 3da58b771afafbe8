"""`python -m organs.cognition`: the organ as a process of its own."""

from __future__ import annotations

import sys

from organs.cognition import CognitionOrgan
from shared.part.main import main

sys.exit(main(CognitionOrgan))
