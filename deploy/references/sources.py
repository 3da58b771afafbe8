"""The product's own source files, read and not imported: a reference never depends on what happened to be loaded."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOTS = ("shared", "cells", "nerves", "organs", "deploy")


def modules(root: Path = ROOT, word: str = "") -> Iterator[tuple[str, ast.Module]]:
    """Yield every module that holds a word as (path from the root, its tree), in path order."""
    paths = sorted(path.relative_to(root).as_posix() for top in ROOTS for path in (root / top).rglob("*.py"))
    for path in paths:
        source = (root / path).read_text(encoding="utf-8")
        if word in source:
            yield path, _parsed(source, path)


@cache
def _parsed(source: str, path: str) -> ast.Module:
    return ast.parse(source, path)
