"""Published data and vectors, which lie beside the product's folder where they were put, and are no part of it."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


def published(*place: str) -> Path:
    """Return where a published file or folder lies; the test is left out on a machine that was never given it."""
    path = SHARED.joinpath(*place)
    if not path.exists():
        pytest.skip(f"published by others and no part of the product; whoever has it puts it at {path}")
    return path
