"""The tour on a real nats-server and PostgreSQL: every step holds, again on the same data, and not on false data."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import select
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncpg  # pyright: ignore[reportMissingTypeStubs] - it ships none
import pytest

from deploy.embedded import Postgres
from deploy.tour import speaking_for
from shared.config import load
from shared.errors import Exit
from tests.commands import EVENT_S, NIMMERVERSE, ROOT, Done, Home, all_gone, family

#: What a tour does between posts and a promoted model, at first and where it was promoted before.
MODELS = ["ingest", "train", "block", "vote", "promote", "load", "trace"]
AGAIN = ["ingest", "load", "trace"]
TOUR_S = 600.0  #: it trains
STEPS = [
    "start",
    "greet",
    "sense",
    "ask",
    "decide",
    "intrude",
    "view",
    "rebuild",
    "replay",
    "verify",
    "prove",
    "tamper",
    "bundle",
]


def with_models(models: list[str]) -> list[str]:
    """The steps of a tour that is not quick."""
    return [*STEPS[: STEPS.index("view")], *models, *STEPS[STEPS.index("view") :]]


def toured(home: Home, *words: str) -> tuple[Done, dict[str, Any]]:
    """Take the tour to its end; return how it ended and what its report says."""
    report = home.folder.with_name("report.json")
    report.unlink(missing_ok=True)
    done = home.run("tour", "--json", str(report), *words, wait_s=TOUR_S)
    return done, json.loads(report.read_text())


def held(home: Home, *words: str, steps: list[str] = STEPS) -> dict[str, Any]:
    """Take the tour, which must hold in every step; return its report. Without other words it is the quick one."""
    done, report = toured(home, *(words or ("--quick",)))
    assert 0 == done.code, done
    assert (True, steps) == (report["ok"], [step["name"] for step in report["steps"]])
    assert all(step["ok"] for step in report["steps"])
    return report


def trust(report: dict[str, Any]) -> str:
    """The fingerprint that a report's first step names."""
    [found] = re.findall(r"trust ([0-9a-f]{16})", report["steps"][0]["detail"])
    return found


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A fresh data folder."""
    return Home.at(tmp_path / "home")


@pytest.mark.slow
@pytest.mark.spec("X-10", "COL-10")
def test_a_tour_trains_and_promotes(home: Home) -> None:
    """At first a poor model is blocked, a good one voted for, signed and promoted. A second tour finds that one."""
    first = held(home, "--exit", steps=with_models(MODELS))
    told = {step["name"]: step["detail"] for step in first["steps"]}
    assert "quality" in told["block"]
    assert "TOO_LOW" in told["block"]
    assert "ai reviewer pass counted" in told["vote"]
    assert "human you pass counted" in told["vote"]
    second = held(home, "--exit", steps=with_models(AGAIN))
    [loaded] = [step["detail"] for step in second["steps"] if step["name"] == "load"]
    assert loaded.split()[3] in told["promote"]


@pytest.mark.spec("X-10")
def test_the_tour_holds_and_goes_on(home: Home) -> None:
    """On a fresh folder every step holds, the report has the documented shape, and a second tour continues the log."""
    first = held(home, "--quick", "--ask", "17 * [23] / 4")
    assert {"ok", "steps", "log"} == first.keys()
    assert all({"name", "ok", "seconds", "detail"} == step.keys() for step in first["steps"])
    assert all(step["detail"] for step in first["steps"])
    assert 0 < sum(step["seconds"] for step in first["steps"])
    assert {"size", "root"} == first["log"].keys()
    assert re.fullmatch("[0-9a-f]{64}", first["log"]["root"])
    asked = next(step["detail"] for step in first["steps"] if step["name"] == "ask")
    assert "'17 * [23] / 4' was refused by name: B012" in asked
    second = held(home)
    assert trust(first) == trust(second)
    assert 0 < first["log"]["size"] < second["log"]["size"]


@pytest.mark.spec("COL-16", "X-06", "X-10")
@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, "none"),
        ({"energy_meter": "declared"}, "none"),
        ({"energy_turbines": "yes"}, "yes"),
        ({"energy_nox_permit_mg_h": "7"}, None),
        ({"energy_meter": "file", "energy_meter_file": "/x"}, None),
        ({"env": "prod"}, None),
        ({"nats_url": "nats://bus:4222"}, None),
    ],
)
def test_a_tour_says_of_a_fresh_machine_that_it_has_no_turbines(said: dict[str, str], expected: str | None) -> None:
    """And of no other: where an operator says anything of the site, or the servers are others', it adds nothing."""
    loaded = load({}, {"home": "/nowhere"} | said, "here")
    assert expected == speaking_for(loaded).settings.energy_turbines


@pytest.mark.spec("X-10")
def test_a_row_changed_behind_its_back(home: Home) -> None:
    """Where somebody changed a row of the view, the tour ends with 1, names the step that found it, and reports it."""
    before = held(home)

    async def tamper() -> None:
        async with Postgres(home.folder / "dev" / "postgres") as records:
            database: Any = await asyncpg.connect(records.dsn("nimmerverse_dev"))
            changed = await database.execute("update nimmerverse.decisions set version = '9.9.9' where index = 3")
            await database.close()
            assert "UPDATE 1" == changed

    asyncio.run(tamper())
    done, report = toured(home, "--quick")
    assert (int(Exit.FAILED), False) == (done.code, report["ok"])
    assert "the step `rebuild` did not hold: the live views differ from what the log says" in done.sentence
    assert [("rebuild", False)] == [(s["name"], s["ok"]) for s in report["steps"] if not s["ok"]]
    assert STEPS[: STEPS.index("rebuild") + 1] == [step["name"] for step in report["steps"]]
    assert trust(before) == trust(report)


