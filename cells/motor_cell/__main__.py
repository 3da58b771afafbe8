"""`python -m cells.motor_cell`: the cell as a process of its own."""

from __future__ import annotations

import sys

from cells.motor_cell import MotorCell
from shared.part.main import main

sys.exit(main(MotorCell))
