"""The commands `policy` and `energy` as a person uses them, and the pictures of a site's day."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from typing import TypeAlias
from xml.etree import ElementTree as ET

import pytest

from deploy.commands.energy import energy
from deploy.commands.policy import check
from deploy.commands.policy import test as hold
from deploy.load import BUILT_IN
from deploy.terminal import Terminal
from deploy.windows import COLUMNS, Moment, lines, svg
from shared.config import Loaded, load
from shared.errors import ConfigFault, Exit, StorageFault
from shared.policy import Policies
from shared.subjects.energy import WindowReason
from tests.commands import Home
from tests.policies import ENERGY, PROMOTION

CASES = "tests/spec/well_judged.jsonl"
MINUTE_MS = 60_000

Command: TypeAlias = Callable[[Namespace, Loaded, Terminal], Exit]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home on which nothing runs."""
    return Home.at(tmp_path_factory.mktemp("policies")).without_records()


@pytest.mark.spec("COL-12", "ILL-08")
def test_every_package_is_listed_and_shown(home: Home) -> None:
    """`list` names what judges with what it is about, `show` prints its text, `digest` what decisions carry."""
    policies = Policies.shipped()
    listed = home.held("policy", "list", "--json").documents
    assert {"nimmerverse.limits", "nimmerverse.rows"} == {*policies.packages} - {each["package"] for each in listed}
    for each in listed:
        shown = home.held("policy", "show", each["package"].removeprefix("nimmerverse."), "--json").documents[0]
        assert (each["file"], policies.texts[each["file"]]) == (shown["file"], shown["text"])
        assert each["about"] in shown["text"]
    assert policies.digest == home.held("policy", "digest", "--json").documents[0]["policy"]


@pytest.mark.spec("COL-10")
def test_a_table_is_printed_row_by_row(home: Home, tmp_path: Path) -> None:
    """`check` says of each row what was demanded and found, and ends with 1 where the policy denies."""
    good, poor = tmp_path / "good.json", tmp_path / "poor.json"
    good.write_text(json.dumps(PROMOTION))
    poor.write_text(json.dumps({**PROMOTION, "bias_ppm": 250_000}))
    assert "allowed by" in home.held("policy", "check", "promotion", str(good)).out
    done = home.run("policy", "check", "promotion", str(poor))
    assert int(Exit.FAILED) == done.code
    [line] = [line for line in done.out.splitlines() if line.startswith("✗")]
    assert ["✗", "bias", "<", "250000", "found", "250000", "TOO_HIGH"] == line.split()


@pytest.mark.spec("COL-12")
def test_expectations_hold_and_a_broken_one_is_named(home: Home, tmp_path: Path) -> None:
    """The expectations that are shipped hold; one that does not is named with its line, and so is a draft's doing."""
    assert "15 of 15" in home.held("policy", "test", CASES).err
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text('\n{"name": "hope", "package": "energy", "given": {}, "allowed": true}\n')
    done = home.run("policy", "test", str(wrong))
    assert (int(Exit.FAILED), True) == (done.code, f"{wrong}:2 hope" in done.out)
    draft = tmp_path / "limits.rego"
    draft.write_text(Policies.shipped().texts["limits.rego"].replace("bias_ppm := 250000", "bias_ppm := 90000"))
    done = home.run("policy", "test", CASES, "--draft", str(draft))
    assert int(Exit.FAILED) == done.code
    assert "a model with all its evidence" in done.out
    drafted = home.held("policy", "digest", "--draft", str(draft), "--json").documents[0]["policy"]
    assert drafted != Policies.shipped().digest


@pytest.mark.spec("X-06")
@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("policy", "show", "nothing"), Exit.CONFIG, "there is no policy 'nothing'"),
        (("policy", "check", "energy", "README.md"), Exit.CONFIG, "expected one JSON object"),
        (("policy", "check", "energy", "/nowhere"), Exit.CONFIG, "cannot be read"),
        (("policy", "test", "README.md"), Exit.CONFIG, "README.md:1"),
        (("policy", "list", "--draft", "README.md"), Exit.REFUSED, "Q003"),
        (("energy", "--play", "README.md"), Exit.REFUSED, "W002"),
        (("energy", "--play", "README.md", "--load", "nothing"), Exit.CONFIG, "columns of shares"),
    ],
)
def test_what_cannot_be_judged_is_refused_by_name(
    home: Home, words: tuple[str, ...], code: Exit, sentence: str
) -> None:
    """No such package, no JSON, no Rego, no series: one sentence says what was expected."""
    done = home.run(*words)
    assert (int(code), "") == (done.code, done.out)
    assert sentence in done.sentence


