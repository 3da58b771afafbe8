"""`python -m organs.vision`: the organ as a process of its own."""

from __future__ import annotations

import sys

from organs.vision import VisionOrgan
from shared.part.main import main

sys.exit(main(VisionOrgan))
