"""The command line: what it prints, how it says no, and that nothing is left half-written when it does."""

from __future__ import annotations

import argparse
import asyncio
import errno
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from blake3 import blake3
from nats.aio.client import Client

from deploy import keychange
from deploy.cli import build_parser
from deploy.embedded import Account, StorageLimits
from deploy.usage import COMMANDS, Group, each_command
from shared.bus import Bus, Draft
from shared.config import Loaded, load
from shared.errors import Exit, Refusal, Refused, StorageFault
from shared.keys.sealed import CHEAP
from shared.subjects.keys import KEYS_ENTITY, KeyRevoked, KeyRotated
from shared.vault import People, Vault, open_vault
from shared.version import VERSION
from shared.world import RealWorld, new_id
from tests.cluster import free_ports
from tests.commands import NIMMERVERSE, ROOT, Done, Home, as_stranger, family
from tests.ground import ENV, Founded, NatsGround, Noted, noted, play_nats
from tests.parts import Ask, BenchCell, stage

#: The parts of a small organism: nothing that needs PostgreSQL.
_FEW = ("cells.math_cell", "cells.sensor_cell", "nerves.overload", "organs.anchor", "organs.artifacts")
FEW = tuple(word for name in _FEW for word in ("--part", name))
ASSESS = ("request", "nervous.overload.assess.request", '{"site": "here"}')
EVENT_S = 20.0
TRUST = "trust"
TRIES = 60


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A data folder on which a small organism has lived, and ended in good order; to be copied, never changed."""
    home = cheap(tmp_path_factory.mktemp("cli") / "begun")
    with home.up(*FEW) as up:
        (home.folder / TRUST).write_text(up.document()["trust"])
        decided(home)
        assert 0 == up.stop().code
    return home


def cheap(folder: Path) -> Home:
    """A data folder whose keyring opens quickly."""
    return Home.at(folder).without_records().keyed()


@pytest.fixture
def home(begun: Home, tmp_path: Path) -> Home:
    """A copy of it."""
    shutil.copytree(begun.folder, tmp_path / "home")
    return Home.at(tmp_path / "home").without_records()


@pytest.fixture(scope="module")
def alive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A data folder on which an organism lives."""
    home = cheap(tmp_path_factory.mktemp("cli") / "alive")
    with home.up(*FEW, "--part", "organs.vault", "--part", "organs.datasets", "--part", "organs.evaluator"):
        yield home


def decided(home: Home) -> int:
    """Have a decision made, as soon as the nerve has felt enough for one, and return its position in the log."""
    for _ in range(TRIES):
        done = home.run(*ASSESS, "--json")
        if done.code == 0:
            return done.documents[0]["index"]
        assert "B012" == done.documents[0]["code"], done
    raise AssertionError(f"no decision after {TRIES} questions")


@contextmanager
def sound(home: Home) -> Iterator[None]:
    """Start a small organism: it must go on with the log the folder began with, and nothing there may be void."""
    with home.up(*FEW) as up:
        assert (home.folder / TRUST).read_text() == up.document()["trust"]
        yield
        assert "hold for every event" in home.held("replay").err


def starts(home: Home) -> None:
    """Hold that a small organism starts, goes on with its log, and decides."""
    with sound(home):
        decided(home)


