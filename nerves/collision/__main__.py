"""`python -m nerves.collision`: the nerve as a process of its own."""

from __future__ import annotations

import sys

from nerves.collision import CollisionNerve
from shared.part.main import main

sys.exit(main(CollisionNerve))
