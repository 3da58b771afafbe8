"""`python -m nerves.overload`: the nerve as a process of its own."""

from __future__ import annotations

import sys

from nerves.overload import OverloadNerve
from shared.part.main import main

sys.exit(main(OverloadNerve))