def keys_of(home: Home) -> dict[str, str]:
    """The digest of every file under the keys, by path."""
    files = [path for path in (home.folder / "dev" / "keys").rglob("*") if path.is_file()]
    return {str(path.relative_to(home.folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def refused(done: Done, code: Exit, sentence: str) -> None:
    """Hold that a command said one sentence, printed nothing, and ended with this code."""
    assert (int(code), "") == (done.code, done.out), done
    assert re.search(sentence, done.sentence), done.sentence


# Help, completion, JSON


@pytest.mark.parametrize("name", [*COMMANDS, *(n for n in each_command() if n not in COMMANDS)])
def test_every_command_has_help(name: str) -> None:
    """The help of each command and group says what it does and lists the exit codes."""
    described = COMMANDS.get(name) or each_command()[name]
    text = _help(name)
    assert described.text[1:] in text
    assert [] == [code.name for code in Exit if f" {code.value} {code.words} " not in f"{text} "]
    assert not isinstance(described, Group) or all(word in text for word in described.commands)


def _help(command: str) -> str:
    parser = build_parser()
    for word in command.split():
        parser = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction)).choices[word]
    return " ".join(parser.format_help().split())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("tuor",), "unknown command 'tuor': did you mean tour?"),
        (("up", "--hom", "elsewhere"), "unrecognized arguments: --hom elsewhere"),
        (("audit", "verfy"), "unknown command 'verfy': did you mean verify?"),
        (("eyes", "xyzzy"), "unknown command 'xyzzy': known commands are install."),
    ],
)
def test_an_unknown_command_gets_a_suggestion(
    words: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A misspelt command is wrong usage, as half an option is; the sentence names the nearest one, or all there are."""
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args(words)
    assert Exit.USAGE == ended.value.code
    assert capsys.readouterr().err.endswith(f"error: {sentence}\n")


def test_help_is_printed_and_ends_well() -> None:
    """`--help`, `--version` and the help of a command end with 0 on standard output."""
    for words in (("--help",), ("up", "--help"), ("--version",)):
        done = subprocess.run([*NIMMERVERSE, *words], capture_output=True, text=True, check=False, cwd=Path.cwd())
        assert (0, "") == (done.returncode, done.stderr)
        assert "nimmerverse" in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_names_every_command(shell: str, begun: Home) -> None:
    """The completion script of each shell names every command; bash reads its own and completes by it."""
    script = begun.held("completion", shell).out
    assert [] == [name for name in COMMANDS if not re.search(rf"\b{name}\b", script)]
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
        shown = subprocess.run(
            ["bash", "-c", f"{script}\ncomplete -p nimmerverse"], text=True, check=True, capture_output=True
        )
        assert "tour" in shown.stdout


#: One use of each command that answers at once; `up`, `part` and `tour` are tried elsewhere in this file and beside it.
STORED = ROOT / "LICENSE"
ANSWERS: dict[str, tuple[str, ...]] = {
    "train boundary": ("--from", "HOME/nothing"),
    "train submit": ("line", "--dataset", "ab" * 32, "--steps", "5", "--exemption", "pilot"),
    "train status": ("ab" * 16,),
    "train cancel": ("ab" * 16,),
    "train jobs": (),
    "train reproduce": ("ab" * 16,),
    "train backend": ("petals",),
    "boundary install": ("HOME/no.gguf",),
    "boundary evaluate": ("HOME/no.gguf", "--states", "1"),
    "boundary ask": ("battery=50",),
    "boundary correct": ("battery=50", "--call", "{}"),
    "boundary trails": ("--out", "HOME/trails.jsonl"),
    "boundary status": (),
    "eyes install": ("HOME/no.onnx",),
    "look": ("HOME/no.png",),
    "ask": ("1", "+", "1"),
    "say": ("hello", "--out", "HOME/hello.wav"),
    "hear": ("README.md",),
    "pub": ("nervous.cells.math.request", '{"text": "1"}'),
    "request": ("nervous.cells.math.request", '{"text": "1"}'),
    "watch": ("--count", "2"),
    "replay": (),
    "costs": (),
    "dead": (),
    "audit verify": (),
    "audit replay": (),
    "audit backup": ("HOME/backup",),
    "audit restore": ("--reason", "why"),
    "anchor stamp": ("ab" * 32,),
    "anchor status": ("ab" * 32,),
    "anchor verify": (
        "tests/vectors/bitcoin_358391.ots",
        "--set",
        "anchor_headers=tests/vectors/bitcoin_358391.headers",
    ),
    "audit bundle": ("log.zip",),
    "audit verifier": (),
    "audit prove": ("0",),
    "audit check-proof": ("README.md",),
    "audit diff": ("README.md",),
    "audit export": ("dsse", "0"),
    "connect": (),
    "subjects": (),
    "keys": (),
    "audit erase": ("Somebody", "--reason", "as asked"),
    "vault list": (),
    "vault backup": (),
    "vault rotate": (),
    "ingest": (),
    "dataset prove": ("ab" * 32, "post"),
    "models list": (),
    "models add": (str(STORED), "mind"),
    "models rm": ("mind",),
    "models ps": (),
    "models bench": ("mind",),
    "models mark": (str(STORED), "--out", "HOME/marked"),
    "models check-mark": (str(STORED),),
    "registry export": ("boundary", "ab" * 32, "HOME/exported"),
    "config": (),
    "sim": ("--seed", "7", "--minutes", "0.1"),
    "crawl": ("--seed", "7", "--minutes", "0.1"),
    "bench": ("appends", "--events", "16"),
    "doctor": (),
    "completion": ("bash",),
    "check": ("cells.math_cell",),
    "meaning sense": ("obstacle ahead",),
    "meaning learn": ("organs/meaning/regions.toml", "--out", "HOME/regions.catalogue"),
    "meaning evaluate": ("tests/spec/well_said.jsonl",),
    "views list": (),
    "views verify": (),
    "views rebuild": (),
    "memory add": ("LICENSE",),
    "memory search": ("licence",),
    "memory list": (),
    "memory forget": ("ab" * 16,),
    "memory verify": (),
    "memory rebuild": (),
    "artifact put": (str(STORED), "--holds", "other", "--media-type", "text/plain"),
    "artifact get": (blake3(STORED.read_bytes()).hexdigest(), "--out", "HOME/got"),
    "artifact list": (),
    "artifact verify": (blake3(STORED.read_bytes()).hexdigest(),),
    "dataset register": (str(STORED),),
    "dataset list": (),
    "dataset status": ("LICENSE",),
    "dataset sanitise": ("LICENSE",),
    "dataset verify": ("LICENSE",),
    "dataset approve": ("LICENSE", "pii", "--reason", "no reason"),
    "eval suites": (),
    "eval run": (str(STORED), "--family", "boundary", "--suite", "reflexes 1"),
    "eval show": ("ab" * 32,),
    "policy list": (),
    "policy show": ("energy",),
    "policy check": ("energy", "HOME/no.json"),
    "policy test": ("tests/spec/well_judged.jsonl",),
    "policy digest": (),
    "policy draft": ("quiet", "HOME/no.rego"),
    "policy move": ("quiet", "simulating", "--reason", "to look"),
    "policy ask": ("quiet", "r", "HOME/no.json"),
    "policy status": ("quiet",),
    "energy": ("--play", "HOME/no.csv"),
    "artifact archive": (blake3(STORED.read_bytes()).hexdigest(), "--reason", "it was a test"),
    "people add": ("ada", "--role", "human"),
    "people list": (),
    "people remove": ("nobody", "--reason", "why"),
    "vote": ("boundary-2", "pass", "--as", "nobody", "--reason", "why"),
    "propose": ("boundary-2", "--summary", "Teach the boundary"),
    "proposals list": (),
    "proposals show": ("boundary-2",),
    "proposals stats": (),
    "proposals check": ("boundary-2",),
    "proposals validate": ("HOME/no.jsonl",),
    "proposals export": ("HOME/proposals.jsonl",),
    "proposals import": ("HOME/no.jsonl",),
    "registry list": (),
    "registry show": ("boundary",),
    "registry at": ("boundary", "7"),
    "registry register": ("ab" * 32, "--version", "1"),
    "registry manifest": ("boundary", "1", "--to", "prod"),
    "registry lineage": ("ab" * 32,),
    "registry forward": ("p1",),
    "registry verify": (),
    "registry taught-by": ("ab" * 16,),
    "promote": ("boundary", "1", "--to", "prod"),
    "rollback": ("boundary", "--from", "prod", "--reason", "why"),
}
STAY = {"up", "part", "tour", "audit witness", "models serve", "soak"}
#: What `alive` has none of: a database, a notary, a boundary.
OBJECTIONS = {
    "dataset status": Exit.FAILED,  # what measures may not teach
    "dataset approve": Exit.REFUSED,  # nothing of that name stands against it
    "dataset sanitise": Exit.REFUSED,  # it is no batches of posts
    "eval run": Exit.REFUSED,  # a licence is no model
    "eval show": Exit.REFUSED,
    "say": Exit.REFUSED,  # this organism has neither voice nor ears
    "hear": Exit.REFUSED,
    "doctor": Exit.FAILED,
    "policy check": Exit.CONFIG,
    "policy draft": Exit.CONFIG,
    "policy move": Exit.REFUSED,  # its nerve does not run
    "policy ask": Exit.CONFIG,
    "policy status": Exit.REFUSED,
    "energy": Exit.REFUSED,
    "train boundary": Exit.CONFIG,  # nothing was trained there
    "train submit": Exit.REFUSED,  # nobody hears it
    "train status": Exit.REFUSED,
    "train cancel": Exit.REFUSED,
    "train reproduce": Exit.REFUSED,  # the log records no run
    "train backend": Exit.CONFIG,  # there is none of this name
    "boundary install": Exit.CONFIG,  # there is no file
    "boundary evaluate": Exit.CONFIG,
    "boundary ask": Exit.REFUSED,  # nobody hears it
    "boundary correct": Exit.REFUSED,
    "boundary trails": Exit.CONFIG,  # nobody was asked
    "boundary status": Exit.REFUSED,
    "eyes install": Exit.CONFIG,  # there is no file
    "look": Exit.CONFIG,
    "audit verify": Exit.INCOMPLETE,
    "audit restore": Exit.CONFIG,  # an organism runs
    "audit bundle": Exit.CONFIG,
    "audit prove": Exit.CONFIG,
    "audit check-proof": Exit.BAD_PROOF,
    "audit diff": Exit.TAMPERED,
    "audit export": Exit.CONFIG,
    "models add": Exit.USAGE,  # a licence is no model
    "models rm": Exit.CONFIG,
    "models ps": Exit.UNREACHABLE,
    "models bench": Exit.CONFIG,
    "models mark": Exit.REFUSED,  # a licence has no weights
    "models check-mark": Exit.REFUSED,  # that is no model
    "people remove": Exit.REFUSED,  # nobody of this name was introduced
    "vote": Exit.KEY,  # nobody of this name has a key here
    "propose": Exit.REFUSED,  # the nerve does not run
    "proposals list": Exit.REFUSED,
    "proposals show": Exit.REFUSED,
    "proposals stats": Exit.REFUSED,
    "proposals check": Exit.REFUSED,  # there is none
    "proposals validate": Exit.CONFIG,  # there is no file
    "proposals import": Exit.CONFIG,
} | dict.fromkeys(("views list", "views verify", "views rebuild"), Exit.UNREACHABLE)
OBJECTIONS |= dict.fromkeys(
    (name for name in ANSWERS if name.startswith("registry ")), Exit.REFUSED
)  # the log knows no model
OBJECTIONS |= {
    "registry list": Exit.OK,
    "registry verify": Exit.OK,
    "registry taught-by": Exit.OK,
    "promote": Exit.REFUSED,
    "rollback": Exit.REFUSED,
}
OBJECTIONS |= dict.fromkeys((name for name in ANSWERS if name.startswith("memory")), Exit.REFUSED)  # it does not run
OBJECTIONS |= dict.fromkeys(("ingest", "dataset prove"), Exit.REFUSED)  # provenance does not run; there is no dataset


def test_every_command_is_tried_with_json() -> None:
    """No command is missing from the table below."""
    assert each_command().keys() == ANSWERS.keys() | STAY


@pytest.mark.parametrize("name", ANSWERS)
def test_json_is_all_that_is_printed(name: str, alive: Home) -> None:
    """With `--json` a command prints one JSON document per line on standard output, and nothing else anywhere."""
    if name == "dead":
        as_stranger(alive, _garbage)
    if name == "audit erase":
        enrol(alive, "Somebody")
    if name.startswith("dataset"):
        alive.held("dataset", "register", str(STORED))
    if name.startswith("artifact"):
        alive.held("artifact", "put", str(STORED), "--media-type", "text/plain")
    words = [word.replace("HOME", str(alive.folder)) for word in ANSWERS[name]]
    done = alive.run(*name.split(), *words, "--json")
    assert int(OBJECTIONS.get(name, Exit.OK)) == done.code
    assert done.documents
    assert "" == done.err


def enrol(home: Home, name: str) -> None:
    """Make a person known to the vault, as an organ would that seals something about them."""
    settings, world = load(home.environ, {}, "here").settings, RealWorld("dev")
    vault = open_vault(settings, world, CHEAP)

    async def unlocked() -> Vault:
        return vault

    asyncio.run(People(unlocked, world.entropy).seal(name, ""))


async def _garbage(client: Client) -> None:
    """Leave a dead letter."""
    letters = await client.subscribe("dev.system.dead.letter.math_cell")
    await client.publish("dev.nervous.cells.math.request", b"garbage")
    await letters.next_msg(EVENT_S)


def test_what_stays_prints_json_too(tmp_path: Path) -> None:
    """`up` and `part` with `--json` print one document when they work, and nothing more until they end well."""
    home = Home.at(tmp_path / "home").without_records()
    with home.up("--part", "cells.math_cell") as up:
        with home.living("part", "docs/my_cell.py", "--json") as part:
            told = part.document()
            assert ("shout_cell", "dev", "accepted") == (told["part"], told["env"], told["greeted"])
            done = part.stop()
            assert (0, [told]) == (done.code, done.documents)
        told = up.document()
        assert {"steward", "math_cell"} == told["parts"].keys()
        done = up.stop()
        assert (0, [told]) == (done.code, done.documents)
        assert [] == [line for line in done.err.splitlines() if not json.loads(line)["event"]]


def test_a_failure_is_json_too(alive: Home, begun: Home) -> None:
    """With `--json` a failure is one document with its kind, its sentence and its exit code, on standard output."""
    for home, words, kind, code in (
        (begun, ("ask", "1", "--set", "evn=dev"), "ConfigFault", Exit.CONFIG),
        (alive, ("up",), "InUse", Exit.IN_USE),
        (alive, ("request", "nervous.cells.math.request", '{"txt": "1"}'), "B002", Exit.REFUSED),
        (begun, ("connect",), "Unreachable", Exit.UNREACHABLE),
    ):
        done = home.run(*words, "--json")
        [said] = done.documents
        assert (int(code), "") == (done.code, done.err)
        assert (False, kind, int(code)) == (said["ok"], said["kind"], said["exit"])
        assert said["error"]


def test_text_is_never_taken_for_markup(alive: Home) -> None:
    """What people and parts write is shown as it is, whatever brackets it holds."""
    done = alive.run("ask", "[/1] [2]")
    assert (int(Exit.REFUSED), "") == (done.code, done.err)
    assert "'[/1] [2]' cannot be read as arithmetic" in done.out


def test_a_reader_that_has_read_enough_ends_a_command_well(begun: Home) -> None:
    """What is piped into something that reads only its beginning, `head` say, ends with 0 and without a word."""
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [*NIMMERVERSE, "config"], cwd=ROOT, env=begun.environ, stdout=write, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(write)
    assert (0, b"") == (done.returncode, done.stderr)


# Bad words


@pytest.mark.parametrize(
    "words",
    [
        ("nonsense",),
        ("ask", "1", "--bogus"),
        ("ask",),
        ("watch", "a b"),
        ("watch", "a..b"),
        ("watch", ">.a"),
        ("watch", "--count", "0"),
        ("pub", "dev.>", "{}"),
        ("request", "", "{}"),
        ("request", "a.b.c", "{}", "--timeout", "nan"),
        ("request", "a.b.c", "{}", "--timeout", "-1"),
        ("dead", "--redrive", "-1"),
        ("sim",),
        ("sim", "--seed", "seven"),
        ("sim", "--seed", "7", "--minutes", "nan"),
        ("sim", "--seed", "7", "--minutes", "inf"),
        ("bench", "--events", "0"),
        ("completion", "tcsh"),
        ("keys", "forget"),
        ("crawl", "--seed", "x"),
        ("ask", "why", "--timeout", "soon"),
        ("dead", "--redrive", "first"),
    ],
    ids=" ".join,
)
def test_wrong_usage(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """A command line that says nothing possible ends with 2 before anything is done, and says what was wrong."""
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args(words)
    said = capsys.readouterr()
    assert (int(Exit.USAGE), "") == (ended.value.code, said.out)
    assert ": error: " in said.err.splitlines()[-1]
    assert "invalid _" not in said.err


TWO_CELLS = """
from shared.part import Cell
class A(Cell):
    name, version = "a", "1"
class B(Cell):
    name, version = "b", "1"
"""
BROKEN_FILES = {
    "syntax": ("class A(:\n", "SyntaxError at line 1"),
    "name": ("x = 1\ny = nobody\n", "NameError at line 2"),
    "import": ("import nothing_of_this_name\n", "ModuleNotFoundError at line 1"),
    "nothing": ("x = 1\n", "holds 0 parts"),
    "two": (
        TWO_CELLS,
        r"holds 2 parts \(A, B\)",
    ),
    "undeclared": (
        "from shared.message import Signal\nclass S(Signal, subject='only.two'):\n    x: int\n",
        "DeclarationError at line .* domain.service.detail",
    ),
}


@pytest.mark.parametrize("flaw", BROKEN_FILES)
def test_a_part_that_cannot_be_loaded(flaw: str, begun: Home, tmp_path: Path) -> None:
    """A part's file that does not load, or holds no one part, is a wrong setting: the sentence says where and why."""
    text, sentence = BROKEN_FILES[flaw]
    (tmp_path / "flawed.py").write_text(text)
    refused(begun.run("part", str(tmp_path / "flawed.py")), Exit.CONFIG, sentence)


@pytest.mark.parametrize("name", ["", ".", "cells.nothing", "./nothing.py", "cells", "cells.math_cell:Other"])
def test_a_part_that_is_not_there(name: str, begun: Home) -> None:
    """A name that stands for no part is a wrong setting, and the sentence says which there are."""
    refused(begun.run("part", name), Exit.CONFIG, "there is no part|holds [01] parts|none")


def test_a_handler_that_is_declared_wrongly(home: Home, tmp_path: Path) -> None:
    """A part whose handler has no message is refused with a sentence, and is not introduced."""
    (tmp_path / "mute.py").write_text(
        "from shared.part import Cell\nclass Mute(Cell):\n    name = 'mute'\n    version = '1'\n"
        "    def on_thing(self, thing):\n        yield thing\n"
    )
    before = keys_of(home)
    refused(home.run("part", str(tmp_path / "mute.py")), Exit.CONFIG, "Mute.on_thing: annotate the message it hears")
    assert before == keys_of(home)


def _wave(**said: Any) -> str:  # noqa: ANN401 - any field of a wave
    """A wave in JSON."""
    return json.dumps({"domain": "heat", "confidence_ppm": 600_000, "content": "warm", "cost_ulf": 1} | said)


def _light(taken_ms: int) -> str:
    """What a light sensor says, taken at that time."""
    return _wave(site="here", taken_ms=taken_ms, quality="NORMAL", level_mlux=1, left_mlux=1, right_mlux=1)


def test_what_has_no_class_is_published_as_it_is(alive: Home) -> None:
    """`pub` says where no class is declared for a subject, before anything else, and not where one is."""
    sentence = "knows no class for dev.trial.cells.heat.wave (a part's own file may) and sends it unchecked"
    assert sentence in alive.run("pub", "trial.cells.heat.wave", _wave()).err
    assert "no class" not in alive.held("pub", "nervous.cells.math.request", '{"text": "1"}').err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("pub", "nervous.cells.math.request", "garbage"), "B002 .* JSON object"),
        (("pub", "nervous.cells.math.request", '["text"]'), "B002 .* JSON object"),
        (("pub", "nervous.cells.math.request", '{"text": ' + "[" * 5_000), "B002 .* JSON object"),
        (("pub", "nervous.cells.math.request", ' {"text": "1"}'), "B002 .* first brace"),
        (("request", "nervous.cells.math.request", '{"txt": "1"}'), "B002 .*unknown field|B002 .*required field"),
        (("request", "demo.cells.nobody.request", "garbage"), "B002 .* JSON object"),
        (("request", "demo.cells.nobody.request", "{}"), "no part that runs in dev hears .* refuses operator"),
        (("request", "nervous.cells.maths.request", "{}"), "did you mean nervous.cells.math.request[?]"),
        (("pub", "nervous.overload.event.here.assessed", "{}"), "B005 .* is a decision"),
        (("pub", "nervous.cells.math.wave", _wave(cost_ulf=-1)), "B002 .*>= 0.*cost_ulf"),
        (("pub", "nervous.cells.math.wave", _wave(domain="")), "B002 .*length >= 1.*domain"),
        (("pub", "trial.cells.heat.wave", _wave(cost_ulf=-1)), "B002 .*>= 0.*cost_ulf"),
        (("pub", "trial.cells.heat.wave", _wave(domain="h" * 65)), "B002 .*length <= 64.*domain"),
        (("pub", "nervous.cells.light.wave", _light(4_102_444_800_000)), "R001 .*taken_ms lies .* in the future"),
        (("replay", "--traces", "nobody"), "B001 .* no traces of 'nobody'"),
        (("replay", "--traces", "no body"), "B001 .* no traces of 'no body'"),
        (("dead", "--redrive", "77"), "B001 .* no dead letter 77"),
    ],
)
def test_what_is_refused_by_name(words: tuple[str, ...], sentence: str, alive: Home) -> None:
    """What no part could use, or nobody may send, is refused with its code."""
    refused(alive.run(*words), Exit.REFUSED, sentence)


