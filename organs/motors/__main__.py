"""`python -m organs.motors`: the organ as a process of its own."""

from __future__ import annotations

import sys

from organs.motors import MotorsOrgan
from shared.part.main import main

sys.exit(main(MotorsOrgan))
