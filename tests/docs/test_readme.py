"""The README as a new user reads it: short, true, and every command of it really run, in its order."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest
from nats.aio.client import Client

from deploy.embedded import Account, Identity, NatsServer, Postgres
from shared.keys import nkey_pair
from tests.commands import ROOT, Done, Home, Living, all_gone, as_stranger, family

README = (ROOT / "README.md").read_text(encoding="utf-8")
MAX_LINES = 150
MAX_CELL_LINES = 25
EVENT_S = 20.0
SHOUT = "dev.demo.cells.shout.request"


def section(title: str) -> str:
    """One section of the README."""
    [found] = [part for part in README.split("\n## ") if part.startswith(title)]
    return found


def fences(text: str, language: str) -> list[str]:
    """The code blocks of a text in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def typed(text: str) -> list[list[str]]:
    """The words of every shell command a text shows."""
    lines = [shlex.split(line, comments=True) for block in fences(text, "sh") for line in block.splitlines()]
    return [words for words in lines if words]


def runs(text: str) -> list[list[str]]:
    """The arguments of every `./run …` that a text shows, without the settings before it."""
    return [words[words.index("./run") + 1 :] for words in typed(text) if "./run" in words]


# What the README says of itself


def test_the_readme_is_short() -> None:
    """The README has fewer than 150 lines."""
    assert MAX_LINES > len(README.splitlines())


@pytest.mark.spec("X-01")
def test_the_readmes_cell_is_the_tested_file() -> None:
    """The cell in the README is docs/my_cell.py, word for word, in at most 25 lines that are not blank."""
    [cell] = fences(README, "python")
    assert (ROOT / "docs" / "my_cell.py").read_text(encoding="utf-8") == cell
    assert MAX_CELL_LINES >= len([line for line in cell.splitlines() if line.strip()])


def test_every_link_leads_somewhere() -> None:
    """Every link of the README into the repository names something that is there."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    assert [] == [link for link in links if not (ROOT / link).exists()]


# Following it


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A data folder for the whole file, used through `./run`."""
    return Home.at(tmp_path_factory.mktemp("readme") / "home", program=("./run",))


@pytest.fixture(scope="module")
def organism(home: Home) -> Iterator[Living]:
    """What "Two commands" and the first line of "Living with it" leave: an organism on a log that the tour began."""
    assert [] == runs(section("Two commands"))[0]
    home.held("--exit", "--quick")
    assert ["up"] == runs(section("Living with it"))[0]
    with home.living("up") as up:
        up.said(lambda line: line.startswith("Ctrl-C"))
        servers = family(up.pid)
        yield up
        assert 0 == up.stop().code
    assert all_gone(servers)


@pytest.fixture(scope="module")
def shout(home: Home, organism: Living) -> Iterator[Living]:
    """The user's own cell, run beside the organism as "Your own cell" says first."""
    words = runs(section("Your own cell"))[0]
    assert ("part", None) == (words[0], organism.process.poll())
    with home.living(*words) as part:
        part.said(lambda line: "works in dev (accepted)" in line)
        yield part
        assert 0 == part.stop().code


#: What each command of "Living with it" shows: one thing that only a true answer holds.
SHOWN: dict[str, Callable[[Done], bool]] = {
    "ask": lambda done: done.out.startswith(("391/4", "I quote what I hold:")),
    "memory": lambda done: "passages  README.md" in done.out,
    "crawl": lambda done: "✓ no collision where" in done.out,
    "request": lambda done: {"text": "2+3", "value": 5.0, "exact": "5"} == json.loads(done.out),
    "replay": lambda done: "hold for every event" in done.err and ".genesis " in done.out.splitlines()[0],
    "ingest": lambda done: re.search(r"^dataset [0-9a-f]{64}$", done.out, re.MULTILINE) is not None,
    "registry": lambda done: "the log knows no model" in done.out,
    "connect": lambda done: "nats://127.0.0.1:" in done.out and "operator.nk" in done.out,
    "doctor": lambda done: "✓ running" in done.out and "✗" not in done.out,
}


@pytest.mark.spec("X-10")
def test_living_with_it(home: Home, organism: Living) -> None:
    """Each command of "Living with it", in the README's order and beside one `up`, shows what is said beside it."""
    with ExitStack() as stack:
        watch: Living | None = None
        for words in runs(section("Living with it"))[1:]:
            if words[0] == "watch":
                watch = stack.enter_context(home.living(*words))
                watch.said(lambda line: line.startswith("watching dev.>"))
                continue
            done = home.held(*words)
            assert SHOWN[words[0]](done), f"{words}: {done}"
        assert watch is not None
        watch.said(lambda line: "nervous.cells.math.request" in line and '"text":"2+3"' in line)
        home.held("request", "nervous.overload.assess.request", '{"site": "here"}')
        watch.said(lambda line: "nervous.overload.event.here.assessed" in line and "✓" in line)
    assert organism.process.poll() is None


