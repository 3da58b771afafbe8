"""`python -m cells.sensor_cell`: the cell as a process of its own."""

from __future__ import annotations

import sys

from cells.sensor_cell import SensorCell
from shared.part.main import main

sys.exit(main(SensorCell))
