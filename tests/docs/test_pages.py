"""The pages people read name files, commands and tests that are there."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import pytest

from deploy.cli import build_parser
from deploy.usage import COMMANDS, COMMON, JSON, Group, each_command
from tests.commands import ROOT

PAGES = sorted(path.name for path in (ROOT / "docs").glob("*.md"))
CALLED = ("README.md", "CHANGELOG.md", *(f"docs/{page}" for page in PAGES))
GROUPS = "|".join(name for name, described in COMMANDS.items() if isinstance(described, Group))
PROGRAM = re.compile(r"(?<![\w/.`])(?:\./run|nimmerverse)(?=\s+[a-z#-]|$)")
#: What stands for something in a page, and what it may be where not any text is.
VALUES = dict.fromkeys(("FINGERPRINT", "DIGEST", "DATASET", "MODEL", "…"), "0" * 64) | {"N": "7"}
PARSER = build_parser()


def shown(text: str) -> Iterator[tuple[list[str], bool]]:
    """The words of every command of a page without the program, and whether it stands in a block, to be typed."""
    fenced = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
    for line in "".join(fenced.findall(text)).replace("\\\n", " ").splitlines():
        for program in PROGRAM.finditer(line):
            yield words(line[program.end() :]), True
    for code in re.findall(r"`([^`]+)`", fenced.sub("", text)):
        if program := PROGRAM.match(code) or re.match(rf"(?=(?:{GROUPS})\s+[a-z])", code):
            yield words(code[program.end() :]), False


def words(line: str) -> list[str]:
    """The words of a command up to its end, which a comment, a pipe or another command is, with fitting values."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    return [VALUES.get(word, word) for word in takewhile(lambda word: word[:1] not in set("();<>|&"), lexer)]


def objection(given: list[str], *, whole: bool) -> str:
    """What the command line says against the words of a command: nothing, or one sentence.

    One that is not whole may leave out what is required; argparse then looks no further, so its options are looked up.
    """
    if given[:1] == ["test"]:
        return ""  # pytest's words, not ours
    given = given if given and not given[0].startswith("-") else ["tour", *given]
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            PARSER.parse_args(given)
        except SystemExit:
            sentence = said.getvalue().splitlines()[-1]
        else:
            return ""
    if whole or "are required: " not in sentence:
        return sentence
    described = each_command().get(" ".join(given[:2])) or each_command().get(given[0])
    options = (*(described.options if described else ()), *COMMON, JSON)
    known = {flag for option in options for flag in option.flags}
    return " ".join(word for word in given if word.startswith("--") and word.partition("=")[0] not in known)


@pytest.mark.spec("COL-15")
@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_is_there(root: Path, page: str) -> None:
    """Each link leads somewhere, and each test file a page points to exists."""
    text = (root / "docs" / page).read_text()
    links = [link for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", text) if not (root / "docs" / link).exists()]
    tests = [name for name in re.findall(r"`(tests/[\w/]+\.py)`", text) if not (root / name).exists()]
    assert ([], []) == (links, tests)


@pytest.mark.parametrize("page", CALLED)
def test_every_command_that_a_page_shows_is_one(root: Path, page: str) -> None:
    """Each command of a page is understood by the command line, options and all; in a sentence it may be cut short."""
    found = [(given, objection(given, whole=typed)) for given, typed in shown((root / page).read_text())]
    assert [] == [(given, no) for given, no in found if no]
