"""The command line: `nimmerverse <command>`. A command is a function of its arguments, the settings and a terminal."""

from __future__ import annotations

import argparse
import importlib
import os
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from deploy.terminal import Terminal
from shared.config import Loaded, load
from shared.errors import ConfigFault, Exit, Fault, Refused
from shared.message import DeclarationError
from shared.version import VERSION

Command = Callable[[argparse.Namespace, Loaded, Terminal], Exit]

EXITS = """exit codes:
  0 done   1 a check or step did not hold   2 wrong usage   3 a setting is wrong   4 folder or port in use
  5 a server is missing   6 key or passphrase   7 refused   8 disk full or not writable   130 interrupted
  audits: 10 consistent, signer unknown   11 tampered   12 incomplete   13 stale   14 from the future   15 truncated
  16 enlarged   17 mixed   18 wrong signer   19 bad proof   20 forked   21 void entries
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, run one command, and turn every failure into one clear sentence and its exit code."""
    args = build_parser().parse_args(argv)
    terminal = Terminal(None, as_json=args.json)
    try:
        loaded = load(os.environ, _overrides(args), socket.gethostname())
        terminal = Terminal(loaded.settings, as_json=args.json)
        module, _, function = cast("str", args.run).partition(":")
        command = cast("Command", getattr(importlib.import_module(module), function))
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


@dataclass(frozen=True, slots=True)
class Group:
    """Commands under one word: `nimmerverse audit verify`."""

    text: str
    commands: dict[str, Described]