# Wrong settings


def test_an_unknown_setting_gets_a_suggestion(begun: Home) -> None:
    """A misspelt setting is an error that names the nearest known one, wherever it was given."""
    refused(begun.set(evn="dev").run("config"), Exit.CONFIG, "'NIMMERVERSE_EVN' .*did you mean NIMMERVERSE_ENV?")
    refused(begun.run("config", "--set", "evn=dev"), Exit.CONFIG, "'evn' .*did you mean env?")
    refused(begun.run("config", "--set", "env"), Exit.CONFIG, "is not NAME=VALUE")
    refused(begun.run("config", "--env", "Dev"), Exit.CONFIG, "env is 'Dev'")


def test_the_settings_file_is_read_as_strictly(home: Home) -> None:
    """An unknown name in config.toml is an error with a suggestion, and the file is named."""
    (home.folder / "config.toml").write_text("beat_sm = 10\n")
    refused(home.run("doctor"), Exit.CONFIG, r"'beat_sm' \(file .*config.toml\): did you mean beat_ms\?")


def test_what_a_command_needs_is_asked_for(begun: Home) -> None:
    """A command of keys that lacks its part, its reason or its file says which."""
    refused(begun.run("keys", "rotate"), Exit.CONFIG, "needs the part")
    refused(begun.run("keys", "revoke", "math_cell"), Exit.CONFIG, "--reason")
    refused(begun.run("keys", "passphrase"), Exit.CONFIG, "--file")


