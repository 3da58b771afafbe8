"""`python -m nerves.provenance`: the nerve as a process of its own."""

from __future__ import annotations

import sys

from nerves.provenance import ProvenanceNerve
from shared.part.main import main

sys.exit(main(ProvenanceNerve))
