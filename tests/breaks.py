"""`python -m tests.breaks [ROW …]`: each row of the specification that has tests has one that fails when it is broken.

`breaks.toml` says how each row is broken. In a copy of the working tree one break at a time is made, the test that it
names is run, and the file is put back. A break is found when that test passes without it and fails with it, by
judgement: what an assertion says, an error of the product's own, a wait that timed out. A test that crashes, or that
cannot be collected or set up, has found nothing.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict
from xml.etree import ElementTree as ET

ROOT = Path(__file__).resolve().parent.parent
TABLE = Path(__file__).with_suffix(".toml")

#: How pytest words a judgement.
JUDGEMENT = re.compile(r"(assert|AssertionError|Failed|TimeoutError)\b|(shared|cells|nerves|organs|deploy)\.")

#: A fault may make a test wait for what never comes.
PATIENCE_S = 180


@dataclass(frozen=True)
class Break:
    """One fault: what is wrong, which words of a file, standing there once, become which, and who finds it."""

    row: str
    fault: str
    file: str
    old: str
    new: str
    test: str

    def fits(self, root: Path) -> bool:
        """Say whether the words stand in the file exactly once."""
        path = root / self.file
        return path.is_file() and 1 == path.read_text(encoding="utf-8").count(self.old)

    @contextmanager
    def made(self, root: Path) -> Iterator[None]:
        """The fault, for as long as the context lasts."""
        path = root / self.file
        whole = path.read_text(encoding="utf-8")
        try:
            _write(path, whole.replace(self.old, self.new))
            yield
        finally:
            _write(path, whole)


class Outcome(TypedDict):
    """What came of a break: whether it was found, and what the test said."""

    row: str
    fault: str
    test: str
    found: bool
    why: str


def table(path: Path = TABLE) -> tuple[list[Break], list[str]]:
    """The breaks, and the rows that have none yet."""
    rows = tomllib.loads(path.read_text(encoding="utf-8"))
    untried = rows.pop("untried")
    return [Break(row, **fields) for row, several in rows.items() for fields in several], untried


def tried(root: Path, breaks: list[Break]) -> Iterator[Outcome]:
    """Each break with what came of it, in a tree that may be changed."""
    sound = verdicts(root, (broken.test for broken in breaks))
    for broken in breaks:
        why, found = sound[broken.test], False
        if why:
            why = f"fails without the break: {why}"
        else:
            with broken.made(root):
                why = verdicts(root, [broken.test])[broken.test]
            found = bool(JUDGEMENT.match(why))
        yield Outcome(row=broken.row, fault=broken.fault, test=broken.test, found=found, why=why or "it passes")


def verdicts(root: Path, tests: Iterable[str]) -> dict[str, str]:
    """What each test says in `root`: "" when it passes, else why not."""
    tests = sorted(set(tests))
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        # Without anybody's plugins: to load them costs more than most of the tests that run here one by one.
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *tests],
            cwd=root,
            env=os.environ | {"PYTHONPATH": str(root), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            process.wait(PATIENCE_S * len(tests))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if not report.exists():
            return dict.fromkeys(tests, f"no judgement: pytest ended with {process.returncode}")
        cases = list(ET.parse(report).iter("testcase"))  # noqa: S314 - pytest has just written it
    return {test: _verdict(test, cases) for test in tests}


def copy(root: Path, to: Path) -> None:
    """Copy what git tracks or does not ignore."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout.split("\0"):
        if name and (root / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, to / name)


def _write(path: Path, text: str) -> None:
    """Write a file and forget what was compiled of it: to Python two writes of one size in one second look alike."""
    path.write_text(text, encoding="utf-8")
    Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)


def _verdict(test: str, cases: Iterable[ET.Element]) -> str:
    """What a test, or any of its parameters, says in pytest's report."""
    path, bracket, parameters = test.partition("[")
    file, *classes, name = path.split("::")
    place = ".".join([file.removesuffix(".py").replace("/", "."), *classes])
    named = {case: case.get("name", "") for case in cases if place == case.get("classname")}
    mine = [
        case
        for case, found in named.items()
        if (found if bracket else found.split("[")[0]) == name + bracket + parameters
    ]
    if not mine:
        return "no judgement: the test did not run"
    said = [_said(child) for case in mine for child in case if child.tag in {"error", "failure", "skipped"}]
    return next(filter(JUDGEMENT.match, said), said[0] if said else "")


def _said(child: ET.Element) -> str:
    """How a test did not pass, in one line."""
    line = child.get("message", "").strip().split("\n")[0]
    return line if child.tag == "failure" else f"no judgement: {line}"


def main() -> int:
    """Try them all, or those of the rows that are named; 1 when one was not found."""
    parser = argparse.ArgumentParser(prog="python -m tests.breaks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="only these rows, or families of them (X, COL)")
    parser.add_argument("--json", action="store_true", help="one object a line")
    given = parser.parse_args()
    every, _ = table()
    breaks = [one for one in every if not given.rows or {one.row, one.row.split("-")[0]} & set(given.rows)]
    if not breaks:
        parser.error(f"no break for {' '.join(given.rows)}; there are {', '.join(sorted({one.row for one in every}))}")
    if stale := [one for one in breaks if not one.fits(ROOT)]:
        parser.error(f"{stale[0].row}: its words do not stand exactly once in {stale[0].file}: {stale[0].old!r}")
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="breaks-") as folder:
        copy(ROOT, Path(folder))
        print(f"running {len({one.test for one in breaks})} tests without any break", file=sys.stderr)  # noqa: T201
        for outcome in tried(Path(folder), breaks):
            outcomes.append(outcome)
            said = "found" if outcome["found"] else f"NOT FOUND ({outcome['why']})"
            line = f"{outcome['row']}: {said} by {outcome['test']}: {outcome['fault']}"
            print(json.dumps(outcome) if given.json else line, flush=True)  # noqa: T201
    found = sum(outcome["found"] for outcome in outcomes)
    print(f"{found} of {len(outcomes)} breaks found", file=sys.stderr)  # noqa: T201
    return int(found < len(outcomes))


if __name__ == "__main__":
    sys.exit(main())