# Somebody else's folder, port or server


@pytest.mark.spec("X-10")
@pytest.mark.parametrize("words", [("up",), ("tour", "--exit"), ("keys", "rotate", "math_cell")], ids=" ".join)
def test_a_folder_in_use(words: tuple[str, ...], alive: Home) -> None:
    """A second organism on a folder, or a change of its keys, is refused with the process that has it."""
    owner = json.loads((alive.folder / "dev" / "running.json").read_text())["pid"]
    done = alive.run(*words)
    assert int(Exit.IN_USE) == done.code
    assert f"is in use by process {owner} (" in done.sentence
    assert "2\n" == alive.held("ask", "1+1").out


@pytest.mark.spec("X-10")
def test_a_taken_port(home: Home) -> None:
    """A port that another process has is named; with another one the same folder starts."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        refused(home.set(nats_port=port).run("up"), Exit.IN_USE, f"Port {port} .*taken")
    starts(home)


@pytest.mark.spec("X-10")
def test_a_missing_bus(home: Home) -> None:
    """Where the named server does not answer, every command says so and with which address; unnamed, all is well."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"nats://127.0.0.1:{free.getsockname()[1]}"
    lost = home.set(nats_url=url)
    commands = [("ask", "1+1"), ("up",), ("part", "cells.math_cell"), ("replay",), ("keys", "rotate", "overload")]
    with ThreadPoolExecutor(len(commands)) as together:
        for done in together.map(lambda words: lost.run(*words), commands):
            refused(done, Exit.UNREACHABLE, re.escape(url))
    starts(home)


