"""Arrows point down only: deploy → organs → nerves → cells → shared; and parts of one kind never meet in code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

LAYERS = ("shared", "cells", "nerves", "organs", "deploy")  # from the ground up
KINDS = ("cells", "nerves", "organs")


def dotted_name(path: Path) -> tuple[str, ...]:
    """The module that a file relative to the repository is; a package's `__init__` is the package."""
    parts = path.with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def imports(source: str, path: Path) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Every import in a module as line and dotted name: statements at any depth, and literal dynamic imports."""
    package = path.parent.parts
    for node in ast.walk(ast.parse(source, str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, tuple(alias.name.split("."))) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            base += tuple(node.module.split(".")) if node.module else ()
            yield from ((node.lineno, (*base, alias.name)) for alias in node.names)
        elif isinstance(node, ast.Call) and node.args:
            name = getattr(node.func, "attr", getattr(node.func, "id", None))
            target = node.args[0]
            if name in {"import_module", "__import__"} and isinstance(target, ast.Constant):
                yield node.lineno, tuple(str(target.value).split("."))


def wrong_arrows(root: Path) -> list[str]:
    """Every import that points up, or from one part to another of its kind, as `file:line: what`."""
    found: list[str] = []
    for layer in LAYERS:
        for path in sorted((root / layer).rglob("*.py")):
            here = path.relative_to(root)
            own_part = dotted_name(here)[1:2]
            for line, target in imports(path.read_text(encoding="utf-8"), here):
                if target[0] not in LAYERS:
                    continue
                if LAYERS.index(target[0]) > LAYERS.index(layer):
                    found.append(f"{here}:{line}: {layer} may not import {'.'.join(target)}, which lies above it")
                elif layer in KINDS and target[0] == layer and target[1:2] != own_part:
                    found.append(f"{here}:{line}: one of {layer} may not import another: {'.'.join(target)}")
    return found


@pytest.mark.spec("X-14")
def test_arrows_point_down_only(root: Path) -> None:
    """No module imports from a layer above its own, and no cell, nerve or organ imports another of its kind."""
    assert [] == wrong_arrows(root)


@pytest.mark.spec("X-14")
@pytest.mark.parametrize(
    ("path", "source", "wrong"),
    [
        ("shared/a.py", "import cells.x_cell.cell", True),
        ("shared/a.py", "def f():\n    from deploy import cli", True),
        ("cells/a_cell/cell.py", "import deploy", True),
        ("cells/a_cell/cell.py", "from cells.b_cell.cell import B", True),
        ("cells/a_cell/cell.py", "from cells import b_cell", True),
        ("cells/a_cell/cell.py", "from ..b_cell import cell", True),
        ("cells/__init__.py", "from . import a_cell", True),
        ("nerves/a/nerve.py", "import importlib\nimportlib.import_module('organs.b')", True),
        ("organs/a/organ.py", "import organs.b.organ", True),
        ("organs/a/organ.py", "from shared.message import Signal\nfrom .ports import Port\nimport json", False),
        ("cells/a_cell/cell.py", "from cells.a_cell import rules\nfrom . import tables", False),
        ("deploy/cli.py", "import organs.a.organ, shared.world", False),
    ],
)
def test_a_planted_arrow_is_judged_rightly(tmp_path: Path, path: str, source: str, wrong: bool) -> None:  # noqa: FBT001
    """Whichever way a forbidden import is written it is found, and an allowed one is left alone."""
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(source)
    assert wrong == bool(wrong_arrows(tmp_path))
