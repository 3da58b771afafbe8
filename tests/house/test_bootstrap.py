"""`./run` makes its environment once, does an interrupted install over, and hands the arguments on.

The interpreter is played by a script that writes down what it is asked, so that nothing is downloaded here; continuous
integration takes the real path.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FAKE = """#!/bin/sh
printf '%s\\n' "$*" | head -n 1 >>"$CALLS"
case "$1 $2" in
"-c "*purelib*) cd "$(dirname "$0")/../site" && pwd ;;
"-c "*) exec "{python}" "$@" ;;
"-m venv") mkdir -p "$4/bin" "$4/site" && cp "$0" "$4/bin/python" && rm -f "$4"/*.stamp ;;
"-m pip") [ ! -e "$BROKEN" ] ;;
*) shift && printf 'nimmerverse %s\\n' "$*" ;;
esac
"""


class Clone:
    """A folder with the bootstrap, its locks and an interpreter that only takes notes."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.folder = folder / "a clone"
        self.python = folder / "python"
        self.calls = folder / "calls"
        self.broken = folder / "broken"
        shutil.copytree(root / "requirements", self.folder / "requirements")
        shutil.copy(root / "run", self.folder / "run")
        self.python.write_text(FAKE.format(python=sys.executable))
        self.python.chmod(0o755)

    def environment(self, **more: str) -> dict[str, str]:
        """What the bootstrap finds in its environment."""
        given = {"PYTHON": str(self.python), "CALLS": str(self.calls), "BROKEN": str(self.broken)}
        return os.environ | given | more

    def run(self, *arguments: str, way: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
        """One use, from a folder that is not the clone's."""
        return subprocess.run(
            ["sh", str(way or self.folder / "run"), *arguments],
            cwd=self.folder.parent,
            env=self.environment(**more),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def asked(self) -> list[str]:
        """What the interpreter was asked since the last look."""
        calls = self.calls.read_text().splitlines() if self.calls.exists() else []
        self.calls.unlink(missing_ok=True)
        return calls

    def installed(self) -> list[str]:
        """The locks that pip was asked to install since the last look."""
        return [Path(call.split(" -r ")[1]).stem for call in self.asked() if call.startswith("-m pip")]


@pytest.fixture
def clone(root: Path, tmp_path: Path) -> Clone:
    """A fresh clone."""
    return Clone(root, tmp_path)


@pytest.fixture
def ready(clone: Clone) -> Clone:
    """A clone that was used before."""
    assert clone.run("doctor").returncode == 0
    clone.asked()
    return clone


def test_first_use_installs_and_says_so(clone: Clone) -> None:
    """The first use installs the core lock, says so in one line, and then does what it was asked."""
    done = clone.run("ask", "1 + 1")
    assert ("nimmerverse ask 1 + 1\n", 0) == (done.stdout, done.returncode)
    assert done.stderr.startswith("run: first use of requirements/core.txt: installing ")
    assert len(done.stderr.splitlines()) == 1
    assert clone.installed() == ["build", "core"]


def test_every_package_is_installed_by_hash(clone: Clone) -> None:
    """pip is told to trust hashes alone and to fetch neither dependencies nor build tools on its own."""
    clone.run("doctor")
    pip = [call for call in clone.asked() if call.startswith("-m pip")]
    assert pip
    for call in pip:
        assert {"--require-hashes", "--no-deps", "--no-build-isolation"} <= set(call.split())


def test_the_product_runs_from_its_folder(ready: Clone) -> None:
    """The environment finds the product in the clone's own folder, and has a `nimmerverse` of its own."""
    venv = ready.folder / ".venv"
    assert f"{ready.folder}\n" == (venv / "site" / "nimmerverse.pth").read_text()
    direct = subprocess.run(
        [venv / "bin" / "nimmerverse", "doctor"],
        env=ready.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "nimmerverse doctor\n" == direct.stdout


def test_later_uses_install_nothing(ready: Clone) -> None:
    """A later use asks the interpreter for one thing only: to run."""
    done = ready.run("doctor")
    assert ("", 0) == (done.stderr, done.returncode)
    assert len(ready.asked()) == 1


@pytest.mark.parametrize(
    ("given", "handed_on"),
    [
        ([], "tour"),
        (["--exit"], "tour --exit"),
        (["--json", "report.json", "--exit"], "tour --json report.json --exit"),
        (["--help"], "--help"),
        (["-h"], "-h"),
        (["--version"], "--version"),
        (["subjects", "--check"], "subjects --check"),
    ],
)
def test_arguments_are_handed_on(ready: Clone, given: list[str], handed_on: str) -> None:
    """Alone, or with an option first, it is the tour; anything else is the command line's."""
    assert f"nimmerverse {handed_on}\n" == ready.run(*given).stdout


def test_tests_install_their_own_lock_once(ready: Clone) -> None:
    """`./run test` adds the test lock the first time, and says so."""
    done = ready.run("test", "-x")
    assert "nimmerverse pytest -x\n" == done.stdout
    assert "first use of requirements/test.txt" in done.stderr
    assert ["test"] == ready.installed()
    ready.run("test")
    assert [] == ready.installed()


def test_a_failed_install_is_done_over(clone: Clone) -> None:
    """When pip fails, the status is 5, a sentence says so, nothing runs, and the next use starts over."""
    clone.broken.touch()
    failed = clone.run("doctor")
    assert ("", 5) == (failed.stdout, failed.returncode)
    assert "requirements/build.txt could not be installed" in failed.stderr
    clone.broken.unlink()
    clone.asked()
    assert clone.run("doctor").returncode == 0
    assert clone.installed() == ["build", "core"]


def test_a_changed_lock_is_installed(ready: Clone) -> None:
    """After the lock changed by as much as a comment, the environment is made anew."""
    with (ready.folder / "requirements" / "core.txt").open("a") as lock:
        lock.write("# changed\n")
    assert ready.run("doctor").returncode == 0
    assert ready.installed() == ["build", "core"]


def test_a_moved_clone_is_made_anew(ready: Clone) -> None:
    """An environment knows its folder's name, so after a move it is made anew."""
    moved = ready.folder.rename(ready.folder.with_name("moved"))
    ready.folder = moved
    assert ready.run("doctor").returncode == 0
    assert ready.installed() == ["build", "core"]


def test_it_is_found_through_links(ready: Clone, tmp_path: Path) -> None:
    """Called through a chain of symbolic links, relative ones too, it still finds its own folder."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.symlink_to(Path("a clone") / "run")
    second.symlink_to(first)
    done = ready.run("doctor", way=second)
    assert ("nimmerverse doctor\n", "") == (done.stdout, done.stderr)


def test_without_a_python_it_says_what_to_do(clone: Clone) -> None:
    """Without a Python that is new enough it says what it tried and what to do, with status 5."""
    clone.python.write_text("#!/bin/sh\nexit 1\n")
    done = clone.run()
    assert (5, "") == (done.returncode, done.stdout)
    assert "no Python 3.11 or newer" in done.stderr
    assert str(clone.python) in done.stderr


def test_two_at_once_install_once(clone: Clone) -> None:
    """Two first uses at the same moment make one environment, and both then run."""
    both = [
        subprocess.Popen(
            ["sh", str(clone.folder / "run"), "doctor"],
            env=clone.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for _ in range(2)
    ]
    assert ["nimmerverse doctor\n"] * 2 == [process.communicate()[0] for process in both]
    assert clone.installed() == ["build", "core"]
