"""`python -m organs.voice`: the organ as a process of its own."""

from __future__ import annotations

import sys

from organs.voice import VoiceOrgan
from shared.part.main import main

sys.exit(main(VoiceOrgan))
