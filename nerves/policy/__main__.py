"""`python -m nerves.policy`: the nerve as a process of its own."""

from __future__ import annotations

import sys

from nerves.policy import PolicyNerve
from shared.part.main import main

sys.exit(main(PolicyNerve))
