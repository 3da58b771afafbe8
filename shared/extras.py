"""Optional extras: whether what they bring is installed here, and how it is installed."""

from __future__ import annotations

import importlib.util
import shlex
import tomllib
from pathlib import Path

from shared.journal import record

_PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"  #: where the product runs from a clone


def lacking(*modules: str) -> list[str]:
    """Return those of some modules that are not installed; none of them is loaded."""
    return [name for name in modules if importlib.util.find_spec(name) is None]


def how_to_install(extra: str) -> str:
    """Return the command that installs an extra, and the one for a clone, whose .venv has no package of the product."""
    published = f"pip install 'nimmerverse[{extra}]'"
    if not _PROJECT.is_file():
        return published
    packages = tomllib.loads(_PROJECT.read_text(encoding="utf-8"))["project"]["optional-dependencies"][extra]
    return f"{published}; in a clone .venv/bin/python -m pip install {shlex.join(packages)}"


def tell_lacking(part: str, extra: str, *modules: str) -> None:
    """Write a line where a part starts without what its extra brings."""
    if found := lacking(*modules):
        detail = f"{' and '.join(found)} is not installed: {how_to_install(extra)}"
        record(part, "extra_missing", extra=extra, detail=detail)
