"""`python -m organs.anchor`: the organ as a process of its own."""

from __future__ import annotations

import sys

from organs.anchor import AnchorOrgan
from shared.part.main import main

sys.exit(main(AnchorOrgan))
