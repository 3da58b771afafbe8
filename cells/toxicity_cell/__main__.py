"""`python -m cells.toxicity_cell`: the cell as a process of its own."""

from __future__ import annotations

import sys

from cells.toxicity_cell import ToxicityCell
from shared.part.main import main

sys.exit(main(ToxicityCell))