def _above_zero(text: str) -> float:
    """Read a finite number above zero."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a finite number above 0")
    return number


def _natural(text: str, least: int = 0) -> int:
    """Read a whole number that is not negative."""
    number = int(text)
    if number < least:
        raise argparse.ArgumentTypeError(f"{text} is below {least}")
    return number


def _count(text: str) -> int:
    """Read a whole number of at least one."""
    return _natural(text, 1)


def _pattern(text: str) -> str:
    """Read a subject pattern, with or without its environment."""
    tokens = text.split(".")
    if not text.isprintable() or " " in text or "" in tokens or ">" in tokens[:-1]:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no subject pattern; tokens are joined by dots, and > stands last"
        )
    return text


def _subject(text: str) -> str:
    """Read one subject, with or without its environment."""
    if {"*", ">"} & set(_pattern(text).split(".")):
        raise argparse.ArgumentTypeError(f"{text!r} is a pattern, and a message is sent on one subject")
    return text


def _option(*flags: str, **how: Any) -> Option:  # noqa: ANN401 - argparse's own keywords
    return Option(flags, how)


JSON = _option("--json", action="store_true", help="print JSON, one document per line, and nothing else")
COMMON = (
    _option("--home", metavar="DIR", help="the data folder (default: NIMMERVERSE_HOME or the user's data folder)"),
    _option("--env", metavar="ENV", help="the environment: dev, staging, prod, or your own"),
    _option("--set", metavar="NAME=VALUE", action="append", default=[], help="any other setting; see `config`"),
)
_RUN, _TALK, _ADMIN = "deploy.commands.run", "deploy.commands.talk", "deploy.commands.admin"
_AUDIT, _EVIDENCE = "deploy.commands.audit", "deploy.commands.evidence"
_SOURCE = _option("source", type=Path, nargs="?", help="a log folder or a bundle (default: the live log)")
_TRUST = _option("--trust", metavar="FINGERPRINT", help="the genesis you trust, told to you by other means")
_TILES = _option("source", type=Path, nargs="?", help="a log folder or a bundle (default: the notary's own tiles)")
_OUT = _option("--out", type=Path, metavar="FILE", help="write it there (default: standard output)")
_EVENT = "an index, index,offset, or an event's id"
_AGAINST = "a checkpoint you kept: the log must go on from it (repeat it)"
_KNOWN = "a void entry you know of already (repeat it)"
_PART = _option("name", help="cells.math_cell, ./my_cell.py, or ./my_cells.py:OneOfThem")

COMMANDS: dict[str, Described | Group] = {
    "tour": Described(
        f"{_RUN}:tour",
        "start everything and walk through it (what bare ./run does)",
        (
            _option("--exit", action="store_true", help="stop at the end; implied without a terminal"),
            _option("--ask", metavar="TEXT", help="what the math cell shall compute"),
            _option("--json", dest="report", metavar="FILE", help="write a machine-readable report to FILE"),
        ),
    ),
    "up": Described(
        f"{_RUN}:up",
        "start the servers and every part, and stay",
        (
            _option(
                "--part", action="append", metavar="NAME", help="only these parts (repeat it); lower steps work alone"
            ),
        ),
    ),
    "part": Described(f"{_RUN}:part", "run one part: a module, ./your_file.py, or an entry point", (_PART,)),
    "check": Described(f"{_RUN}:check", "run the checks every part gets for free", (_PART,)),
    "ask": Described(f"{_TALK}:ask", "ask the math cell", (_option("text", nargs="+", help="for instance 2 + 3"),)),
    "pub": Described(
        f"{_TALK}:pub",
        "publish a JSON message",
        (
            _option("subject", type=_subject, help="with or without the environment"),
            _option("data", help='a JSON object, for instance \'{"text": "2+3"}\''),
        ),
    ),
    "request": Described(
        f"{_TALK}:request",
        "send a JSON request and print the answer",
        (
            _option("subject", type=_subject, help="with or without the environment"),
            _option("data", nargs="?", default="{}", help="a JSON object"),
            _option("--timeout", type=_above_zero, default=5.0, metavar="S", help="seconds to wait for the answer"),
        ),
    ),
    "watch": Described(
        f"{_TALK}:watch",
        "show messages as they pass, decoded and verified",
        (
            _option("pattern", type=_pattern, nargs="?", default=">", help="a NATS pattern (default: everything)"),
            _option("--count", type=_count, metavar="N", help="end after N messages"),
        ),
    ),
    "replay": Described(
        f"{_TALK}:replay",
        "read the log from its genesis and admit every entry again",
        (
            _option("pattern", type=_pattern, nargs="?", default=">", help="print only what matches"),
            _option("--trust", metavar="FINGERPRINT", help="the genesis you trust (see `connect`)"),
            _option("--traces", metavar="PART", help="print the kept signals of a part instead"),
        ),
    ),
    "dead": Described(
        f"{_TALK}:dead",
        "list dead letters, or publish one again",
        (
            _option(
                "--redrive",
                dest="index",
                type=_natural,
                metavar="INDEX",
                help="publish this one where it first arrived",
            ),
        ),
    ),
    "audit": Group(
        "prove, check and keep the log",
        {
            "verify": Described(
                f"{_AUDIT}:verify",
                "check a log: whole, as signed, fresh, by whom; names the first bad event",
                (
                    _SOURCE,
                    _TRUST,
                    _option(
                        "--mode", choices=("links", "signatures", "full"), default="full", help="how much to check"
                    ),
                    _option("--against", type=Path, action="append", default=[], metavar="FILE", help=_AGAINST),
                    _option("--max-age", type=_above_zero, metavar="S", help="how old the checkpoint may be"),
                    _option("--witness", action="append", default=[], metavar="VKEY", help="a witness you trust"),
                    _option(
                        "--quorum", type=_natural, default=0, metavar="N", help="so many witnesses must have signed"
                    ),
                    _option("--known-void", type=_natural, action="append", default=[], metavar="INDEX", help=_KNOWN),
                    _option(
                        "--state", type=Path, metavar="FILE", help="remember what was proven, and go on from there"
                    ),
                ),
            ),
            "bundle": Described(
                f"{_EVIDENCE}:bundle",
                "write the log, or chosen entries of it, into one file that anybody can check offline",
                (
                    _option("out", type=Path, help="the file to write, for instance log.zip"),
                    _TILES,
                    _option("--as-found", action="store_true", help="also where the log does not verify"),
                    _option("--event", action="append", default=[], metavar="EVENT", help="only this one (repeat it)"),
                    _option(
                        "--subject",
                        action="append",
                        default=[],
                        type=_pattern,
                        metavar="PATTERN",
                        help="only what matches (repeat it)",
                    ),
                ),
            ),
            "verifier": Described(f"{_EVIDENCE}:verifier", "print the stand-alone verifier, one file of Python"),
            "prove": Described(
                f"{_EVIDENCE}:prove",
                "write the proof that an event is in the log",
                (_option("event", help=_EVENT), _TILES, _OUT),
            ),
            "check-proof": Described(
                f"{_EVIDENCE}:check_proof",
                "check a proof file offline",
                (
                    _option("file", type=Path, help="a .tlog-proof file"),
                    _TRUST,
                    _option("--log-key", metavar="VKEY", help="the log's key, as `audit verify` prints it"),
                ),
            ),
            "diff": Described(
                f"{_EVIDENCE}:diff",
                "say where two logs part",
                (
                    _option("a", type=Path, help="a log folder or a bundle"),
                    _option("b", type=Path, nargs="?", help="the other (default: the live log)"),
                ),
            ),
            "export": Described(
                f"{_EVIDENCE}:export",
                "write an event in another world's format",
                (
                    _option(
                        "format",
                        choices=("dsse", "in-toto", "cose", "prov"),
                        help="DSSE, in-toto, COSE receipt, PROV-JSON",
                    ),
                    _option("what", help=f"{_EVENT}; for prov also a subject pattern, for in-toto also a bundle"),
                    _TILES,
                    _OUT,
                ),
            ),
        },
    ),
    "connect": Described(f"{_ADMIN}:connect", "print URL, credentials and a nats command line context"),
    "subjects": Described(
        "deploy.references:run",
        "list the subjects; check or write the generated references",
        (
            _option("--check", action="store_true", help="1 if a generated file differs from the declarations"),
            _option("--write", action="store_true", help="write the generated files"),
            _option("--schema", metavar="SUBJECT", help="print the JSON schema of one subject's message"),
        ),
    ),
    "keys": Described(
        f"{_ADMIN}:keys",
        "list, rotate or revoke keys, change the passphrase",
        (
            _option("action", nargs="?", choices=("list", "log", "rotate", "revoke", "passphrase"), default="list"),
            _option("part", nargs="?", help="for `rotate` and `revoke`: whose key"),
            _option("--reason", default="", help="for `revoke`: why, as the log will say"),
            _option("--file", type=Path, help="for `passphrase`: the file with the new one"),
        ),
    ),
    "config": Described(f"{_ADMIN}:config", "print every effective setting and its origin"),
    "sim": Described(
        f"{_RUN}:sim",
        "simulate the organism under virtual time",
        (
            _option("--seed", type=int, required=True, help="the same seed gives the same log, byte for byte"),
            _option("--minutes", type=_above_zero, default=2.0, help="simulated minutes"),
            _option(
                "--faults",
                default="",
                metavar="NAME=VALUE,…",
                help="drop, duplicate, delay, lose_ack, lose_append, crash, cut, skew",
            ),
        ),
    ),
    "bench": Described(
        f"{_RUN}:bench",
        "measure appends beside raw nats-py in one run",
        (_option("--events", type=_count, default=5_000, metavar="N", help="events per sealed measurement"),),
    ),
    "doctor": Described(f"{_ADMIN}:doctor", "look at what has to be right, and say what is not"),
    "completion": Described(
        f"{_ADMIN}:completion", "print a shell completion script", (_option("shell", choices=("bash", "zsh", "fish")),)
    ),
}


def build_parser() -> argparse.ArgumentParser:
    """Return the whole command line."""
    raw = argparse.RawDescriptionHelpFormatter
    about = "An event-driven nervous system whose every decision is signed, stored and replayable."
    parser = argparse.ArgumentParser(prog="nimmerverse", description=about, epilog=EXITS, formatter_class=raw)
    parser.add_argument("--version", action="version", version=f"nimmerverse {VERSION}")
    sub = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, described in COMMANDS.items():
        _add(sub.add_parser, name, described)
    return parser


def _add(add_parser: Callable[..., argparse.ArgumentParser], name: str, described: Described | Group) -> None:
    """Add one command, or a group of them, to the parsers of one level."""
    text = described.text
    command = add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=EXITS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if isinstance(described, Group):
        inner = command.add_subparsers(title="commands", metavar="COMMAND", required=True)
        for word, one in described.commands.items():
            _add(inner.add_parser, word, one)
        return
    command.set_defaults(run=described.run, json=False)
    mine = {flag for option in described.options for flag in option.flags}
    for option in (*described.options, *COMMON, *(() if "--json" in mine else (JSON,))):
        command.add_argument(*option.flags, **option.how)


def each_command() -> dict[str, Described]:
    """Return every command by the words that call it, groups spelled out."""
    flat: dict[str, Described] = {}
    for name, described in COMMANDS.items():
        if isinstance(described, Group):
            flat |= {f"{name} {word}": one for word, one in described.commands.items()}
        else:
            flat[name] = described
    return flat


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
