"""`python -m nerves.gate`: the nerve as a process of its own."""

from __future__ import annotations

import sys

from nerves.gate import GateNerve
from shared.part.main import main

sys.exit(main(GateNerve))
