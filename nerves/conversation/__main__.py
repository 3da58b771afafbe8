"""`python -m nerves.conversation`: the nerve as a process of its own."""

from __future__ import annotations

import sys

from nerves.conversation import ConversationNerve
from shared.part.main import main

sys.exit(main(ConversationNerve))
