"""What a command is described by: its function, its words and its options; and the options that every command has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deploy.usage.values import fingerprint


@dataclass(frozen=True, slots=True)
class Option:
    """One argument of a command, as argparse takes it."""

    flags: tuple[str, ...]
    how: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Described:
    """One command: the function that runs it, what its help says, and its own arguments."""

    run: str
    text: str
    options: tuple[Option, ...] = ()
    more: str = ""  #: the function that says what else its help has to say; imported only where the help is shown


@dataclass(frozen=True, slots=True)
class Group:
    """Commands under one word: `nimmerverse audit verify`."""

    text: str
    commands: dict[str, Described]


def option(*flags: str, **how: Any) -> Option:  # noqa: ANN401 - argparse's own keywords
    """Return an argument with argparse's own keywords."""
    return Option(flags, how)


JSON = option("--json", action="store_true", help="print JSON, one document per line, and nothing else")
COMMON = (
    option("--home", metavar="DIR", help="the data folder (default: NIMMERVERSE_HOME or the user's data folder)"),
    option("--env", metavar="ENV", help="the environment: dev, staging, prod, or your own"),
    option("--set", metavar="NAME=VALUE", action="append", default=[], help="any other setting; see `config`"),
)
TRUST = option(
    "--trust", type=fingerprint, metavar="FINGERPRINT", help="the genesis you trust, told to you by other means"
)
