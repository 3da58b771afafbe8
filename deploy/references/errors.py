"""The page `docs/errors.md`: refusal codes, faults and exit codes."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import shared.errors
from deploy.references.fields import line_comments
from deploy.references.page import page, table
from deploy.references.sources import ROOT, modules
from shared.errors import CODES, Exit, Fault


@dataclass(frozen=True)
class FaultClass:
    """One class of Fault as its source declares it."""

    name: str
    doc: str
    retry: bool
    exit: Exit
    file: str


def render() -> str:
    """Return `docs/errors.md`."""
    return page(
        "Errors",
        "This product says no in three ways: a *refusal* is data, a *fault* is operating trouble, and a broken"
        " assertion is our own bug and stops the part.",
        "## Refusals",
        "A refusal travels in replies, dead letters and verdicts as `{code, detail}`. Admission judges R001–R009 in"
        " this order, R005 first where bytes cannot be read at all; B codes are the bus's own, P codes"
        " concern personal data.",
        table(("code", "name", "when"), [(f"`{c.code}`", c.name, c.when) for c in CODES.values()]),
        "## Faults",
        "A fault is raised. *Retry* says whether the same call may succeed later; a durable consumer then gives the"
        " entry again after a delay, any other fault makes a dead letter. *Exit* is the command line's status.",
        table(("fault", "when", "retry", "exit", "declared in"), [_row(f) for f in faults()]),
        "## Exit codes",
        "Exit codes never change their meaning.",
        table(("status", "name", "when"), exits()),
    )


def _row(f: FaultClass) -> tuple[str, str, str, str, str]:
    return f"`{f.name}`", f.doc, "yes" if f.retry else "no", f"{f.exit.value} {f.exit.name}", f"`{f.file}`"


def exits() -> list[tuple[str, str, str]]:
    """Return (status, name, when) of each exit code."""
    said = dict(line_comments(inspect.getsource(shared.errors), Exit.__name__))
    return [(f"`{code.value}`", code.name, said.get(code.name, code.words)) for code in Exit]


def faults(root: Path = ROOT) -> list[FaultClass]:
    """Return every class of Fault under a root: those of shared/errors.py in their order first, then by name."""
    classes = [
        (file, node) for file, tree in modules(root) for node in ast.walk(tree) if isinstance(node, ast.ClassDef)
    ]
    known = {Fault.__name__: FaultClass(Fault.__name__, "", Fault.retry, Fault.exit, "")}
    found = list(_derived(classes, known))
    central = [f for f in found if f.file == "shared/errors.py"]
    return central + sorted((f for f in found if f.file != "shared/errors.py"), key=lambda f: (f.name, f.file))


def _derived(classes: list[tuple[str, ast.ClassDef]], known: dict[str, FaultClass]) -> Iterator[FaultClass]:
    """Yield the classes whose base is known, then those whose base these are, until none is left."""
    waiting = classes
    while True:
        fresh = [(file, node) for file, node in waiting if _base(node) in known]
        if not fresh:
            return
        waiting = [item for item in waiting if item not in fresh]
        for file, node in fresh:
            fault = _read(node, known[_base(node)], file)
            known[fault.name] = fault
            yield fault


def _base(node: ast.ClassDef) -> str:
    return next((base.id for base in node.bases if isinstance(base, ast.Name)), "")


def _read(node: ast.ClassDef, base: FaultClass, file: str) -> FaultClass:
    retry, code = base.retry, base.exit
    for statement in node.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="retry")], value=ast.Constant(value=bool() as given)):
                retry = given
            case ast.Assign(targets=[ast.Name(id="exit")], value=ast.Attribute(attr=name)):
                code = Exit[name]
            case _:
                pass
    return FaultClass(node.name, ast.get_docstring(node) or "", retry, code, file)
