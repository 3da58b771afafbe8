"""The wheel holds the five roots and nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOTS = ["cells", "deploy", "nerves", "organs", "shared"]


@pytest.fixture(scope="module")
def wheel_names(root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The names in a wheel built from this repository."""
    folder = tmp_path_factory.mktemp("wheel")
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)],
        cwd=root,
        check=False,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


@pytest.mark.spec("X-14")
def test_wheel_roots_are_exactly_the_five(wheel_names: list[str]) -> None:
    """The wheel's top level is exactly shared, cells, nerves, organs and deploy, beside its own metadata."""
    tops = {name.split("/")[0] for name in wheel_names}
    assert ROOTS == sorted(top for top in tops if not top.endswith(".dist-info"))
    assert len(ROOTS) + 1 == len(tops)


@pytest.mark.spec("X-14")
def test_wheel_holds_every_module(root: Path, wheel_names: list[str], repository_files: list[Path]) -> None:
    """Every file of the five roots is in the wheel, so an installed copy is what the repository is."""
    wanted = {path.as_posix() for path in repository_files if path.parts[0] in ROOTS}
    assert set() == wanted - set(wheel_names), f"missing from the wheel built in {root}"
