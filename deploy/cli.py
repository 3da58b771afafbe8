"""The command line: `nimmerverse <command>`. A command is a function of its arguments, the settings and a terminal.

Long because it is one table: every command with its options and words stands here once, and nothing else does.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
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
from shared.subjects.memory import MAX_RECALLED
from shared.subjects.speech import FASTEST_SPEECH, SLOWEST, VOICE_NAME, WORDS_A_MINUTE
from shared.version import VERSION

Command = Callable[[argparse.Namespace, Loaded, Terminal], Exit]

EXITS = """exit codes:
  0 done   1 a check or step did not hold   2 wrong usage   3 a setting is wrong   4 folder or port in use
  5 a server is missing   6 key or passphrase   7 refused   8 disk full or not writable   130 interrupted:
  cut off before its end (`up` and `part` are stopped in order by Ctrl-C or SIGTERM, and end with 0)
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
    more: str = ""  #: the function that says what else its help has to say; imported only where the help is shown


@dataclass(frozen=True, slots=True)
class Group:
    """Commands under one word: `nimmerverse audit verify`."""

    text: str
    commands: dict[str, Described]


def _number(text: str) -> float:
    """Read a number."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None


def _whole(text: str) -> int:
    """Read a whole number."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None


def _above_zero(text: str) -> float:
    """Read a finite number above zero."""
    number = _number(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a finite number above 0")
    return number


def _share(text: str) -> float:
    """Read a share, from 0 to below 1."""
    number = _number(text)
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"{text} is no share from 0 to below 1")
    return number


def _fingerprint(text: str) -> str:
    """Read a genesis's fingerprint."""
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise argparse.ArgumentTypeError(f"a fingerprint has 64 digits 0-9a-f, found {text!r}")
    return text


def _natural(text: str, least: int = 0) -> int:
    """Read a whole number that is not negative."""
    number = _whole(text)
    if number < least:
        raise argparse.ArgumentTypeError(f"{text} is below {least}")
    return number


def _count(text: str) -> int:
    """Read a whole number of at least one."""
    return _natural(text, 1)


def _voice(text: str) -> str:
    """Read the name of a voice."""
    if not re.fullmatch(VOICE_NAME, text):
        raise argparse.ArgumentTypeError(f"{text!r} is no voice's name, such as en-us+f2")
    return text


def _pace(text: str) -> int:
    """Read words a minute."""
    number = int(text)
    if not SLOWEST <= number <= FASTEST_SPEECH:
        raise argparse.ArgumentTypeError(f"{text} is not {SLOWEST} to {FASTEST_SPEECH}")
    return number


def _recalled(text: str) -> int:
    """Read how many passages memory shall find."""
    number = _count(text)
    if number > MAX_RECALLED:
        raise argparse.ArgumentTypeError(f"{text} is above {MAX_RECALLED}")
    return number