#: A policy that finds nothing to worry about, for `audit replay --policy`.
CALM = """
from nerves.overload import OverloadNerve
from nerves.overload.nerve import AssessRequest, LoadAssessed, Refusal, Tick, VitalsWave, Window


class CalmNerve(OverloadNerve):
    def decide(
        self, state, window, message: VitalsWave | AssessRequest | Tick, now_ms: int
    ) -> tuple[Window, list[LoadAssessed] | Refusal]:
        return window, []
"""

CHECKED: dict[str, Callable[[Done], bool]] = {
    "verify": lambda done: "verdict: ok" in done.out,
    "bundle": lambda done: "entries of nimmerverse/dev/" in done.out and "to check:" in done.out,
    "replay": lambda done: "came out differently" in done.err and "would differ" in done.err,
    "backup": lambda done: "of them signed" in done.out,
}


@pytest.mark.spec("X-04", "X-05")
def test_checking_the_log(home: Home, organism: Living, tmp_path: Path) -> None:
    """Each command of "Checking the log" does what is said beside it, on the living log."""
    [told] = home.held("connect", "--json").documents
    (tmp_path / "stricter.py").write_text(CALM)
    places = {
        "FINGERPRINT": told["trust"],
        "FOLDER": str(tmp_path / "backup"),
        "log.zip": str(tmp_path / "log.zip"),
        "./stricter.py": str(tmp_path / "stricter.py"),
    }
    for words in runs(section("Checking the log")):
        done = home.held(*(places.get(word, word) for word in words))
        assert words[0] == "views" or CHECKED[words[1]](done), f"{words}: {done}"
    home.held("audit", "verify", str(tmp_path / "log.zip"), "--trust", told["trust"])
    assert organism.process.poll() is None


@pytest.mark.spec("X-01", "X-06")
def test_your_own_cell(home: Home, shout: Living) -> None:
    """The README's cell is granted its subjects at once, watched, asked, published to, replayed and checked."""
    _, watching, request, publish, replay, check = runs(section("Your own cell"))
    with home.living(*watching) as watch:
        watch.said(lambda line: line.startswith("watching dev.demo.>"))
        assert {"shouting": True} == json.loads(home.held(*request).out)
        watch.said(lambda line: "demo.cells.shout.wave" in line and '"confidence_ppm":909090' in line)
        assert "knows no class for dev.demo.cells.shout.request" in home.held(*publish).err
        watch.said(lambda line: "demo.cells.shout.wave" in line and "no answer wanted" in line)
    kept = home.held(*replay).out
    assert ["demo.cells.shout.wave"] * 2 == re.findall(r"demo\.cells\.shout\.wave", kept)
    assert "✗" not in home.held(*check).out
    assert shout.process.poll() is None


#: What is the same in the lines of docs/attention.md whatever else the organism felt and spent.
TURNS = ("verified: 2 sources agree, 0.94: the ", "STABLE ▶ OPEN ", " ▶ FOCUSED (", "OPEN ▶ STABLE")
SHOWN_S = 0.5  #: what was verified is shown by then; if not, it is felt once more


@pytest.mark.spec("NIM-04", "X-10")
def test_a_gate_is_opened_by_hand(home: Home, organism: Living) -> None:
    """The two commands of docs/attention.md, run as they stand there, show the turns that stand below them.

    Where a machine publishes the one too long after the other they are run again, as the page says.
    """
    page = (ROOT / "docs" / "attention.md").read_text(encoding="utf-8")
    [recipe], [shown] = fences(page, "sh"), fences(page, "text")
    with home.living("watch", "--gates") as watch:
        watch.said(lambda line: line.startswith("watching dev.>"))
        give_up = time.monotonic() + EVENT_S
        while not any(TURNS[0] in line for line in list(watch.lines)):
            assert time.monotonic() < give_up
            subprocess.run(["sh", "-c", recipe], cwd=ROOT, env=home.environ, check=True, timeout=2 * EVENT_S)
            time.sleep(SHOWN_S)
        for turn in TURNS:
            assert turn in shown
            watch.said(lambda line, turn=turn: turn in line)
    assert organism.process.poll() is None


@pytest.mark.spec("X-01", "X-10")
@pytest.mark.usefixtures("shout")
def test_the_printed_context_opens_the_bus(home: Home) -> None:
    """URL and nkey of the printed context open a stock nats-py connection, whose JSON request is answered in JSON."""

    async def ask(client: Client) -> None:
        answer = await client.request(SHOUT, b'{"text": "HELLO"}', timeout=EVENT_S)
        assert b'{"shouting":true}' == answer.data

    as_stranger(home, ask)