@pytest.mark.spec("X-10")
def test_who_watches_is_told_that_the_bus_is_gone(home: Home) -> None:
    """`watch` says when the organism is gone and when the next is there, at another port too, and shows its signals."""
    with ExitStack() as watched:
        with home.up("--part", "cells.math_cell"):
            watching = watched.enter_context(home.living("watch"))
            watching.said(lambda line: line.startswith("watching "))
        watching.said(lambda line: line.startswith("the bus is gone"))
        with home.up("--part", "cells.math_cell"):
            watching.said(lambda line: line == "the bus is back")
            lines = len(watching.lines)
            watching.said(lambda _: any("system.parts.heartbeat.math_cell" in line for line in watching.lines[lines:]))
        [elsewhere] = free_ports(1)
        with home.set(nats_port=str(elsewhere)).up("--part", "cells.math_cell"):
            watching.said(lambda _: 2 == watching.errors.count("the bus is back"))
            lines = len(watching.lines)
            watching.said(lambda _: any("system.parts.heartbeat.math_cell" in line for line in watching.lines[lines:]))


@pytest.mark.spec("X-10")
def test_a_missing_database(home: Home) -> None:
    """Where the named database does not answer `up` says so; without the part that needs it the same folder starts."""
    refused(home.run("up"), Exit.UNREACHABLE, "PostgreSQL does not answer")
    starts(home)


