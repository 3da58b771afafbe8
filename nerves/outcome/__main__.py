"""`python -m nerves.outcome`: the nerve as a process of its own."""

from __future__ import annotations

import sys

from nerves.outcome import OutcomeNerve
from shared.part.main import main

sys.exit(main(OutcomeNerve))
