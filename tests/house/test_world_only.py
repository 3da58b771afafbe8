"""Time, chance and identity come from the World: nothing else asks the machine for them.

pyproject.toml says once what is banned and who is excepted; ruff judges by it, and so does this scan, which also
follows names that were assigned and imports that were written as strings, and which no comment can silence.
"""

from __future__ import annotations

import ast
import fnmatch
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
BANNED = frozenset(LINT["flake8-tidy-imports"]["banned-api"])
EXCEPTED = {pattern for pattern, rules in LINT["per-file-ignores"].items() if "TID251" in rules}
ROOTS = ("shared", "cells", "nerves", "organs", "deploy")


def banned_part(name: str) -> str | None:
    """The banned name that a dotted name is or lies under."""
    parts = name.split(".")
    return next((head for end in range(1, len(parts) + 1) if (head := ".".join(parts[:end])) in BANNED), None)


def bindings(tree: ast.AST) -> dict[str, str]:
    """What each imported or plainly assigned name stands for, as a dotted name."""
    bound: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                head = alias.name.split(".")[0]
                bound[alias.asname or head] = alias.name if alias.asname else head
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                bound[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Attribute | ast.Name):
            name = resolve(node.value, bound)
            for target in node.targets:
                if name and isinstance(target, ast.Name):
                    bound.setdefault(target.id, name)
    return bound


def resolve(node: ast.expr, bound: dict[str, str]) -> str | None:
    """The dotted name that an expression such as `dt.datetime.now` stands for, if it starts at an import."""
    trail: list[str] = []
    while isinstance(node, ast.Attribute):
        trail.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in bound:
        return None
    return ".".join([bound[node.id], *reversed(trail)])


def names_used(source: str) -> Iterator[tuple[int, str]]:
    """Every dotted name that a module imports or reaches through an import, with its line."""
    tree = ast.parse(source)
    bound = bindings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Attribute | ast.Name) and (name := resolve(node, bound)):
            yield node.lineno, name
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = getattr(node.func, "attr", getattr(node.func, "id", None))
            if called in {"import_module", "__import__"}:
                yield node.lineno, str(node.args[0].value)


def violations(root: Path) -> list[str]:
    """Every use of what only the World may ask for, as `file:line: what`."""
    found: set[str] = set()
    for path in (path for top in ROOTS for path in (root / top).rglob("*.py")):
        here = path.relative_to(root).as_posix()
        source = path.read_text(encoding="utf-8")
        if any(fnmatch.fnmatch(here, pattern) for pattern in EXCEPTED):
            continue
        found |= {f"{here}:{line}: {name}: ask the World" for line, name in names_used(source) if banned_part(name)}
    return sorted(found)


@pytest.mark.spec("X-08")
def test_only_the_world_asks_the_machine() -> None:
    """No module outside the World and the operating layer uses the clock, randomness, fresh ids or sleep."""
    assert [] == violations(ROOT)


@pytest.mark.spec("X-08")
def test_the_exceptions_are_exactly_the_named_ones() -> None:
    """The World, the layer that runs real servers, two programs of their own, the tests are excepted; nobody else."""
    programs = {"shared/audit/stand_alone/*", "organs/organd/worker.py"}
    assert {"shared/world.py", "deploy/embedded/*", *programs, "tests/*"} == EXCEPTED


@pytest.mark.spec("X-08")
@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "import time as clock",
        "from time import monotonic as tick",
        "def f():\n    import random",
        "from random import choice",
        "import uuid",
        "from uuid import uuid4",
        "import secrets",
        "import os\nos.urandom(8)",
        "from os import urandom as entropy",
        "import os as system\nsystem.getrandom(8)",
        "import datetime\ndatetime.datetime.now()",
        "from datetime import datetime as dt\ndt.utcnow()",
        "import datetime as d\nk = d.datetime\nk.now()",
        "from datetime import date\ndate.today()",
        "import asyncio\nasync def f():\n    await asyncio.sleep(1)",
        "from asyncio import sleep",
        "import nacl.signing\nnacl.signing.SigningKey.generate()",
        "from nacl.signing import SigningKey\nSigningKey.generate()",
        "__import__('time').time()",
        "import importlib\nimportlib.import_module('random')",
        "import time  # noqa: TID251",
    ],
)
def test_a_planted_use_is_caught(tmp_path: Path, source: str) -> None:
    """However a forbidden use is written, and whatever comment stands beside it, it is caught."""
    file = tmp_path / "cells" / "planted_cell" / "cell.py"
    file.parent.mkdir(parents=True)
    file.write_text(source)
    assert 1 <= len(violations(tmp_path))


@pytest.mark.spec("X-08")
@pytest.mark.parametrize(
    "source",
    [
        "import asyncio\nasyncio.timeout(1)",
        "from datetime import datetime, timedelta\ndatetime.fromtimestamp(0)",
        "from nacl.signing import SigningKey\nSigningKey(bytes(32))",
        "def f(world):\n    return world.time(), world.random.random(), world.uuid",
        "import os\nos.environ",
    ],
)
def test_innocent_code_is_left_alone(tmp_path: Path, source: str) -> None:
    """What the World hands out, and the banned modules' innocent neighbours, are not mistaken for a violation."""
    file = tmp_path / "cells" / "planted_cell" / "cell.py"
    file.parent.mkdir(parents=True)
    file.write_text(source)
    assert [] == violations(tmp_path)
