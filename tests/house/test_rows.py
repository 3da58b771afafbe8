"""`--spec` leaves no row of the specification out, and no test is marked with a row that there is not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


def listed(root: Path, folder: Path, mark: str) -> subprocess.CompletedProcess[str]:
    """What `--spec` says of a suite of one test with this mark."""
    test = f'import pytest\n\n@pytest.mark.spec({mark})\ndef test_one():\n    """It holds."""\n'
    (folder / "test_one.py").write_text(test)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = spec\n")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--spec", "-p", "tests.conftest"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_row_without_tests_is_listed_too(root: Path, tmp_path: Path) -> None:
    """Each of the 107 rows stands there once, with its tests and what they claim, or with `no test`."""
    told = re.findall(r"^([A-Z]+-\d\d)\n((?:  .+\n)+)", listed(root, tmp_path, '"COL-14"').stdout, re.MULTILINE)
    rows = dict(told)
    assert (107, 107) == (len(told), len(rows))
    assert "  It holds.\n    test_one.py::test_one\n" == rows.pop("COL-14")
    assert {"  no test\n"} == set(rows.values())


@pytest.mark.parametrize("mark", ['"X-01", "X-16"', "14", ""])
def test_a_mark_that_names_no_row_ends_the_run(root: Path, tmp_path: Path, mark: str) -> None:
    """A row that the specification does not have, or a mark without any, is a usage error that names the test."""
    done = listed(root, tmp_path, mark)
    assert pytest.ExitCode.USAGE_ERROR == done.returncode
    assert "test_one.py::test_one: spec takes rows of the specification, found " in done.stderr
