"""The toxicity cell: how toxic a text is, by a scorer that can be replaced."""

from __future__ import annotations

from cells.toxicity_cell.scorer import NoScorer as NoScorer
from cells.toxicity_cell.scorer import ReferenceScorer as ReferenceScorer
from cells.toxicity_cell.scorer import Scorer as Scorer
from cells.toxicity_cell.scorer import default_scorer as default_scorer
