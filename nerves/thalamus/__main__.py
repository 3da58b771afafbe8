"""`python -m nerves.thalamus`: the nerve as a process of its own."""

from __future__ import annotations

import sys

from nerves.thalamus import ThalamusNerve
from shared.part.main import main

sys.exit(main(ThalamusNerve))
