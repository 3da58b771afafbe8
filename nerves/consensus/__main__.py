"""`python -m nerves.consensus`: the nerve as a process of its own."""

from __future__ import annotations

import sys

from nerves.consensus import ConsensusNerve
from shared.part.main import main

sys.exit(main(ConsensusNerve))
