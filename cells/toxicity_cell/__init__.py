"""The toxicity cell: `nervous.cells.toxicity.request` in, `.response` and `.wave` out, by a scorer behind a port."""

from __future__ import annotations

from cells.toxicity_cell.cell import ToxicityCell as ToxicityCell
from cells.toxicity_cell.scorer import NoScorer as NoScorer
from cells.toxicity_cell.scorer import ReferenceScorer as ReferenceScorer
from cells.toxicity_cell.scorer import Scorer as Scorer
from cells.toxicity_cell.scorer import default_scorer as default_scorer
from cells.toxicity_cell.scorer import load_scorer as load_scorer
from cells.toxicity_cell.scorer import promoted_scorer as promoted_scorer
