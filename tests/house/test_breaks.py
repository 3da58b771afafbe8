"""Each row of the specification that tests are marked with can be broken, and a test is named that finds it.

`python -m tests.breaks` tries them; here is what can be said without running anything. The rows are read off the marks,
as they stand in the files: a decorator, or a module's `pytestmark`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.breaks import Break, table, tried


def marked_rows(node: ast.AST) -> set[str]:
    """The rows that a decorator or a `pytestmark` names."""
    calls = (inner for inner in ast.walk(node) if isinstance(inner, ast.Call))
    marks = [call for call in calls if isinstance(call.func, ast.Attribute) and "spec" == call.func.attr]
    return {ast.literal_eval(row) for call in marks for row in call.args}


def named_in(path: Path, root: Path) -> Iterator[tuple[str, set[str]]]:
    """Each test of a file, as pytest names it without parameters, with its rows."""
    module = ast.parse(path.read_text(encoding="utf-8"))
    yield from _named(module.body, str(path.relative_to(root)), set())


def _named(body: list[ast.stmt], place: str, rows: set[str]) -> Iterator[tuple[str, set[str]]]:
    for node in body:
        if isinstance(node, ast.Assign) and any("pytestmark" == getattr(name, "id", "") for name in node.targets):
            rows = rows | marked_rows(node.value)
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            own = rows.union(*map(marked_rows, node.decorator_list))
            if isinstance(node, ast.ClassDef):
                yield from _named(node.body, f"{place}::{node.name}", own)
            elif node.name.startswith("test_"):
                yield f"{place}::{node.name}", own


@pytest.fixture(scope="module")
def marked_tests(root: Path) -> dict[str, set[str]]:
    """Every test with its rows."""
    return dict(test for path in sorted((root / "tests").rglob("test_*.py")) for test in named_in(path, root))


def test_every_row_can_be_broken(marked_tests: dict[str, set[str]]) -> None:
    """Each row that a test is marked with has a break or is listed as untried; nothing else is, and none is both."""
    breaks, untried = table()
    broken = {one.row for one in breaks}
    marked = set[str]().union(*marked_tests.values())
    assert sorted(marked - broken) == sorted(untried)
    assert set() == broken - marked


def test_what_a_break_names_is_there(root: Path, marked_tests: dict[str, set[str]]) -> None:
    """The words of each break stand in their file exactly once, and change there; its test is marked with its row."""
    breaks, _ = table()
    assert [] == [f"{one.row}: {one.file}: {one.old!r}" for one in breaks if not one.fits(root) or one.old == one.new]
    rows = {one: marked_tests.get(one.test.split("[")[0], set[str]()) for one in breaks}
    assert [] == [f"{one.row}: {one.test}" for one in breaks if one.row not in rows[one]]


def test_what_is_broken_is_never_a_test(root: Path) -> None:
    """A fault in a test shows nothing of the product."""
    breaks, _ = table()
    assert [] == [one.file for one in breaks if one.file.startswith("tests/")]


def test_only_a_judgement_finds_a_break(tmp_path: Path) -> None:
    """Found is what an assertion or the product says; neither what nobody notices, nor a crash, nor a bad test."""
    (tmp_path / "sums.py").write_text("def add(a, b):\n    return a + b\n")
    tests = ("add(2, 3) == 5", "add(2, 2) == 4", "add(1, 1) == 3")
    bodies = "".join(f"def test_{n}():\n    assert {said}\n" for n, said in enumerate(tests))
    (tmp_path / "test_sums.py").write_text(f"from sums import add\n{bodies}")
    (tmp_path / "cells.py").write_text("class No(Exception): pass\n\ndef no():\n    raise No\n")
    own = "__import__('cells').no()"
    news = {"a * b": (0, 1), own: (0,), "a + c": (0,), "a + None": (0,), "a - b": (2,)}
    breaks = [
        Break("X-01", "", "sums.py", "a + b", new, f"test_sums.py::test_{n}")
        for new, each in news.items()
        for n in each
    ]
    told = [(bool(one["found"]), str(one["why"]).split(":")[0]) for one in tried(tmp_path, breaks)]
    assert [
        (True, "assert 6 == 5"),
        (False, "it passes"),
        (True, "cells.No"),
        (False, "NameError"),
        (False, "TypeError"),
        (False, "fails without the break"),
    ] == told
    assert "a + b" in (tmp_path / "sums.py").read_text()
