"""The pages people read name files, commands and tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deploy.usage import COMMANDS, Group, each_command

PAGES = ("operations", "controls", "verify", "keys", "views", "architecture", "policy", "energy", "registry")
PAGES += ("provenance", "toxicity", "training", "evaluation", "proposals", "exports")


@pytest.mark.spec("COL-15")
@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_is_there(root: Path, page: str) -> None:
    """Each link leads somewhere, and each test file a page points to exists."""
    text = (root / "docs" / f"{page}.md").read_text()
    links = [link for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", text) if not (root / "docs" / link).exists()]
    tests = [name for name in re.findall(r"`(tests/[\w/]+\.py)`", text) if not (root / name).exists()]
    assert ([], []) == (links, tests)


@pytest.mark.spec("COL-15")
@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_a_page_names_is_one(root: Path, page: str) -> None:
    """Each command of a group that a page names is understood by the command line."""
    text = (root / "docs" / f"{page}.md").read_text()
    groups = [name for name, described in COMMANDS.items() if isinstance(described, Group)]
    named = {
        f"{group} {word}" for group in groups for word in re.findall(rf"`(?:nimmerverse )?{group} ([a-z-]+)", text)
    }
    assert set() == named - each_command().keys()
