"""`python -m organs.reviewer`: the organ as a process of its own."""

from __future__ import annotations

import sys

from organs.reviewer import ReviewerOrgan
from shared.part.main import main

sys.exit(main(ReviewerOrgan))
