"""`python -m organs.organd`: the organ as a process of its own."""

from __future__ import annotations

import sys

from organs.organd import OrgandOrgan
from shared.part.main import main

sys.exit(main(OrgandOrgan))
