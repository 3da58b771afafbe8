"""A soak as it is: an organism of its own on real servers, struck, and judged by the product's own commands."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from deploy.soak.outcome import Outcome
from deploy.soak.picture import svg
from deploy.soak.plan import Strike
from deploy.soak.siege import Soak
from shared.errors import Exit
from tests.commands import Home

FEW = ("organs.notary", "cells.math_cell", "organs.records")
ONE = {"w-batch": "batch"}
STRIKES = (
    Strike(0.1, "flip", 0.7),
    Strike(0.2, "database", 0.5),
    Strike(0.3, "cut", 0.0),
    Strike(1.0, "bus", 0.5),
    Strike(1.5, "skew", 0.0),
    Strike(2.0, "full", 0.5),
)


def line(out: Outcome, name: str) -> tuple[bool | None, str]:
    """How a line was judged, and in what words."""
    [found] = [one for one in out.lines if one.name == name]
    return found.ok, found.detail


@pytest.mark.spec("X-04", "X-05", "X-07")
def test_a_short_soak_holds(tmp_path: Path) -> None:
    """Through kills, a cut, a wrong clock, a full quota and a flipped copy, all in seconds: the log and its views are
    whole, each acknowledged append stands in it once, and who is asked answers.
    """
    said = list[str]()
    soak = Soak("dev", tmp_path / "soak", 3.0, STRIKES, seed=1, say=said.append, parts=FEW, writers=ONE)
    out = asyncio.run(soak.run())
    assert [] == out.failed, (out.lines, said)
    assert [] == [one for one in out.struck if one.what.startswith("missed")]
    assert len(STRIKES) == len(out.struck)
    judged = ("answers", "lives", "audit verify", "views verify", "appends", "copies", "quota")
    assert [True] * len(judged) == [line(out, name)[0] for name in judged]
    assert 3 == sum(one.what.count("killed") for one in out.struck)
    assert all(file.exists() for file in soak.told_files.values())
    assert {one.name for one in out.lines if one.ok is None} >= {f"memory of {name}" for name in ONE}
    drawn = svg(out)
    assert drawn.count("<polyline") == 2 * len(out.samples.of) + 1
    assert all(one.what in drawn for one in out.struck)


@pytest.mark.slow
@pytest.mark.spec("X-04", "X-05", "X-07")
def test_a_longer_soak_of_the_whole_organism_holds(tmp_path: Path) -> None:
    """Two minutes of the command as people call it, on every built-in part, end with 0 and leave a picture."""
    plot = tmp_path / "soak.svg"
    [told] = (
        Home.at(tmp_path / "unused")
        .held("soak", "--minutes", "2", "--seed", "3", "--plot", str(plot), "--json", wait_s=600)
        .documents
    )
    assert told["ok"]
    assert told["planned"] == len(told["struck"])
    assert plot.read_text().startswith("<svg")


@pytest.mark.spec("X-07", "X-10")
def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    """A soak begins a log of its own: a folder with anything in it is refused before anything starts."""
    (tmp_path / "mine").touch()
    done = Home.at(tmp_path / "unused").run("soak", "--folder", str(tmp_path))
    assert int(Exit.CONFIG) == done.code
    assert "is not empty" in done.sentence
    assert ["mine"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.slow
@pytest.mark.spec("X-07", "X-10")
def test_ctrl_c_ends_a_soak_and_judges_it(tmp_path: Path) -> None:
    """Interrupted, a soak judges what was done and leaves no process behind."""
    words = ("soak", "--minutes", "30", "--folder", str(tmp_path / "soak"))
    with Home.at(tmp_path / "unused").living(*words) as living:
        living.said(lambda line: line.startswith("the organism works"), 120)
        done = living.stop(signal.SIGINT)
    assert int(Exit.OK) == done.code, done
    assert "interrupted: what was done is judged" in done.err
    assert "✓ appends" in done.out
