"""The page `docs/constants.md`: every `constant(value, unit, row)` of the product, read from the source."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.references.page import page, table
from deploy.references.sources import ROOT, modules

Value = int | float | str

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Pow: lambda a, b: a**b,
    ast.FloorDiv: lambda a, b: a // b,
    ast.Div: lambda a, b: a / b,
}


@dataclass(frozen=True)
class Constant:
    """One declared constant: its name (a class attribute with its class before it), and where it stands."""

    name: str
    value: Value
    unit: str
    row: str
    file: str


def render() -> str:
    """Return `docs/constants.md`."""
    rows = [(f"`{c.name}`", written(c.value), c.unit, c.row, f"`{c.file}`") for c in constants()]
    about = "Every constant stands beside its owner as `constant(value, unit, row)`; the row is of the specification."
    return page("Constants", about, table(("name", "value", "unit", "row", "file"), rows))


def written(value: Value) -> str:
    """Return a constant's value as the page writes it."""
    return f"`{value}`" if isinstance(value, str) else f"{value:,}"


def constants(root: Path = ROOT) -> list[Constant]:
    """Return every constant under a root, ordered by name and file."""
    found = [c for file, tree in modules(root, "constant(") for c in _in_module(tree, file)]
    return sorted(found, key=lambda c: (c.name.lower(), c.name, c.file, str(c.value)))


def doubles(found: list[Constant]) -> list[str]:
    """Return a sentence for every constant that is said twice, or said differently under one name."""
    named: dict[str, list[Constant]] = defaultdict(list)
    for c in found:
        if not c.name.startswith("in "):
            named[c.name].append(c)
    return [_sentence(name, said) for name, said in named.items() if len(said) > 1]


def _sentence(name: str, said: list[Constant]) -> str:
    alike = len({(c.value, c.unit, c.row) for c in said}) < len(said)
    places = ", ".join(f"{c.file} ({written(c.value)} {c.unit}, {c.row})" for c in said)
    return f"{name} is {'said twice: import it' if alike else 'two things: rename one'}: {places}"


def _in_module(tree: ast.Module, file: str) -> Iterator[Constant]:
    named: set[int] = set()
    for name, call in _named(tree.body, ""):
        named.add(id(call))
        yield _read(name, call, file)
    for statement in tree.body:
        owner = _target(statement) or getattr(statement, "name", "module")
        inner = [node for node in ast.walk(statement) if _is_constant(node) and id(node) not in named]
        yield from (_read(f"in {owner}", call, file) for call in inner if isinstance(call, ast.Call))


def _named(body: list[ast.stmt], owner: str) -> Iterator[tuple[str, ast.Call]]:
    """Yield (name, call) for constants assigned in a module's or a class's own body."""
    for statement in body:
        name = _target(statement)
        value = getattr(statement, "value", None)
        if name and isinstance(value, ast.Call) and _is_constant(value):
            yield owner + name, value
        elif isinstance(statement, ast.ClassDef):
            yield from _named(statement.body, f"{owner}{statement.name}.")


def _target(statement: ast.stmt) -> str | None:
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name
        case _:
            return None


def _is_constant(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "constant"


def _read(name: str, call: ast.Call, file: str) -> Constant:
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    assert len(given) == 3, f"{file}:{call.lineno}: constant(value, unit, row), found {ast.unparse(call)}"  # noqa: PLR2004 - value, unit, row
    value, unit, row = (evaluate(node, f"{file}:{call.lineno}") for node in given)
    return Constant(name, value, str(unit), str(row), file)


def evaluate(node: ast.expr, where: str) -> Value:
    """Return the value of an expression of literals and arithmetic; an assertion names the place of any other."""
    match node:
        case ast.Constant(value=int() | float() | str() as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            value = evaluate(operand, where)
            assert not isinstance(value, str)
            return -value
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _BINARY[type(op)](evaluate(left, where), evaluate(right, where))
        case _:
            raise AssertionError(f"{where}: a constant is written with literals, found {ast.unparse(node)}")