@pytest.mark.spec("X-10")
def test_nothing_runs(begun: Home) -> None:
    """`connect` where nothing runs says how to start it."""
    refused(begun.run("connect"), Exit.UNREACHABLE, "nothing runs on .* start it with `nimmerverse up`")


@pytest.mark.spec("X-10")
def test_the_doctor_sees_it(home: Home) -> None:
    """`doctor` ends with 1 and says which check failed where a server does not answer; it changes nothing."""
    before = keys_of(home)
    done = home.set(nats_url="nats://127.0.0.1:1").run("doctor")
    assert int(Exit.FAILED) == done.code
    assert re.search(r"✗ nats-server +nothing answers at 127.0.0.1:1 ", done.out)
    assert re.search(r"✗ postgres +nothing answers at 127.0.0.1:1 ", done.out)
    assert before == keys_of(home)
    with home.up(*FEW), (home.folder / "dev" / "nats" / "nats.log").open("a") as log:
        assert "✓ running" in home.run("doctor").out
        log.write("[1] [ERR] Filestore [LOG_dev] Critical write error: no space left on device\n")
        log.flush()
        looked = home.run("doctor").out
        assert re.search(r"✗ running .* could not write \(no space left on device\); free some space", looked)


@pytest.mark.spec("X-10")
def test_a_process_that_died_is_not_taken_for_another(home: Home) -> None:
    """What a killed organism said of itself counts no more, even when its process id belongs to somebody else now."""
    with home.up(*FEW) as up:
        said = home.folder / "dev" / "running.json"
        told = json.loads(said.read_text())
        children = family(up.pid)
        up.process.kill()
        up.end()
        assert told["url"]
        long_ago = told["born_s"] - 3_600
        for changed in ({}, {"pid": os.getpid(), "born_s": long_ago}):
            said.write_text(json.dumps(told | changed))
            refused(home.run("connect"), Exit.UNREACHABLE, "nothing runs")
        assert children


# The disk


@pytest.mark.spec("X-10")
def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """A home that cannot be written, or is a file, is refused with its name."""
    refused(Home.at(Path("/proc/nimmerverse")).run("up"), Exit.STORAGE, "/proc/nimmerverse.* cannot be written")
    (tmp_path / "file").touch()
    refused(Home.at(tmp_path / "file").run("up"), Exit.CONFIG, "expected a folder")
    refused(
        Home.at(tmp_path / "home").run("tour", "--json", "/nowhere/report.json"), Exit.STORAGE, "no folder /nowhere"
    )
    assert not (tmp_path / "home").exists()


class SmallGround(NatsGround):
    """A server whose account may keep two megabytes, until it may keep more."""

    limit = 2**21

    def _accounts(self) -> tuple[Account, ...]:
        return (Account(ENV, tuple(self._identities.values()), StorageLimits(file_bytes=self.limit)),)


@pytest.mark.spec("X-07", "X-10")
def test_a_full_log_loses_nothing(tmp_path: Path) -> None:
    """At the quota an append is a StorageFault; all that was acknowledged stands, and with room the log goes on."""

    async def fill() -> None:
        async with SmallGround(tmp_path, links=False) as ground:
            founded = await Founded.on(ground)
            bus, told = await founded.part(), dict[bytes, tuple[int, int]]()
            draft = large(bus, 0)

            async def until_full() -> None:
                nonlocal draft
                for n in range(1, 1000):
                    receipt = await bus.append(draft)
                    told[receipt.event_id] = (receipt.index, receipt.offset)
                    draft = large(bus, n)

            with pytest.raises(StorageFault, match=r"the log cannot be written: .*free disk space or raise the quota"):
                await until_full()
            assert told
            assert told == await places(founded)
            ground.limit *= 2
            await ground.server.reload(ground._accounts())
            again = await bus.append(draft)
            assert {**told, draft.event_id: (again.index, 0)} == await places(founded)

    asyncio.run(fill())


def large(bus: Bus, n: int) -> Draft:
    """A draft with much evidence."""
    return Draft(Noted("a", n), new_id(bus.world), evidence=os.urandom(30_000))


async def places(founded: Founded) -> dict[bytes, tuple[int, int]]:
    """Where each admitted event of the desk stands; nothing may be void."""
    verdicts = [verdict async for verdict in founded.root.replay()]
    assert [] == [verdict.void() for verdict in verdicts if verdict.void()]
    mine = [v for v in verdicts if ".trial.desk." in v.entry.subject]
    return {event.id: (v.entry.index, offset) for v in mine for offset, event in v.admitted()}


@pytest.mark.spec("X-07", "X-10")
def test_a_disk_that_fills_up(tmp_path: Path) -> None:
    """On a disk that fills up under a living organism decisions are refused, `doctor` says why, and with room and a new
    start the log goes on behind what was acknowledged.
    """
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    script = 'mount -t tmpfs -o size=24m,mode=700 none "$0" && { "$@"; exec "$@"; }'
    wrapper = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, str(folder))
    outside = Home.at(folder, program=(*wrapper, *NIMMERVERSE)).without_records()
    with outside.up(*FEW) as shell:
        inside = Home.at(Path(f"/proc/{shell.pid}/root{folder}")).without_records()
        positions = [decided(inside)]
        fill(inside.folder / "filler")
        while (done := inside.run(*ASSESS, "--json", "--timeout", "3")).code == 0:
            positions.append(done.documents[0]["index"])
        assert int(Exit.REFUSED) == done.code
        looked = inside.run("doctor")
        assert int(Exit.FAILED) == looked.code
        assert re.search("✗ space +0 MB are free .*free some", looked.out)
        (inside.folder / "filler").unlink()
        [up] = [child for child in psutil.Process(shell.pid).children() if "deploy" in child.cmdline()]
        up.terminate()
        shell.said(lambda line: line.startswith("{") and '"parts"' in line and line is not shell.lines[0])
        positions.append(decided(inside))
        rows = inside.held("replay", "dev.nervous.>", "--json").documents
        assert set(positions) <= {row["index"] for row in rows if row["verified"]}


