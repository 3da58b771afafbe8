"""The repository's top level holds what was decided, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

#: The seed's own entries.
DECIDED = {"pyproject.toml", "cells", "nerves", "organs", "shared", "deploy", "subjects.md", "tests", "README.md"}

#: Recorded additions, each with its reason.
ADDED = {
    ".ci": "what must hold before a change lands",
    ".github": "the workflow that calls .ci/run",
    ".gitignore": "what ./run and the tools leave",
    "CHANGELOG.md": "what changed, for users",
    "LICENSE": "the terms",
    "docs": "architecture, decisions and generated references",
    "requirements": "the hash locks",
    "run": "the way in",
}


@pytest.mark.spec("X-14")
def test_top_level_is_exactly_the_decided_set(repository_files: list[Path]) -> None:
    """The top level is exactly the decided entries and the recorded additions: none missing, none more."""
    assert sorted(DECIDED | ADDED.keys()) == sorted({path.parts[0] for path in repository_files})


@pytest.mark.spec("X-15")
def test_the_workflow_calls_the_same_script(root: Path) -> None:
    """The hosted workflow does what `.ci/run` does, by calling it."""
    assert "- run: bash .ci/run\n" in (root / ".github" / "workflows" / "ci.yml").read_text()


@pytest.mark.spec("X-14")
@pytest.mark.parametrize("script", ["run", ".ci/run", "requirements/lock"])
def test_scripts_can_be_called(root: Path, script: str) -> None:
    """Each script is executable as it is cloned."""
    assert os.access(root / script, os.X_OK)
