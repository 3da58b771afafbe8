"""`python -m organs.notary`: the organ as a process of its own."""

from __future__ import annotations

import sys

from organs.notary import NotaryOrgan
from shared.part.main import main

sys.exit(main(NotaryOrgan))
