"""The seeds that a simulation is tried with: a few each time, all of them among the slow tests."""

from __future__ import annotations

from collections.abc import Iterable

import pytest


def seeds(all_of_them: Iterable[int], few: int) -> list[object]:
    """Return what parametrizes a test with every seed, those after the first few among the slow ones."""
    return [seed if n < few else pytest.param(seed, marks=pytest.mark.slow) for n, seed in enumerate(all_of_them)]
