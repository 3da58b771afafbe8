"""`python -m cells.distance_cell`: the cell as a process of its own."""

from __future__ import annotations

import sys

from cells.distance_cell import DistanceCell
from shared.part.main import main

sys.exit(main(DistanceCell))
