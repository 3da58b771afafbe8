"""Which file is rendered by what; writing them, and finding those that say something else than the code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deploy.references import asyncapi, constants, errors, metrics, subjects, views
from deploy.references.page import WRITE
from deploy.references.sources import ROOT
from shared.config import render_config_md
from shared.errors import ConfigFault, StorageFault
from shared.journal import render_logs_md

#: Every generated file, relative to the repository's root.
FILES: dict[Path, Callable[[], str]] = {
    Path("subjects.md"): subjects.render,
    Path("docs/asyncapi.json"): asyncapi.render,
    Path("docs/config.md"): render_config_md,
    Path("docs/constants.md"): constants.render,
    Path("docs/errors.md"): errors.render,
    Path("docs/logs.md"): render_logs_md,
    Path("docs/metrics.md"): metrics.render,
    Path("docs/views.md"): views.render,
}


@dataclass(frozen=True)
class Drift:
    """One generated file that is missing or says something else than the code."""

    path: Path
    found: str

    def __str__(self) -> str:
        return f"{self.path} {self.found}; mend it with `{WRITE}`"


def check(root: Path = ROOT) -> list[Drift]:
    """Return the generated files that drifted, in order."""
    _refuse_installed(root)
    drifts = [(path, _compared(root / path, render())) for path, render in FILES.items()]
    return [Drift(path, found) for path, found in drifts if found]


def write(root: Path = ROOT) -> list[Path]:
    """Write every generated file that drifted; return them. StorageFault when the folder cannot be written."""
    drifted = [drift.path for drift in check(root)]
    for path in drifted:
        try:
            (root / path).parent.mkdir(exist_ok=True)
            (root / path).write_text(FILES[path](), encoding="utf-8", newline="\n")
        except OSError as error:
            raise StorageFault(
                f"{root / path} cannot be written ({error.strerror}); free the folder and run `{WRITE}` again"
            ) from error
    return drifted


def _compared(path: Path, rendered: str) -> str:
    """Return what is wrong with a file, or nothing."""
    try:
        found = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return "is missing"
    except (OSError, UnicodeDecodeError) as error:
        return f"cannot be read ({error})"
    if found == rendered:
        return ""
    pairs = zip((*found.splitlines(), ""), (*rendered.splitlines(), ""), strict=False)
    line = next((number for number, (a, b) in enumerate(pairs, 1) if a != b), 1)
    return f"differs from the code from line {line} on"


def _refuse_installed(root: Path) -> None:
    if not (root / "pyproject.toml").is_file():
        raise ConfigFault(
            f"{root} is not a clone of the repository; generated files are checked and written only there"
        )
