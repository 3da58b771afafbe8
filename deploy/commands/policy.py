"""`policy`: what the product's rules are, and what they say about an input."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import Annotated

import msgspec

from deploy.terminal import Terminal
from shared.config import Loaded
from shared.errors import ConfigFault, Exit
from shared.policy import Judged, Policies

STDIN = "-"


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One expectation about a policy: what it shall say about an input."""

    package: str
    given: Annotated[dict[str, object], msgspec.Meta(description="the input")]
    allowed: bool
    failing: list[str] | None = None  #: names of the rows that shall not hold; None where that does not matter
    name: str = ""


def listed(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Print every package that judges, with what it is about."""
    policies = _policies(args)
    terminal.note(f"policies {policies.digest} in {policies.engine}")
    for package, (name, about) in _about(policies).items():
        terminal.give({"package": package, "file": name, "about": about}, f"{package:<28} {about}")
    return Exit.OK


def show(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Print the text of a package's file, or of any file of the bundle."""
    policies = _policies(args)
    names = {package: name for package, (name, _) in _about(policies).items()}
    name = names.get(_full(args.package), args.package)
    if name not in policies.texts:
        known = ", ".join([*names, *policies.texts])
        raise ConfigFault(f"there is no policy {args.package!r}; there are {known}")
    terminal.give({"file": name, "text": policies.texts[name]}, policies.texts[name].rstrip())
    return Exit.OK


def check(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Print a package's table for an input; fails where it denies."""
    judged = _policies(args).evaluate(_full(args.package), _read(args.given))
    terminal.give(msgspec.to_builtins(judged), "\n".join(table(judged)))
    return Exit.OK if judged.allowed else Exit.FAILED


def test(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Hold expectations, one JSON object a line, against the policies; fails where one does not hold."""
    policies, wrong, count = _policies(args), 0, 0
    for file in args.files:
        for number, line in enumerate(text_of(file).splitlines(), 1):
            if not line.strip():
                continue
            place, case = f"{file}:{number}", _case(file, number, line)
            judged = policies.evaluate(_full(case.package), case.given)
            failing = [row.name for row in judged.rows if not row.holds]
            same = judged.allowed == case.allowed and case.failing in (None, failing)
            count, wrong = count + 1, wrong + (not same)
            if not same or terminal.as_json:
                found = {"allowed": judged.allowed, "failing": failing}
                told = f"{place} {case.name}: found {found}, expected {case.allowed} {case.failing}"
                terminal.give({"place": place, "name": case.name, "holds": same, "found": found}, told)
    terminal.note(f"{count - wrong} of {count} expectations hold")
    return Exit.FAILED if wrong or not count else Exit.OK


def digest(args: Namespace, loaded: Loaded, terminal: Terminal) -> Exit:
    """Print the digest that decisions carry, and the engine."""
    policies = _policies(args)
    shown = {"policy": policies.digest, "engine": policies.engine, "files": [*policies.texts]}
    terminal.give(shown, f"{policies.digest}  {policies.engine}  {', '.join(policies.texts)}")
    return Exit.OK


def table(judged: Judged) -> list[str]:
    """Return a judgement as lines: the rows, what else was said, and the verdict."""
    wide = max(len(row.name) for row in judged.rows)
    rows = [
        f"{'✓' if row.holds else '✗'} {row.name:<{wide}}  {row.demanded:<24} "
        f"found {'nothing' if row.found is None else row.found:<12} {row.reason}".rstrip()
        for row in judged.rows
    ]
    values = [f"  {name} = {value}" for name, value in sorted(judged.values.items())]
    return [*rows, *values, f"{'allowed' if judged.allowed else 'denied'} by {judged.policy[:16]} in {judged.engine}"]


def _about(policies: Policies) -> dict[str, tuple[str, str]]:
    """Return the file of each package that judges, and its first comment."""
    found = dict[str, tuple[str, str]]()
    for name, text in policies.texts.items():
        words = [line.removeprefix("package ") for line in text.splitlines() if line.startswith("package ")]
        if words and "\nrows := " in text:
            found[words[0]] = (name, text.splitlines()[0].removeprefix("# "))
    return found


def _policies(args: Namespace) -> Policies:
    """Return the shipped policies, with the files that are given in the place of those of their names."""
    drafts: list[Path] = args.draft
    shipped = Policies.shipped()
    return Policies({**shipped.texts, **{file.name: text_of(str(file)) for file in drafts}}) if drafts else shipped


def _full(package: str) -> str:
    return package if package.startswith("nimmerverse.") else f"nimmerverse.{package}"


def _case(file: str, number: int, line: str) -> Case:
    try:
        return msgspec.json.decode(line, type=Case)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ConfigFault(
            f"{file}:{number}: {error}; expected package, given, allowed and, if you like, failing and name"
        ) from None


def _read(file: str) -> dict[str, object]:
    try:
        return msgspec.json.decode(text_of(file), type=dict[str, object])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ConfigFault(f"{file}: {error}; expected one JSON object") from None


def text_of(file: str) -> str:
    """Return a file's text, or standard input's for `-`. ConfigFault where there is none."""
    try:
        return sys.stdin.read() if file == STDIN else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigFault(f"{file} cannot be read: {error}") from None
