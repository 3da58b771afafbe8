"""`python -m nerves.exploration`: the nerve as a process of its own."""

from __future__ import annotations

import sys

from nerves.exploration import ExplorationNerve
from shared.part.main import main

sys.exit(main(ExplorationNerve))