def _address(text: str) -> tuple[str, int]:
    """Read HOST:PORT; port 0 is a free one."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or _natural(port) > 65_535:  # noqa: PLR2004 - the last port there is
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


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
_TRUST = _option(
    "--trust", type=_fingerprint, metavar="FINGERPRINT", help="the genesis you trust, told to you by other means"
)
_TILES = _option("source", type=Path, nargs="?", help="a log folder or a bundle (default: the notary's own tiles)")
_OUT = _option("--out", type=Path, metavar="FILE", help="write it there (default: standard output)")
_AREAS = ("bus", "log", "gates", "attention")
_EVENT = "an index, index,offset, or an event's id"
_AGAINST = "a checkpoint you kept: the log must go on from it (repeat it)"
_POLICY = "the same nerve with other rules: show which decisions would differ (repeat it)"
_KNOWN = "a void entry you know of already (repeat it)"
_VIEWS = "deploy.commands.views"
_MEANING = "deploy.commands.meaning"
_CATALOGUE = _option(
    "--catalogue", type=Path, metavar="FILE", help="a catalogue of regions (default: the setting meaning_catalogue)"
)
_ANCHOR = "deploy.commands.anchor"
_DIGESTED = _option("target", metavar="FILE|DIGEST", help="a file, or a SHA-256 digest in hexadecimal digits")
_ARTIFACT = "deploy.commands.artifact"
_HOLDS = ("checkpoint", "model", "log", "dataset", "evaluation", "other")
_DIGEST = _option("digest", help="the BLAKE3 digest, 64 hexadecimal digits")
_MEMORY = "deploy.commands.memory"
_KINDS = ("episodic", "semantic", "procedural", "working", "prospective")
_PERSONAL = "deploy.commands.personal"
_MODELS = "deploy.commands.models"
_SPEECH = "deploy.commands.speech"
_MODEL = _option("name", metavar="NAME[:TAG]", help="the model; the tag is `latest` where none is given")
_BOUNDARY = "deploy.commands.boundary"
_EYES = "deploy.commands.eyes"
_RULE = "a changed rule, for instance dock_percent=25 (repeat it)"
_STATE = _option(
    "values", nargs="+", metavar="FIELD=NUMBER", help='every field, or all as one JSON object: {"battery": 12, …}'
)
_FIELDS = f"{_BOUNDARY}:fields_in_words"
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
    "ask": Described(
        f"{_TALK}:ask",
        "ask: arithmetic is answered by the math cell, everything else by cognition",
        (
            _option("text", nargs="+", help="for instance 2 + 3, or: what is a nerve?"),
            _option(
                "--how",
                choices=("any", "quote", "generate", "decide"),
                default="any",
                help="quote memory, use a language model, or have the boundary decide about a state, such as "
                '{"battery": 12, …}',
            ),
            _option("--schema", type=Path, metavar="FILE", help="a JSON schema that the answer must have"),
            _option("--personal", action="store_true", help="the question is about a person: keep nothing of it"),
            _option("--timeout", type=_above_zero, default=30.0, metavar="S", help="seconds to wait for the answer"),
        ),
    ),
    "look": Described(
        f"{_EYES}:look",
        "say what is in a picture, and where: by an installed detector (extra `eyes`), or the server at vision_url",
        (
            _option("picture", type=Path, metavar="PICTURE", help="a PNG or JPEG file"),
            _option(
                "--least", type=_share, default=0.25, metavar="SURE", help="how sure of a thing, from 0 to below 1"
            ),
            _option("--personal", action="store_true", help="it shows persons: no wave tells what was seen"),
            _option("--out", type=Path, metavar="FILE", help="write the picture with a box around each thing, as PNG"),
            _option("--timeout", type=_above_zero, default=60.0, metavar="S", help="seconds to wait for the answer"),
        ),
    ),
    "say": Described(
        f"{_SPEECH}:say",
        "speak a text into a WAV file: with espeak-ng (extra `voice`), or the server at voice_url",
        (
            _option("text", nargs="+", help="what to say"),
            _option("--out", type=Path, default=Path("speech.wav"), metavar="FILE", help="default: speech.wav"),
            _option("--voice", type=_voice, default="", metavar="NAME", help="for instance en-us+f2"),
            _option("--speed", type=_pace, default=WORDS_A_MINUTE, metavar="N", help="words a minute, 80 to 450"),
            _option("--timeout", type=_above_zero, default=30.0, metavar="S", help="seconds to wait for it"),
        ),
    ),
    "hear": Described(
        f"{_SPEECH}:hear",
        "print what is said in a WAV file: by pocketsphinx (extra `ears`), or the server at ears_url",
        (
            _option("file", type=Path, help="a WAV file, 16-bit PCM, at most 15 s"),
            _option("--answer", action="store_true", help="it is meant for the organism: what is said may be kept"),
            _option("--timeout", type=_above_zero, default=60.0, metavar="S", help="seconds to wait for it"),
        ),
    ),
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
            _option("--gates", action="store_true", help="only what moves attention, a line for each turn"),
        ),
    ),
    "costs": Described("deploy.commands.costs:costs", "show what each part costs, by measurement"),
    "replay": Described(
        f"{_TALK}:replay",
        "read the log from its genesis and admit every entry again",
        (
            _option("pattern", type=_pattern, nargs="?", default=">", help="print only what matches"),
            _TRUST,
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
                    _option("--jobs", type=_count, metavar="N", help="cores to judge on (default: all, if worth it)"),
                    _option(
                        "--state", type=Path, metavar="FILE", help="remember what was proven, and go on from there"
                    ),
                ),
            ),
            "replay": Described(
                "deploy.commands.replay:replay",
                "read a log back: filtered, decoded, each decision run again from its evidence",
                (
                    _SOURCE,
                    _TRUST,
                    _option("--subject", type=_pattern, default=">", metavar="PATTERN", help="print only what matches"),
                    _option("--entity", metavar="NAME", help="print only what concerns this entity"),
                    _option("--since", metavar="TIME", help="print only what was stored at or after this time (UTC)"),
                    _option("--until", metavar="TIME", help="print only what was stored before this time (UTC)"),
                    _option(
                        "--part", action="append", default=[], metavar="NAME", help="a nerve of yours to run again"
                    ),
                    _option("--policy", action="append", default=[], metavar="FILE.py", help=_POLICY),
                ),
            ),
            "witness": Described(
                "deploy.commands.witness:witness",
                "cosign other logs' checkpoints over HTTP, each only if it goes on from the last; stays",
                (
                    _option(
                        "--listen",
                        type=_address,
                        default=("127.0.0.1", 0),
                        metavar="HOST:PORT",
                        help="where to answer (default: a free port on 127.0.0.1)",
                    ),
                    _option(
                        "--log",
                        action="append",
                        default=[],
                        metavar="VKEY",
                        help="a log to cosign: its verifier key, or a file of them (repeat it)",
                    ),
                    _option("--name", help="the name to cosign under (default: made from the key)"),
                ),
            ),
            "erase": Described(
                f"{_PERSONAL}:erase",
                "erase a person: destroy the key of everything that is sealed about them",
                (
                    _option("person", help="the name that the data was sealed under; - reads it from standard input"),
                    _option("--reason", required=True, help="why, as the log will say for ever; never who"),
                    _option(
                        "--timeout", type=_above_zero, default=60.0, metavar="S", help="seconds to wait for the end"
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
            "backup": Described(
                f"{_AUDIT}:backup",
                "write a backup of the log, its tiles and its sealed keys into a new folder",
                (_option("folder", type=Path, help="a folder that does not exist yet"),),
            ),
            "restore": Described(
                f"{_AUDIT}:restore",
                "put a backup in the log's place, or go on after a loss; what is missing is named",
                (
                    _option("folder", type=Path, nargs="?", help="a backup; without one the log goes on as it is"),
                    _option("--reason", required=True, help="why, as the log will say"),
                    _option("--checkpoint", type=Path, metavar="FILE", help="the newest that a witness or auditor has"),
                ),
            ),
        },
    ),
    "anchor": Group(
        "have digests witnessed outside, and see what a proof is worth",
        {
            "stamp": Described(
                f"{_ANCHOR}:stamp",
                "anchor a file or a digest",
                (
                    _DIGESTED,
                    _option("--out", type=Path, metavar="PATH", help="where the proof goes (default: FILE.ots)"),
                ),
            ),
            "status": Described(
                f"{_ANCHOR}:status",
                "say how a file or a digest is anchored; alone, list what this data folder holds",
                (_option("target", nargs="?", metavar="FILE|DIGEST", help="default: everything"),),
            ),
            "verify": Described(
                f"{_ANCHOR}:verify",
                "judge a proof offline: 0 for a checked block, 7 for less, 19 if it is wrong",
                (
                    _option("proof", type=Path, metavar="FILE.ots", help="the proof"),
                    _option("--file", type=Path, help="what it is of (default: FILE, where that exists)"),
                    _option("--header", metavar="HEX", help="the block's header in 160 hexadecimal digits"),
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
    "artifact": Group(
        "store content under its digest, and see that it is what the log says",
        {
            "put": Described(
                f"{_ARTIFACT}:put",
                "store a file and have it registered",
                (
                    _option("file", type=Path, help="what to store"),
                    _option("--holds", choices=_HOLDS, default="other", help="what it is (default: other)"),
                    _option("--name", help="a name for people (default: the file's)"),
                    _option("--made-by", help="who or what made it (default: operator)"),
                    _option("--media-type", default="application/octet-stream", help="type/subtype"),
                    _option(
                        "--parent", action="append", default=[], metavar="DIGEST", help="made from this (repeat it)"
                    ),
                ),
            ),
            "get": Described(
                f"{_ARTIFACT}:get",
                "write a content to a file, every byte verified",
                (
                    _DIGEST,
                    _option("--out", metavar="FILE", help="where to (default: the digest here; - for standard output)"),
                ),
            ),
            "list": Described(f"{_ARTIFACT}:listing", "list what is stored or registered"),
            "verify": Described(
                f"{_ARTIFACT}:verify",
                "read every byte and compare it with the log",
                (
                    _option("digest", nargs="?", help="only this one"),
                    _option("--all", action="store_true", help="every artifact (the default)"),
                ),
            ),
            "archive": Described(
                f"{_ARTIFACT}:archive",
                "take an artifact out of use; what it was remains provable",
                (_DIGEST, _option("--reason", required=True, help="why, as the log will say")),
            ),
        },
    ),
    "train": Group(
        "train models from decisions; needs the extra `train`",
        {
            "boundary": Described(
                "deploy.commands.train:boundary",
                "train a model for the function boundary, adapt one to changed rules, or repeat a training",
                (
                    _option("--out", type=Path, metavar="FOLDER", help="where everything goes (default: in the home)"),
                    _option(
                        "--trails", type=Path, metavar="FILE", help="decisions to learn from (default: the rules')"
                    ),
                    _option("--from-log", action="store_true", help="learn from what this organism's log decided"),
                    _option("--seed", type=_natural, default=1, help="what chance is drawn from (default: 1)"),
                    _option("--steps", type=_count, metavar="N", help="steps of training"),
                    _option("--from", dest="start", type=Path, metavar="FOLDER", help="adapt the model trained there"),
                    _option("--rule", action="append", default=[], metavar="NAME=NUMBER", help=f"with --from: {_RULE}"),
                    _option("--reinforce", action="store_true", help="with --from: learn from reward alone (GRPO)"),
                    _option("--repeat", type=Path, metavar="RECORD", help="train by this record.json and compare"),
                ),
            ),
        },
    ),
    "boundary": Group(
        "the function boundary: from states to function calls",
        {
            "install": Described(
                f"{_BOUNDARY}:install",
                "let a trained model speak; the log says so first",
                (
                    _option("file", type=Path, help="a model.gguf that `train boundary` made"),
                    _option("--digest", type=_fingerprint, help="refuse the file if this is not its BLAKE3"),
                ),
            ),
            "evaluate": Described(
                f"{_BOUNDARY}:evaluate",
                "ask a model about many states and judge every answer; 1 if one is no allowed call",
                (
                    _option("file", type=Path, nargs="?", help="a model.gguf"),
                    _option("--digest", type=_fingerprint, help="or one that was installed"),
                    _option("--states", type=_count, default=10_000, metavar="N", help="how many (default: 10000)"),
                    _option("--rule", action="append", default=[], metavar="NAME=NUMBER", help=f"judge by {_RULE}"),
                ),
            ),
            "ask": Described(
                f"{_BOUNDARY}:ask",
                "ask for the function call of one state",
                (_STATE,),
                _FIELDS,
            ),
            "correct": Described(
                f"{_BOUNDARY}:correct",
                "say in the log which call is right in a state; models learn it when next trained",
                (_STATE, _option("--call", required=True, metavar="JSON", help="the call, as `ask` prints it")),
                _FIELDS,
            ),
            "trails": Described(
                f"{_BOUNDARY}:trails",
                "write the judged calls of a log as lines to train from: the rules' own and what `correct` said; "
                "what a model said and nobody judged is left out",
                (
                    _option("--out", type=Path, required=True, metavar="FILE", help="where the lines go"),
                    _option(
                        "--source", type=Path, metavar="PATH", help="a log folder or bundle (default: the live log)"
                    ),
                ),
            ),
            "status": Described(f"{_BOUNDARY}:status", "say who speaks at the boundary"),
        },
    ),
    "keys": Described(
        f"{_ADMIN}:keys",
        "list, rotate or revoke keys, change the passphrase; let several owners agree on root keys",
        (
            _option(
                "action",
                nargs="?",
                choices=(
                    *("list", "log", "rotate", "revoke", "generate", "passphrase"),
                    *("owner", "propose", "cosign", "submit"),
                ),
                default="list",
            ),
            _option("names", nargs="*", help="whose key; for `propose` what; for `cosign` and `submit` the file"),
            _option("--reason", default="", help="for `revoke`: why, as the log will say"),
            _option("--file", type=Path, help="for `passphrase`: the file with the new one"),
            _option("--keyring", type=Path, metavar="FOLDER", help="for `owner` and `cosign`: the owner's own keyring"),
            _option("--key", metavar="NAME", help="for `owner` and `cosign`: the key in it"),
            _option("--passphrase-file", type=Path, metavar="FILE", help="for `owner` and `cosign`: what opens it"),
            _option("--owner", default="", metavar="NAME", help="for `owner`: the person or office"),
            _option("--yes", action="store_true", help="for `cosign`: sign what is shown without asking"),
        ),
    ),
    "eyes": Group(
        "the eyes' own detector; needs the extra `eyes`",
        {
            "install": Described(
                f"{_EYES}:install",
                "try an ONNX detector and put it where the eyes find it",
                (
                    _option("file", type=Path, metavar="FILE", help="an ONNX file in one of YOLO's layouts"),
                    _option("--names", type=Path, metavar="FILE", help="its classes, one a line, not those it names"),
                    _option("--digest", type=_fingerprint, help="refuse the file if this is not its BLAKE3"),
                ),
            ),
        },
    ),
    "views": Group(
        "the log's views in PostgreSQL: list, verify and rebuild them",
        {
            "list": Described(f"{_VIEWS}:list_views", "list every table: version, rows, next index, digest"),
            "verify": Described(
                f"{_VIEWS}:verify_views",
                "compare every table with one built from the log; 11 names the first row that differs",
                (_TRUST,),
            ),
            "rebuild": Described(
                f"{_VIEWS}:rebuild_views",
                "build every view anew from the log, beside the present ones until it is done",
            ),
        },
    ),
    "meaning": Group(
        "regions of meaning, offline: what a text is about, learned or described catalogues, how good they are",
        {
            "sense": Described(
                f"{_MEANING}:sense_text",
                "say which region a text is of, and what came near",
                (_option("text", help="any text; its first 256 tokens are read"), _CATALOGUE),
            ),
            "learn": Described(
                f"{_MEANING}:learn_regions",
                "make a catalogue from labelled texts, or from descriptions",
                (
                    _option(
                        "file",
                        type=Path,
                        metavar="FILE",
                        help="[text, label] a line, {part: [[text, label], …]} with `train` and `val`, or FILE.toml",
                    ),
                    _option("--out", type=Path, required=True, metavar="FILE", help="the catalogue to write"),
                    _option("--domains", type=Path, metavar="FILE", help="{region: [label, …]} (default: own regions)"),
                    _option("--name", metavar="VERSION", help="the catalogue's version (default: the product's)"),
                ),
            ),
            "evaluate": Described(
                f"{_MEANING}:evaluate_regions",
                "say how good a catalogue is on labelled texts, and what it costs",
                (
                    _option("file", type=Path, metavar="FILE", help="labelled texts, as `learn` reads them"),
                    _CATALOGUE,
                    _option("--part", metavar="NAME", help="the part to judge by (default: val, or all but train)"),
                    _option(
                        "--escalation",
                        type=_share,
                        default=0.05,
                        metavar="SHARE",
                        help="the share of in-scope texts that may be called unknown, to compare by (default: 0.05)",
                    ),
                ),
            ),
        },
    ),
    "memory": Group(
        "what is remembered: add, search, list, forget, verify and rebuild it",
        {
            "add": Described(
                f"{_MEMORY}:add",
                "remember text files passage by passage, in the place of what was remembered of them",
                (
                    _option("files", nargs="+", type=Path, metavar="FILE", help="text files, or folders with some"),
                    _option(
                        "--kind", choices=_KINDS, default="semantic", help="what is so (semantic), how it is done …"
                    ),
                    _option("--person", default="", metavar="NAME", help="it is about this person: seal it for them"),
                ),
            ),
            "search": Described(
                f"{_MEMORY}:search",
                "print the passages that are nearest in meaning to a text",
                (
                    _option("text", nargs="+", help="a question or a few words"),
                    _option("--limit", type=_recalled, default=5, metavar="N", help="at most so many"),
                    _option("--kind", choices=_KINDS, action="append", default=[], help="only these (repeat it)"),
                    _option("--open", action="store_true", help="show what is sealed, with the keys of this vault"),
                ),
            ),
            "list": Described(
                f"{_MEMORY}:list_passages",
                "print every passage: id, kind, origin",
                (_option("--source", default="", metavar="NAME", help="only those of one file, or of `trails`"),),
            ),
            "forget": Described(
                f"{_MEMORY}:forget",
                "forget passages; the log goes on saying that they were remembered",
                (
                    _option("ids", nargs="*", metavar="ID", help="as `memory list` prints them"),
                    _option("--source", default="", metavar="NAME", help="everything of one source"),
                ),
            ),
            "verify": Described(
                f"{_MEMORY}:verify", "read memory from the log again and compare the digests; 11 unless they are equal"
            ),
            "rebuild": Described(
                f"{_MEMORY}:rebuild", "have memory read from the log again, in the place of what it keeps"
            ),
        },
    ),
    "vault": Group(
        "look after people's keys and other secrets",
        {
            "list": Described(
                f"{_PERSONAL}:listed",
                "say what the vault holds and where its backups lie",
                (_option("--names", action="store_true", help="print names too; what is sealed is never printed"),),
            ),
            "backup": Described(
                f"{_PERSONAL}:backup",
                "write a copy of the vault that erasures rewrite",
                (
                    _option("folder", nargs="?", type=Path, help="a new folder elsewhere; none rewrites every backup"),
                    _option(
                        "--forget", action="store_true", help="take a backup that exists no more out of the register"
                    ),
                ),
            ),
            "rotate": Described(f"{_PERSONAL}:rotate", "seal the vault and its backups under a new key"),
        },
    ),
    "models": Group(
        "the language and embedding models of this home, and the server that carries them",
        {
            "list": Described(f"{_MODELS}:listed", "list the models that are held here"),
            "add": Described(
                f"{_MODELS}:add",
                "copy a GGUF file into this home, under a name",
                (_option("file", type=Path, metavar="FILE", help="the model, as GGUF"), _MODEL),
            ),
            "rm": Described(f"{_MODELS}:remove", "take a model away", (_MODEL,)),
            "ps": Described(f"{_MODELS}:running", "list the models that are loaded, and until when"),
            "bench": Described(
                f"{_MODELS}:bench",
                "measure a model through organd beside llama.cpp asked directly",
                (_MODEL, _option("--calls", type=_count, default=100, metavar="N", help="calls of each kind")),
            ),
            "serve": Described(
                f"{_MODELS}:serve",
                "answer as Ollama does, without a bus, until Ctrl-C",
            ),
        },
    ),
    "config": Described(f"{_ADMIN}:config", "print every effective setting and its origin"),
    "sim": Described(
        f"{_RUN}:sim",
        "simulate the organism under virtual time",
        (
            _option("--seed", type=_whole, required=True, help="the same seed gives the same log, byte for byte"),
            _option("--minutes", type=_above_zero, default=2.0, help="simulated minutes"),
            _option(
                "--faults",
                default="",
                metavar="NAME=VALUE,…",
                help="drop, duplicate, delay, lose_ack, lose_append, crash, cut, skew",
            ),
        ),
    ),
    "crawl": Described(
        "deploy.commands.crawl:crawl",
        "let a small simulated body crawl through an arena, moved by the real cells, nerves and motors organ",
        (
            _option("--seed", type=_natural, required=True, help="the same seed gives the same arena and the same log"),
            _option("--minutes", type=_above_zero, default=2.0, help="simulated minutes of each run"),
            _option(
                "--runs", type=_count, default=1, metavar="K", help="arenas in a row; the body keeps what it learned"
            ),
            _option("--seeds", type=_count, default=1, metavar="K", help="so many seeds from --seed on, and add up"),
            _option(
                "--direct", action="store_true", help="without a bus and a log: the parts' functions alone, faster"
            ),
            _option("--boxed", action="store_true", help="in a pen with no way out"),
            _option(
                "--part", action="append", default=[], metavar="NAME", help="a part that lives with it, as the gates"
            ),
            _option("--faults", default="", metavar="NAME=VALUE,…", help="of the bus and the parts; as for `sim`"),
            _option("--plot", type=Path, metavar="FILE", help="write the last arena and the way through it as SVG"),
        ),
    ),
    "bench": Described(
        f"{_RUN}:bench",
        "measure ours beside what it is made of, in one run: the bus, the log, gates, or the tiers of attention",
        (
            _option("area", nargs="?", choices=_AREAS, default="bus", help="what to measure (default: bus)"),
            _option("--events", type=_count, default=5_000, metavar="N", help="events of one measurement"),
        ),
    ),
    "doctor": Described(f"{_ADMIN}:doctor", "look at what has to be right, and say what is not"),
    "completion": Described(
        f"{_ADMIN}:completion", "print a shell completion script", (_option("shell", choices=("bash", "zsh", "fish")),)
    ),
}


class _Parser(argparse.ArgumentParser):
    """A parser whose help may end with what another module knows."""

    more: str = ""

    def format_help(self) -> str:
        module, _, function = self.more.partition(":")
        if module:
            known = cast("Callable[[], str]", getattr(importlib.import_module(module), function))()
            self.epilog, self.more = f"{known}\n\n{self.epilog}", ""
        return super().format_help()


def build_parser() -> argparse.ArgumentParser:
    """Return the whole command line."""
    raw = argparse.RawDescriptionHelpFormatter
    about = "An event-driven nervous system whose every decision is signed, stored and replayable."
    parser = _Parser(prog="nimmerverse", description=about, epilog=EXITS, formatter_class=raw)
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
        epilog=EXITS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
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
