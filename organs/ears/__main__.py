"""`python -m organs.ears`: the organ as a process of its own."""

from __future__ import annotations

import sys

from organs.ears import EarsOrgan
from shared.part.main import main

sys.exit(main(EarsOrgan))
