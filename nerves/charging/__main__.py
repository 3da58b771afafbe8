"""`python -m nerves.charging`: the nerve as a process of its own."""

from __future__ import annotations

import sys

from nerves.charging import ChargingNerve
from shared.part.main import main

sys.exit(main(ChargingNerve))
