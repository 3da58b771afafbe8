"""Nothing of one machine is in the repository, and the locks name packages by hash alone."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

#: Written in pieces, so that this file does not hold what it looks for.
LEAKS = re.compile(
    "|".join(
        [
            r"(?<![\w.])/" + r"(?:root|work|Users|home/\w+)/",
            "pypi" + r"\.org",
            "files.python" + "hosted",
            "registry.npm" + "js",
            "registry.yarn" + "pkg",
            "deb.debian" + r"\.org",
        ]
    )
)
LOCKS = ("build", "core", "test")
PINNED = re.compile(r"([A-Za-z0-9._-]+)==([^\s;]+)(?: ; [^\\]+)?")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def locked(root: Path, name: str) -> dict[str, tuple[str, int]]:
    """A lock's packages as name → version and number of hashes; any line that is neither fails."""
    packages: dict[str, tuple[str, int]] = {}
    current = ""
    for number, line in enumerate((root / "requirements" / f"{name}.txt").read_text().splitlines(), 1):
        text = line.removesuffix("\\").strip()
        if HASH.fullmatch(text):
            version, hashes = packages[current]
            packages[current] = (version, hashes + 1)
        else:
            pinned = PINNED.fullmatch(text)
            assert pinned, f"requirements/{name}.txt:{number} is neither a pin nor a hash: {line}"
            current = canonicalize_name(pinned[1])
            packages[current] = (pinned[2], 0)
    return packages


def test_no_file_names_a_machine_or_an_index(root: Path, repository_files: list[Path]) -> None:
    """No text file holds a path of somebody's machine or the host name of a package index."""
    found: list[str] = []
    for path in repository_files:
        raw = (root / path).read_bytes()
        if b"\0" in raw:
            continue
        lines = raw.decode("utf-8", "replace").splitlines()
        found += [f"{path}:{number}: {hit[0]}" for number, line in enumerate(lines, 1) if (hit := LEAKS.search(line))]
    assert [] == found


@pytest.mark.parametrize(
    "line", ["see /" + "root/x", "'/" + "home/ann/y'", "https://pypi" + ".org/simple", "/" + "work/a"]
)
def test_a_planted_leak_is_caught(line: str) -> None:
    """The pattern finds what it is for."""
    assert LEAKS.search(line)


@pytest.mark.parametrize("name", LOCKS)
def test_locks_hold_pins_and_hashes_only(root: Path, name: str) -> None:
    """Each lock pins every package exactly, lists its hashes, and holds no option: no index, no link, no address."""
    packages = locked(root, name)
    assert packages
    assert [] == [package for package, (_, hashes) in packages.items() if not hashes]


def test_test_lock_extends_core_lock(root: Path) -> None:
    """The tests run on exactly the versions that the product runs on."""
    core, test = locked(root, "core"), locked(root, "test")
    assert core == {package: test.get(package) for package in core}


def test_locks_hold_what_the_project_asks_for(root: Path) -> None:
    """Every dependency that pyproject.toml names is locked, at a version that it allows."""
    config = tomllib.loads((root / "pyproject.toml").read_text())
    asked = {
        "build": config["dependency-groups"]["build"],
        "core": config["project"]["dependencies"],
        "test": config["dependency-groups"]["test"],
    }
    for name, requirements in asked.items():
        packages = locked(root, name)
        for requirement in map(Requirement, requirements):
            version, _ = packages[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(version), f"{name}.txt: {requirement}, locked {version}"


def test_torch_is_never_in_the_core_lock(root: Path) -> None:
    """A machine that only runs the product downloads neither torch nor CUDA."""
    assert [] == [
        name for name in locked(root, "core") if name == "torch" or name.startswith(("nvidia-cu", "cuda", "triton"))
    ]