def carried_out(command: Command, tmp_path: Path, **words: object) -> Exit:
    """A command in this process, with nothing but the words that it reads."""
    return command(Namespace(**words), load({}, {"home": str(tmp_path)}, "here"), Terminal(None, as_json=True))


@pytest.mark.spec("X-12")
def test_what_nests_too_deep_is_refused_by_name(tmp_path: Path) -> None:
    """An input or an expectation that no parser follows to its end is a sentence; of several lines it names the one."""
    file, deep = tmp_path / "deep.json", '{"given": ' + "[" * 5_000 + "]" * 5_000 + "}"
    file.write_text(f"\n{deep}")
    with pytest.raises(ConfigFault, match="expected one JSON object"):
        carried_out(check, tmp_path, draft=[], package="training", given=str(file))
    with pytest.raises(ConfigFault, match=f"{file}:2: .*expected package, given"):
        carried_out(hold, tmp_path, draft=[], files=[str(file)])


@pytest.mark.spec("COL-06", "X-12")
@pytest.mark.parametrize("share", ["inf", "-inf", "nan", "1e308", "-0.5", "much"])
def test_a_share_that_is_none_is_named_with_its_row(tmp_path: Path, share: str) -> None:
    """What no site can draw or hold is a sentence with the row."""
    file = tmp_path / "load.csv"
    words = {"play": file, "load": "load", "charge": "charge", "full_kw": 300_000, "every_s": 1_800, "heavy": False}
    for row in (f"{share},0.5", f"0.5,{share}"):
        file.write_text(f"load,charge\n0.5,0.5\n{row}\n")
        with pytest.raises(ConfigFault, match=f"{file}, row 2: .*columns of shares"):
            carried_out(energy, tmp_path, **words, plot=None)


@pytest.mark.spec("COL-06", "X-12")
def test_a_picture_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """A picture in a folder that is not there is a fault of storage with its path, as any other plot."""
    file = tmp_path / "day.csv"
    file.write_text("taken_ms,power_kw,soc_ppm\n1000,10,1\n")
    with pytest.raises(StorageFault, match=r"/nowhere/day\.svg cannot be written"):
        carried_out(energy, tmp_path, play=file, load=None, heavy=False, plot=Path("/nowhere/day.svg"))


@pytest.mark.spec("X-06")
def test_a_float_is_no_input(home: Home, tmp_path: Path) -> None:
    """`check` refuses what engines round."""
    file = tmp_path / "float.json"
    file.write_text(json.dumps({**ENERGY, "power_kw": 0.99}))
    done = home.run("policy", "check", "energy", str(file))
    assert (int(Exit.REFUSED), True) == (done.code, "Q003" in done.sentence)


@pytest.mark.spec("COL-06")
def test_a_recorded_series_is_judged(home: Home, tmp_path: Path) -> None:
    """`energy --play` counts the windows of a series of shares, by the site's zone, and draws them."""
    file, plot = tmp_path / "load.csv", tmp_path / "load.svg"
    file.write_text("load,charge\n" + "0.5,0.3\n" * 24 + "0.9,1.0\n" * 12 + "0.5,1.0\n" * 12)
    words = ("energy", "--play", str(file), "--load", "load", "--charge", "charge", "--plot", str(plot))
    zone = ("--set", "energy_zone=Europe/Berlin")
    [found] = home.held(*words, *zone, "--json").documents
    # 48 half hours from 01:00 in Berlin: two before the night, eight in it, fourteen after it with a low battery.
    assert {"OFFPEAK_REQUIRED": 16, "OK": 20, "GRID_CONSTRAINT": 12} == found["reasons"]
    assert (48, 4) == (found["readings"], found["changes"])
    assert "svg" in ET.fromstring(plot.read_text()).tag  # noqa: S314 - our own picture
    told = home.held(*words, *zone).out.splitlines()
    assert ["power", "charge", "window"] == [line.split()[0] for line in told[1:4]]