@pytest.mark.spec("X-01")
@pytest.mark.usefixtures("shout")
def test_a_strangers_json_is_heard_and_its_garbage_refused(home: Home) -> None:
    """JSON that a stock client publishes is felt by the user's cell; anything else is refused by name, in JSON."""

    async def publish(client: Client) -> None:
        waves = await client.subscribe("dev.demo.cells.shout.wave")
        await client.publish(SHOUT, b'{"text": "from Outside"}')
        assert b"from Outside" in (await waves.next_msg(EVENT_S)).data
        for garbage in (b'{"text": 1}', b'{"txt": "HELLO"}', b'{"text": "HELLO"'):
            refused = await client.request(SHOUT, garbage, timeout=EVENT_S)
            assert "B002" == json.loads(refused.data)["code"] == (refused.headers or {})["Nats-Service-Error-Code"]
        assert b'{"shouting":false}' == (await client.request(SHOUT, b'{"text": "still here"}', timeout=EVENT_S)).data

    as_stranger(home, publish)


@pytest.mark.spec("X-06", "X-07")
def test_your_own_cell_outlives_the_organism(tmp_path: Path) -> None:
    """A part that was started beside an organism joins the next one on the same home by itself, and ends well."""
    home = Home.at(tmp_path / "home").without_records()
    ask = ("request", "demo.cells.shout.request", '{"text": "HELLO"}')
    with ExitStack() as stack:
        first = stack.enter_context(home.up("--part", "cells.math_cell"))
        part = stack.enter_context(home.living("part", "docs/my_cell.py"))
        part.said(lambda line: "works in dev (accepted)" in line)
        home.held(*ask)
        first.process.kill()
        first.end()
        part.said(lambda _: any('"part_waits"' in line for line in part.errors))
        stack.enter_context(home.up("--part", "cells.math_cell"))
        part.said(lambda _: 2 == sum('"part_started"' in line for line in part.errors))
        assert {"shouting": True} == json.loads(home.held(*ask).out)
        assert 0 == part.stop().code


# Somebody else's servers


@asynccontextmanager
async def servers(folder: Path) -> AsyncIterator[dict[str, str]]:
    """A NATS server and a PostgreSQL that somebody else runs; yields the settings that lead there."""
    pair = nkey_pair(bytes(32))
    seed = folder / "bus.nk"
    seed.write_text(pair.seed)
    seed.chmod(0o600)
    everything = (Account("anybody", (Identity("all", pair.public, (">",), (">",), responses=True),)),)
    async with NatsServer(folder / "nats", everything) as bus, Postgres(folder / "postgres") as database:
        records = await database.ensure_database("theirs")
        yield {"nats_url": bus.url, "nats_nkey": str(seed), "database_url": records}


@pytest.mark.spec("X-06", "X-10")
def test_the_same_code_runs_on_named_servers(tmp_path: Path) -> None:
    """With the README's settings `up` and `python -m cells.math_cell` live on servers that somebody else runs."""
    up, cell = typed(section("When one machine is not enough"))
    assert ["./run", "up"] == up[-2:]
    assert ["python", "-m", "cells.math_cell"] == cell[-3:]
    named = {word.partition("=")[0] for word in up[:-2]}
    assert {"NIMMERVERSE_NATS_URL", "NIMMERVERSE_NATS_NKEY", "NIMMERVERSE_DATABASE_URL"} == named

    def live(settings: dict[str, str]) -> None:
        home = Home.at(tmp_path / "here").set(**settings)
        elsewhere = Home.at(tmp_path / "there", program=(sys.executable, *cell[-2:])).set(**settings)
        with home.up() as organism, elsewhere.living() as replica:
            replica.said(lambda line: "math_cell 1.0.0 works in dev (accepted)" in line)
            assert [] == [child for child in family(organism.pid) if child.name() in ("nats-server", "postgres")]
            assert "5\n" == home.held("ask", "2+3").out
            position = home.held("request", "nervous.overload.assess.request", '{"site": "here"}', "--json")
            assert "pending" == position.documents[0]["proof"]
            assert "hold for every event" in home.held("replay").err
            assert 0 == replica.stop().code
        report = json.loads(tour(home).read_text())
        assert (True, True) == (report["ok"], all(step["ok"] for step in report["steps"])), report

    async def whole() -> None:
        async with servers(tmp_path) as settings:
            await asyncio.to_thread(live, settings)

    asyncio.run(whole())


def tour(home: Home) -> Path:
    """Take the tour and return where its report lies."""
    report = home.folder / "report.json"
    home.held("tour", "--exit", "--json", str(report))
    return report


def test_the_settings_say_where_they_come_from(home: Home) -> None:
    """`config`, to which the README points, prints every setting with its value and its origin."""
    rows = {row["name"]: row for row in home.held("config", "--json").documents[0]}
    assert (str(home.folder), "environment NIMMERVERSE_HOME") == (rows["home"]["value"], rows["home"]["origin"])
    assert ("dev", "default") == (rows["env"]["value"], rows["env"]["origin"])
    assert all(row["description"].endswith(".") for row in rows.values())
