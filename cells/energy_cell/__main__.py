"""`python -m cells.energy_cell`: the cell as a process of its own."""

from __future__ import annotations

import sys

from cells.energy_cell import EnergyCell
from shared.part.main import main

sys.exit(main(EnergyCell))