@pytest.mark.spec("COL-06", "COL-16")
def test_the_window_now_is_shown_from_the_log(home: Home, tmp_path: Path) -> None:
    """`energy` asks the nerve, and shows the decision with its reading, where it stands, and the day's picture."""
    parts = [word for name in ("cells.energy_cell", "nerves.energy") for word in ("--part", name)]
    assert {"cells.energy_cell", "nerves.energy"} <= {*BUILT_IN}
    with home.up(*parts, "--set", "energy_declared_kw=7"):
        plot = tmp_path / "day.svg"
        [found] = home.held("energy", "--json", "--purpose", "boundary", "--plot", str(plot)).documents
        assert (True, "OK", 7, "declared", "boundary") == (
            found["allowed"],
            found["reason"],
            found["power_kw"],
            found["source"],
            found["purpose"],
        )
        assert plot.exists()
        told = home.held("energy").out
        assert "0.007 MW, charge 100 % (declared)" in told
        assert "decided at (" in told


@pytest.mark.spec("COL-16", "X-06")
def test_without_a_meter_the_command_fails(home: Home) -> None:
    """Where nobody measures, no job starts: the answer is NO_READING and the command ends with 1."""
    parts = [word for name in ("cells.energy_cell", "nerves.energy") for word in ("--part", name)]
    with home.up(*parts, "--set", "energy_meter=none"):
        done = home.run("energy")
        assert (int(Exit.FAILED), True) == (done.code, "no job starts: NO_READING" in done.out)


QUIET = """package nimmerverse.added.quiet
import rego.v1
rows := [data.nimmerverse.rows.at_most("noise", object.get(input, "noise", null), 40)]
default allow := false
allow if data.nimmerverse.rows.all_hold(rows)
"""


@pytest.mark.spec("ILL-08")
def test_an_added_policy_is_led_from_draft_to_a_say(home: Home, tmp_path: Path) -> None:
    """Drafted from a file, simulated, a canary of nearly everything: each step is decided, and jumps are refused."""
    rules, loud = tmp_path / "quiet.rego", tmp_path / "loud.json"
    rules.write_text(QUIET)
    loud.write_text('{"noise": 41}')
    with home.up("--part", "nerves.policy"):
        assert "is a draft" in home.held("policy", "draft", "quiet", str(rules), "--effect", "quarantine").out
        done = home.run("policy", "move", "quiet", "active", "--reason", "in a hurry")
        assert (int(Exit.REFUSED), True) == (done.code, "Q005" in done.sentence)
        home.held("policy", "move", "quiet", "simulating", "--reason", "to look")
        assert "says quarantine, which is allow here" in home.held("policy", "ask", "quiet", "r", str(loud)).out
        home.held("policy", "move", "quiet", "canary", "--share", "0.999999", "--reason", "to try")
        done = home.run("policy", "ask", "quiet", "r", str(loud))
        assert (int(Exit.FAILED), True) == (done.code, "noise: TOO_HIGH" in done.out)
        assert "canary, 100.00 % of requests, effect quarantine, objected to 1 of its last 1" in (
            home.held("policy", "status", "quiet").out
        )


def series(*reasons: WindowReason) -> list[Moment]:
    """A moment a minute."""
    return [Moment(n * MINUTE_MS, 1_000 * n, 1_000_000 - n, reason) for n, reason in enumerate(reasons)]


@pytest.mark.spec("COL-06")
def test_a_picture_shows_the_worst_of_each_while() -> None:
    """However many moments fall into one column, a closed window is seen; few moments are drawn without gaps."""
    reasons: list[WindowReason] = ["OK"] * 1_440
    reasons[700] = "GRID_CONSTRAINT"
    _, _, window, _ = lines(series(*reasons), 250_000, UTC)
    marks = window.removeprefix("window  ")[:COLUMNS]
    assert {"█": COLUMNS - 1, "░": 1} == {mark: marks.count(mark) for mark in "█░"}
    few = lines(series("OK", "NO_READING", "OK"), 250_000, UTC)
    assert "window  █ █" == few[2][:11]


@pytest.mark.spec("COL-06")
@pytest.mark.parametrize("count", [1, 2, 5_000])
def test_a_picture_is_a_whole_document(count: int) -> None:
    """One reading or thousands: the SVG is well-formed, its bands cover the time once, and it stays small."""
    reasons: list[WindowReason] = ["GRID_CONSTRAINT" if n // 50 % 2 else "OK" for n in range(count)]
    document = svg(series(*reasons), 250_000, UTC)
    root = ET.fromstring(document)  # noqa: S314 - our own picture
    bands = [each for each in root if each.tag.endswith("rect") and each.get("height") == "16"]
    assert abs(sum(float(band.get("width", "0")) for band in bands) - (960 if count > 1 else 0)) < 0.1 * count
    assert len(document) < 100_000
