"""`python -m cells.battery_cell`: the cell as a process of its own."""

from __future__ import annotations

import sys

from cells.battery_cell import BatteryCell
from shared.part.main import main

sys.exit(main(BatteryCell))
