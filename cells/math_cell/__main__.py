"""`python -m cells.math_cell`: the cell as a process of its own."""

from __future__ import annotations

import sys

from cells.math_cell import MathCell
from shared.part.main import main

sys.exit(main(MathCell))
