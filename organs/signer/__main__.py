"""`python -m organs.signer`: the organ as a process of its own."""

from __future__ import annotations

import sys

from organs.signer import SignerOrgan
from shared.part.main import main

sys.exit(main(SignerOrgan))
