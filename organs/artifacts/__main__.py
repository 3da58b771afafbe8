"""`python -m organs.artifacts`: the organ as a process of its own."""

from __future__ import annotations

import sys

from organs.artifacts import ArtifactsOrgan
from shared.part.main import main

sys.exit(main(ArtifactsOrgan))
