"""`python -m organs.records`: the organ as a process of its own."""

from __future__ import annotations

import sys

from organs.records import RecordsOrgan
from shared.part.main import main

sys.exit(main(RecordsOrgan))
