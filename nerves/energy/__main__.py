"""`python -m nerves.energy`: the nerve as a process of its own."""

from __future__ import annotations

import sys

from nerves.energy import EnergyNerve
from shared.part.main import main

sys.exit(main(EnergyNerve))
