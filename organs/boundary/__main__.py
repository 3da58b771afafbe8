"""`python -m organs.boundary`: the organ as a process of its own."""

from __future__ import annotations

import sys

from organs.boundary import BoundaryOrgan
from shared.part.main import main

sys.exit(main(BoundaryOrgan))
