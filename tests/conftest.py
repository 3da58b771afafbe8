"""What every test may use, and `./run test --spec`: the specification's rows, each with its tests or with none."""

from __future__ import annotations

import gc
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from organs.meaning.threads import limit_threads

#: Of property tests: no example is timed, for a machine may stand still in any of them, and each run tries the same.
#: `--hypothesis-profile explore` tries others each time.
for name, same in (("house", True), ("explore", False)):
    settings.register_profile(
        name,
        derandomize=same,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        print_blob=True,
    )
settings.load_profile("house")

gc.disable()  # until all is collected
limit_threads()  # before any test imports numpy; on a busy machine its waiting threads cost more than they bring

ROOT = Path(__file__).resolve().parent.parent
#: The specification's families of rows, each with how many it has.
FAMILIES = {"X": 15, "NIM": 23, "COL": 17, "ILL": 20, "ZER": 10, "BIZ": 22}
ROWS = [f"{family}-{number:02}" for family, count in FAMILIES.items() for number in range(1, count + 1)]


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option `--spec`."""
    words = "list each row of the specification with its tests, or that it has none, and run nothing"
    parser.addoption("--spec", action="store_true", help=words)


def rows_of(item: pytest.Item) -> list[str]:
    """The rows that a test is marked with."""
    return sorted({row for mark in item.iter_markers("spec") for row in mark.args})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A mark that names no row, or one that the specification does not have, ends the run."""
    for item in items:
        for mark in item.iter_markers("spec"):
            if not mark.args or not all(row in ROWS for row in mark.args):
                message = f"{item.nodeid}: spec takes rows of the specification, found {mark.args!r}"
                raise pytest.UsageError(message)


def pytest_collection_finish() -> None:
    """What was collected lives to the end: it is not searched for garbage, while tests are made or while they run."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """With `--spec`, the listing stands in the place of the run."""
    if not session.config.getoption("spec"):
        return None
    claims: dict[str, dict[str, str]] = defaultdict(dict)
    for item in session.items:
        doc = getattr(getattr(item, "function", None), "__doc__", None) or ""
        for row in rows_of(item):
            claims[row][item.nodeid.split("[")[0]] = " ".join(doc.split())
    tests = {row: [f"  {claim or 'no claim'}\n    {test}" for test, claim in claims[row].items()] for row in ROWS}
    lines = [line for row in ROWS for line in ("", row, *(tests[row] or ["  no test"]))]
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    assert reporter is not None
    for line in lines:
        reporter.write_line(line)
    return True


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's folder."""
    return ROOT


@pytest.fixture(scope="session")
def repository_files(root: Path) -> list[Path]:
    """Every file that is in the repository or about to be: what git tracks or does not ignore, as relative paths.

    Where git is absent, as in an unpacked archive, the folder itself is read and .gitignore's names are left out.
    """
    try:
        listing = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=root,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        ignored = [".git", *(line.strip("/") for line in (root / ".gitignore").read_text().splitlines())]
        found = [path.relative_to(root) for path in root.rglob("*") if path.is_file()]
        return sorted(path for path in found if not any(_matches(path, name) for name in ignored))
    return sorted(Path(name) for name in listing.split("\0") if name and (root / name).exists())


def _matches(path: Path, ignored: str) -> bool:
    return any(Path(part).match(ignored) for part in path.parts) if ignored and ignored[0] != "#" else False
