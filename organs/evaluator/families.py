"""The families of models that are measured, by name."""

from __future__ import annotations

from collections.abc import Mapping

from organs.evaluator.answers_family import AnswersFamily
from organs.evaluator.boundary_family import BoundaryFamily
from organs.evaluator.language_family import LanguageFamily
from organs.evaluator.sitting import Family
from organs.evaluator.toxicity_family import ToxicityFamily

FAMILIES: Mapping[str, Family] = {
    "boundary": BoundaryFamily(),
    "toxicity": ToxicityFamily(),
    "language": LanguageFamily(),
    "answers": AnswersFamily(),
}
