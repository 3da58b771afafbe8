"""The command line: `nimmerverse <command>`. A command is a function of its arguments, the settings and a terminal.

What each command is called with stands in deploy/usage, what it does in deploy/commands.
"""

from __future__ import annotations

import argparse
import difflib
import gc
import importlib
import os
import socket
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, cast

from deploy.terminal import Terminal
from deploy.usage import COMMANDS, COMMON, JSON, Described, Group
from shared.config import Loaded, load
from shared.errors import ConfigFault, Exit, Fault, Refused
from shared.message import DeclarationError
from shared.version import VERSION

Command = Callable[[argparse.Namespace, Loaded, Terminal], Exit]


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, run one command, and turn every failure into one clear sentence and its exit code."""
    args = build_parser().parse_args(argv)
    terminal = Terminal(None, as_json=args.json)
    try:
        loaded = load(os.environ, _overrides(args), socket.gethostname())
        terminal = Terminal(loaded.settings, as_json=args.json)
        module, _, function = cast("str", args.run).partition(":")
        command = cast("Command", getattr(importlib.import_module(module), function))
        gc.freeze()  # what was imported stays, so nobody need look through it for garbage again
        gc.enable()
        return int(command(args, loaded, terminal))
    except Fault as fault:
        return _fail(terminal, type(fault).__name__, str(fault), fault.exit)
    except Refused as no:
        return _fail(terminal, no.refusal.code, str(no.refusal), Exit.REFUSED)
    except DeclarationError as wrong:
        return _fail(terminal, type(wrong).__name__, str(wrong), Exit.CONFIG)
    except KeyboardInterrupt:
        return int(Exit.INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(Exit.OK)


class _Parser(argparse.ArgumentParser):
    """A parser that names the nearest command it knows, and whose help may end with what another module knows."""

    more: str = ""

    def format_help(self) -> str:
        module, _, function = self.more.partition(":")
        if module:
            known = cast("Callable[[], str]", getattr(importlib.import_module(module), function))()
            self.epilog, self.more = f"{known}\n\n{self.epilog}", ""
        return super().format_help()

    def _check_value(self, action: argparse.Action, value: Any) -> None:  # noqa: ANN401 - whatever argparse has read
        known = list(action.choices or ())
        if action.nargs == argparse.PARSER and value not in known:
            near = difflib.get_close_matches(value, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"known commands are {', '.join(known)}."
            raise argparse.ArgumentError(None, f"unknown command {value!r}: {hint}")
        super()._check_value(action, value)


def build_parser() -> argparse.ArgumentParser:
    """Return the whole command line."""
    raw = argparse.RawDescriptionHelpFormatter
    about = "An event-driven nervous system whose every decision is signed, stored and replayable."
    parser = _Parser(
        prog="nimmerverse", description=about, epilog=_exit_codes(), formatter_class=raw, allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"nimmerverse {VERSION}")
    sub = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, described in COMMANDS.items():
        _add(sub.add_parser, name, described)
    return parser


def _add(add_parser: Callable[..., _Parser], name: str, described: Described | Group) -> None:
    """Add one command, or a group of them, to the parsers of one level."""
    text = described.text
    command = add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=_exit_codes(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # a slip of the pen is no option: `--hom DIR` would begin a log in DIR
    )
    if isinstance(described, Group):
        inner = command.add_subparsers(title="commands", metavar="COMMAND", required=True)
        for word, one in described.commands.items():
            _add(inner.add_parser, word, one)
        return
    command.set_defaults(run=described.run, json=False)
    command.more = described.more
    mine = {flag for option in described.options for flag in option.flags}
    for option in (*described.options, *COMMON, *(() if "--json" in mine else (JSON,))):
        command.add_argument(*option.flags, **option.how)


def _exit_codes() -> str:
    """Return what each exit code says, those of the audits apart."""
    audits = [code for code in Exit if code.is_of_an_audit]
    return "\n".join(
        ("exit codes:", *_wrapped([code for code in Exit if code not in audits]), *_wrapped(audits, "audits: "))
    )


def _wrapped(codes: Sequence[Exit], begin: str = "") -> list[str]:
    """Lay codes out in indented lines that break between two of them only."""
    solid = "\N{NO-BREAK SPACE}"
    text = begin + "   ".join(f"{code.value} {code.words}".replace(" ", solid) for code in codes)
    lines = textwrap.wrap(text, 118, initial_indent="  ", subsequent_indent="  ")
    return [line.replace(solid, " ") for line in lines]


def _overrides(args: argparse.Namespace) -> dict[str, str]:
    """Return the settings given on the command line."""
    given: dict[str, str] = {}
    for item in args.set:
        name, equals, value = item.partition("=")
        if not equals:
            raise ConfigFault(f"--set {item!r} is not NAME=VALUE; see `nimmerverse config` for the names")
        given[name] = value
    return given | {name: str(getattr(args, name)) for name in ("home", "env") if getattr(args, name) is not None}


def _fail(terminal: Terminal, kind: str, sentence: str, code: Exit) -> int:
    terminal.note(f"nimmerverse: {sentence}")
    if terminal.as_json:
        terminal.give({"ok": False, "kind": kind, "error": sentence, "exit": int(code)})
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