def fill(path: Path) -> None:
    """Fill a disk to its last byte."""
    with path.open("wb", buffering=0) as filler:
        while True:
            try:
                filler.write(bytes(4096))
            except OSError as full:
                if full.errno == errno.ENOSPC:
                    return
                raise


# Clocks


@pytest.mark.spec("X-08")
@pytest.mark.parametrize("ahead_s", [40.0, -70.0])
def test_an_append_by_a_wrong_clock(tmp_path: Path, ahead_s: float) -> None:
    """An append by a World more than 30 s ahead, or older than its ttl, is refused R001 and is not in effect."""

    async def body(ground: NatsGround) -> None:
        founded = await Founded.on(ground)
        right = await founded.part()
        wrong = Bus(ground.skewed(ahead_s), right.wire, right.part, "1", right.signers)
        with pytest.raises(Refused, match="R001"):
            await wrong.append(noted(ground.world, 1))
        receipt = await right.append(draft := noted(ground.world, 2))
        verdicts = [verdict async for verdict in founded.root.replay()]
        admitted = [event.id for v in verdicts[2:] for _, event in v.admitted()]
        assert [draft.event_id] == admitted
        assert receipt.index == verdicts[-1].entry.index

    play_nats(body, tmp_path, links=False)


@pytest.mark.spec("X-08")
@pytest.mark.parametrize(("ahead_s", "code"), [(40.0, "R001"), (-70.0, "B010"), (20.0, None), (-1.0, None)])
def test_a_request_by_a_wrong_clock(tmp_path: Path, ahead_s: float, code: str | None) -> None:
    """A request more than 30 s ahead of the part's clock is refused R001, one past its ttl B010; else answered."""

    async def body(ground: NatsGround) -> None:
        async with stage(ground) as here:
            await here.carry(BenchCell())
            asker = Bus(ground.skewed(ahead_s), await ground.wire("asker"), "asker", "1", [])
            answer = await asker.request(Ask("hello"))
            assert code == (answer.code if isinstance(answer, Refusal) else None)

    play_nats(body, tmp_path, links=False)


#: The command line on a machine whose clock is off by the first argument, s.
WRONG_CLOCK = (
    "import sys, time; real, skew_ns = time.time_ns, int(sys.argv.pop(1)) * 10**9; "
    "time.time_ns = lambda: real() + skew_ns; from deploy.cli import main; sys.exit(main())"
)


@pytest.mark.spec("X-08", "X-10")
def test_a_machine_with_a_wrong_clock(tmp_path: Path) -> None:
    """On a named server's bus a machine whose clock is off starts nothing and writes nothing, not even a genesis."""

    async def body(ground: NatsGround) -> None:
        await ground.api("STREAM.DELETE.LOG_dev", {})
        settings = {"nats_url": ground.server.url, "nats_nkey": str(ground._seed_file("admin"))}
        home = Home.at(tmp_path / "home").without_records().set(**settings)
        await asyncio.to_thread(live, home)

    def live(home: Home) -> None:
        for skew_s, way in ((40, "ahead of"), (-70, "behind")):
            wrong = Home(home.folder, home.settings, (sys.executable, "-c", WRONG_CLOCK, str(skew_s)))
            near = "|".join(str(abs(skew_s) + off) for off in range(-3, 4))  # the question takes its time too
            refused(wrong.run("up", *FEW), Exit.REFUSED, f"R001 .*clock is ({near}) s {way} the bus's .*set it right")
        with home.up(*FEW):
            assert "hold for every event" in home.held("replay").err
            wrong = Home(home.folder, home.settings, (sys.executable, "-c", WRONG_CLOCK, "40"))
            refused(wrong.run("part", "nerves.overload"), Exit.REFUSED, "R001 .*in the future")
            assert "hold for every event" in home.held("replay").err

    play_nats(body, tmp_path, links=False)


# Keys and passphrases


@pytest.mark.spec("X-06")
@pytest.mark.parametrize(
    ("flaw", "sentence"),
    [
        ("wrong", "wrong passphrase"),
        ("empty", "holds no passphrase"),
        ("open", "open to other users .*chmod 600"),
        ("folder", "not a regular file"),
        ("link", "symbolic link"),
    ],
)
def test_a_passphrase_that_cannot_be_used(flaw: str, sentence: str, home: Home) -> None:
    """A wrong, empty, readable or odd passphrase file is named in one sentence; no key changes, the right one opens."""
    before, path, kept = keys_of(home), home.folder / "passphrase", home.folder / "kept"
    path.rename(kept)
    if flaw == "folder":
        path.mkdir()
    elif flaw == "link":
        path.symlink_to(kept)
    else:
        path.write_text({"wrong": "another\n", "empty": "\n", "open": kept.read_text()}[flaw])
        path.chmod(0o644 if flaw == "open" else 0o600)
    for words in (("up",), ("keys",), ("keys", "rotate", "math_cell")):
        refused(home.run(*words), Exit.KEY, sentence)
    shutil.rmtree(path) if flaw == "folder" else path.unlink()
    kept.rename(path)
    assert before == keys_of(home)
    starts(home)


@pytest.mark.spec("X-06")
@pytest.mark.parametrize("name", ["keys/keyring.json", "keys/g1/root.key", "nkeys/steward.nk"])
def test_a_key_file_that_cannot_be_read(name: str, home: Home) -> None:
    """A key file that is altered or may not be read is named in one sentence; restored, everything starts."""
    path = home.folder / "dev" / name
    kept = path.read_bytes()
    path.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]) if path.suffix != ".nk" else b"nothing\n")
    refused(home.run("up", *FEW), Exit.KEY, "|".join((re.escape(str(path)), "wrong passphrase for .*keyring.json")))
    path.write_bytes(kept)
    uid = os.geteuid() or 1000
    wrapper = () if os.geteuid() else ("unshare", "--user", f"--map-user={uid}", f"--map-group={uid}")
    path.chmod(0)
    ordinary = Home(home.folder, home.settings, (*wrapper, *NIMMERVERSE))
    refused(ordinary.run("up", *FEW), Exit.KEY, re.escape(str(path)))
    path.chmod(0o600)
    starts(home)


