"""`python -m cells.light_cell`: the cell as a process of its own."""

from __future__ import annotations

import sys

from cells.light_cell import LightCell
from shared.part.main import main

sys.exit(main(LightCell))
