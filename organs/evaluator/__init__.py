"""The evaluator organ: measures models by suites that are registered datasets, and decides what it found."""

from __future__ import annotations

from organs.evaluator.organ import EvaluatorOrgan as EvaluatorOrgan
