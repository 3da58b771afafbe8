"""`python -m organs.evaluator`: the organ as a process of its own."""

from __future__ import annotations

import sys

from organs.evaluator import EvaluatorOrgan
from shared.part.main import main

sys.exit(main(EvaluatorOrgan))