@pytest.mark.spec("BIZ-14")
def test_a_new_passphrase(home: Home, tmp_path: Path) -> None:
    """`keys passphrase` seals keyring and vault anew: the new one opens them as its file has it, the old does not."""
    enrol(home, "Somebody")
    new = tmp_path / "new"
    refused(home.run("keys", "passphrase", "--file", str(new)), Exit.KEY, "there is no .*new")
    new.write_text("  with spaces around \n")
    new.chmod(0o644)
    refused(home.run("keys", "passphrase", "--file", str(new)), Exit.KEY, "chmod 600")
    new.chmod(0o600)
    before = home.held("keys", "--json").documents
    assert [{"ok": True}] == home.held("keys", "passphrase", "--file", str(new), "--json").documents
    refused(home.run("keys"), Exit.KEY, "wrong passphrase")
    refused(home.run("vault", "list"), Exit.KEY, "wrong passphrase")
    moved = home.set(passphrase_file=str(new))
    assert before == moved.held("keys", "--json").documents
    assert ["Somebody"] == moved.held("vault", "list", "--names", "--json").documents[0]["people"]
    starts(moved)


def log_of(home: Home) -> list[dict[str, Any]]:
    """The keys as the log knows them, from an organism of the moment, on whose log nothing may be void."""
    with sound(home):
        decided(home)
        return home.held("keys", "log", "--json").documents[0]["keys"]


@pytest.mark.spec("BIZ-14")
@pytest.mark.parametrize("part", ["math_cell", "overload", "steward"])
def test_a_rotated_key(part: str, home: Home) -> None:
    """After `keys rotate` the old key ends where the log says, the new one speaks from there on, nothing is void."""
    [told] = home.held("keys", "rotate", part, "--json").documents
    assert part == told["part"]
    keys = {key["key_id"]: key for key in log_of(home)}
    assert (told["index"], told["index"] + 1) == (keys[told["old"]]["last"], keys[told["new"]]["first"])
    assert keys[told["old"]]["may_sign"] == keys[told["new"]]["may_sign"]
    assert keys[told["new"]]["last"] is None
    listed = {key["name"]: key["key_id"] for key in home.held("keys", "--json").documents[0]}
    assert told["new"] == listed[part]


@pytest.mark.spec("BIZ-14")
@pytest.mark.parametrize("part", ["overload", "steward"])
def test_a_revoked_key(part: str, home: Home) -> None:
    """After `keys revoke` the key ends, its reason stands in the log, and the next start introduces another."""
    words = ("keys", "revoke", part, "--reason", "seen in a [/ticket]", "--json")
    [told] = home.held(*words).documents
    assert [told] == home.held(*words).documents
    keys = log_of(home)
    [current] = [key for key in keys if key["part"] == part and key["last"] is None]
    assert told["index"] == next(key["last"] for key in keys if key["key_id"] == told["old"])
    assert current["first"] > told["index"]
    with home.up(*FEW):
        [entry] = home.held("replay", "dev.system.keys.event.*.revoked", "--json").documents
        assert "seen in a [/ticket]" == entry["data"]["reason"]
        assert told["index"] == entry["index"]
        assert told["index"] < decided(home)


@pytest.mark.spec("X-06")
def test_keys_that_cannot_be_changed(home: Home) -> None:
    """The root's key, a missing key and one that the log does not know are refused, and the log is untouched."""
    for words in (("rotate", "root"), ("revoke", "root", "--reason", "x")):
        refused(home.run("keys", *words), Exit.KEY, "the root stands in the genesis")
    for words in (("rotate", "nobody"), ("revoke", "nobody", "--reason", "x")):
        refused(
            home.run("keys", *words),
            Exit.KEY,
            "it has no key here; keys .* are .*math_cell, overload, sensor_cell, steward$",
        )
    home.held("keys", "revoke", "math_cell", "--reason", "x")
    refused(home.run("keys", "rotate", "math_cell"), Exit.KEY, "the log does not know the key of math_cell yet")
    starts(home)


@pytest.mark.spec("BIZ-14")
@pytest.mark.parametrize(
    ("part", "step"),
    [
        ("steward", "staged"),
        ("steward", "rotated"),
        ("steward", "revoked"),
        ("steward", "rotated then revoked"),
        ("overload", "rotated"),
    ],
)
def test_a_key_change_that_was_cut_off(part: str, step: str, home: Home) -> None:
    """A change of keys that died between the log and the keyring is finished by giving the command again, whosever key
    it is; until then a start says so, and afterwards nothing is void.
    """
    new = asyncio.run(cut_off(home, part, step))
    if step != "staged":
        refused(home.run("up", *FEW), Exit.KEY, f"key of {part} .*ended in the log .*keys rotate {part}")
    if step in ("staged", "rotated"):
        [told] = home.held("keys", "rotate", part, "--json").documents
        assert new == told["new"]
    else:
        home.held("keys", "revoke", part, "--reason", "again", "--json")
    keys = log_of(home)
    [current] = [key["key_id"] for key in keys if key["part"] == part and key["last"] is None]
    assert current == {key["name"]: key["key_id"] for key in home.held("keys", "--json").documents[0]}[part]


async def cut_off(home: Home, part: str, step: str) -> str:
    """Take the steps of a change of keys up to one, then no more; return the id of the staged key, if any."""
    loaded: Loaded = load(home.environ, {}, "here")
    async with keychange._root(loaded, part) as (keys, root):
        old, new = keys.ring.signer(part), None
        if step != "revoked":
            new = keys.ring.stage_rotation(part, keys.entropy)
        if new is not None and step != "staged":
            own = Bus(root.world, root.wire, part, VERSION, [old])
            await own.append(Draft(KeyRotated(KEYS_ENTITY, old.key_id, new.key_id, new.public), new_id(root.world)))
        if "revoked" in step:
            ended = new or old
            await root.append(Draft(KeyRevoked(KEYS_ENTITY, ended.key_id, None, "first"), new_id(root.world)))
        return new.key_id if new else ""