@pytest.mark.spec("X-10")
def test_a_byte_changed_in_the_log(home: Home) -> None:
    """Where one byte of a decision was changed in the log's file, the tour ends with 1 and says where it breaks."""
    held(home)
    [block] = (home.folder / "dev" / "nats" / "store").rglob("LOG_dev/msgs/1.blk")
    stored = bytearray(block.read_bytes())
    stored[stored.index(b"dev.nervous.overload.event.here.assessed") + 200] ^= 1
    block.write_bytes(stored)
    done, report = toured(home, "--quick")
    assert (int(Exit.FAILED), False) == (done.code, report["ok"])
    assert re.search(r"entry \d+ is missing|ends (at|before)", done.sentence)
    assert not report["steps"][-1]["ok"]


@pytest.mark.spec("X-07")
@pytest.mark.parametrize(
    "number",
    [pytest.param(signal.SIGTERM, marks=pytest.mark.slow), signal.SIGINT, signal.SIGKILL],
    ids=lambda number: number.name,
)
def test_a_tour_cut_short_leaves_nothing_behind(number: signal.Signals, home: Home) -> None:
    """A tour that is interrupted, terminated or killed leaves no process, and the next start goes on with its log."""
    with home.set(beat_ms="1000").living("tour") as tour:
        start = tour.said(lambda line: "✓ start" in line)
        servers = family(tour.pid)
        assert {"nats-server", "postgres"} <= {server.name() for server in servers}
        done = tour.stop(number)
    assert (-9 if number == signal.SIGKILL else int(Exit.INTERRUPTED)) == done.code
    assert "Traceback" not in done.err
    assert all_gone(servers)
    with home.up() as up:
        assert f"trust {up.document()['trust'][:16]}" in start
        assert "hold for every event" in home.held("replay").err


@pytest.mark.spec("X-10")
def test_two_environments_on_one_home(home: Home) -> None:
    """Two environments begin on one fresh home at the same time, each with its own servers, keys and log."""
    with ThreadPoolExecutor(2) as together:
        reports = list(together.map(lambda env: toured_alone(home, env), ("dev", "staging")))
    assert 2 == len({trust(report) for report in reports})
    with home.up() as dev, home.living("up", "--json", "--env", "staging") as staging:
        told = [dev.document(), staging.document()]
        assert [trust(report) for report in reports] == [each["trust"][:16] for each in told]
        assert ["dev", "staging"] == [each["env"] for each in told]
        assert 2 == len({each["url"] for each in told})
        for env in ("dev", "staging"):
            rows = home.held("replay", "--json", "--env", env).documents
            assert {env} == {row["subject"].partition(".")[0] for row in rows}
        refused = home.run("part", "docs/my_cell.py", "--env", "staging")
        assert int(Exit.REFUSED) == refused.code
        assert "shout_cell is admitted from the deployed set of staging, it is not in it" in refused.sentence


def toured_alone(home: Home, env: str) -> dict[str, Any]:
    """Take the tour in one environment, with a report of its own."""
    report = home.folder.with_name(f"{env}.json")
    home.held("tour", "--quick", "--env", env, "--json", str(report), wait_s=TOUR_S)
    return json.loads(report.read_text())


@pytest.mark.spec("X-10")
@pytest.mark.parametrize(
    "name",
    ["with spaces and 'quotes'", pytest.param("long/" * 40 + "path", marks=pytest.mark.slow)],
    ids=["odd", "long"],
)
def test_an_ordinary_user_in_a_closed_folder(name: str, tmp_path: Path) -> None:
    """An ordinary user takes the tour from a folder nobody may write, on a home with an odd or a very long path."""
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0o555)
    uid = os.geteuid() or 1000
    wrapper = () if os.geteuid() else ("unshare", "--user", f"--map-user={uid}", f"--map-group={uid}")
    home = Home.at(tmp_path / name, program=(*wrapper, *NIMMERVERSE), cwd=closed)
    home.folder.parent.mkdir(parents=True, exist_ok=True)
    held(home)
    assert [] == list(closed.iterdir())


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """A terminal: the side a person sits at, and the side a program sees."""
    sides = pty.openpty()
    yield sides
    for side in sides:
        os.close(side)


@pytest.mark.spec("X-10")
def test_a_person_at_a_terminal(home: Home, terminal: tuple[int, int]) -> None:
    """At a terminal the tour asks for something to compute, answers what was typed, and stays alive until Ctrl-C."""
    person, seen = terminal
    process = subprocess.Popen(
        [*NIMMERVERSE, "tour", "--quick"],
        cwd=ROOT,
        env=home.environ,
        stdin=seen,
        stdout=seen,
        stderr=seen,
        start_new_session=True,
    )
    try:
        screen = Screen(person)
        screen.shows("What shall the math cell compute?")
        os.write(person, b"6 * 7\n")
        screen.shows("6 * 7 = 42")
        screen.shows("The organism stays alive.")
        assert "2\n" == home.held("ask", "1+1").out
        process.send_signal(signal.SIGINT)
        assert int(Exit.INTERRUPTED) == process.wait(EVENT_S)
    finally:
        process.kill()
        process.wait()


class Screen:
    """What a terminal showed so far."""

    def __init__(self, side: int) -> None:
        self.side, self.text = side, ""

    def shows(self, wanted: str) -> None:
        """Return when the text was shown."""
        while wanted not in self.text:
            assert select.select([self.side], [], [], EVENT_S)[0], f"never shown: {wanted}; shown was {self.text}"
            self.text += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", os.read(self.side, 4096).decode(errors="replace"))
