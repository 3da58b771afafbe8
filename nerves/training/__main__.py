"""`python -m nerves.training`: the nerve as a process of its own."""

from __future__ import annotations

import sys

from nerves.training import TrainingNerve
from shared.part.main import main

sys.exit(main(TrainingNerve))
