"""`python -m organs.datasets`: the organ as a process of its own."""

from __future__ import annotations

import sys

from organs.datasets import DatasetsOrgan
from shared.part.main import main

sys.exit(main(DatasetsOrgan))
