"""`python -m nerves.registry`: the nerve as a process of its own."""

from __future__ import annotations

import sys

from nerves.registry import RegistryNerve
from shared.part.main import main

sys.exit(main(RegistryNerve))
