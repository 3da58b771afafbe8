"""A soak as it is: an organism of its own on real servers, struck, and judged by the product's own commands."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from deploy.soak.load import INGESTS
from deploy.soak.outcome import Outcome
from deploy.soak.picture import svg
from deploy.soak.plan import Strike
from deploy.soak.roles import NO_ROOM, NOTHING_TO_JOIN, Role, environment, grows
from deploy.soak.siege import Soak
from deploy.soak.writer import Joined, faults
from shared.bus import Bus, Receipt
from shared.bus.sim import SimServer
from shared.config import load
from shared.errors import Exit, StorageFault, Unreachable, Unresolved
from shared.home import Keys
from shared.keys.sealed import CHEAP
from shared.world import RealWorld, SimWorld
from tests.commands import Home

FEW = ("organs.notary", "cells.math_cell", "organs.records", *INGESTS)
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


@asynccontextmanager
async def sulky(folder: Path, *ends: int) -> AsyncGenerator[Role]:
    """A process that works, whose next starts each end with one of these codes before one works again."""
    (folder / "sulky.py").write_text(
        "import sys, time\nfrom pathlib import Path\n"
        "with Path('lives').open('a') as lives:\n    lives.write('.')\n"
        f"life, ends = len(Path('lives').read_text()), {ends}\n"
        "if 1 < life <= 1 + len(ends):\n    print('ended in life', life)\n    sys.exit(ends[life - 2])\n"
        "print('works in life', life, flush=True)\n"
        "with Path('works').open('a') as works:\n    works.write('.')\n"
        "time.sleep(1_000)\n"
    )
    works = grows(folder / "works", RealWorld("dev"))
    role = Role("sulky", ["sulky"], folder / "log", environment({}), works)
    await role.child.start()
    try:
        yield role
    finally:
        await role.child.stop()


@pytest.mark.spec("X-07")
@pytest.mark.parametrize(
    ("ends", "shaken", "excused", "objection"),
    [
        ((), 0, (), ""),
        ((1, 5, 1), 0, (), "sulky ended 2 times with 1, 1 times with 5"),
        ((5,), 1, (), ""),
        ((5, 5), 1, (), "sulky ended 1 times with 5"),
        ((1,), 1, NOTHING_TO_JOIN, "sulky ended 1 times with 1"),
        ((3, 5, 8), 0, NOTHING_TO_JOIN, ""),
        ((3, 8), 0, NO_ROOM, "sulky ended 1 times with 3"),
    ],
)
def test_a_start_that_fails_after_a_kill_is_objected_to(
    tmp_path: Path, ends: tuple[int, ...], shaken: int, excused: tuple[int, ...], objection: str
) -> None:
    """Each start that ended before the process worked counts, but for those that lacked what was struck."""

    async def body() -> None:
        async with sulky(tmp_path, *ends) as role:
            role.shaken, role.excused = shaken, excused
            await role.kill()
            await role.whole()
            told, _, words = role.objection().partition(" before it worked, lastly saying: ")
            assert (objection, f"ended in life {1 + len(ends)}" if objection else "") == (told, words)

    asyncio.run(body())


@pytest.mark.spec("X-07")
def test_a_strike_on_what_just_died_by_itself_hides_no_death(tmp_path: Path) -> None:
    """Only what runs is killed: what died by itself is killed once it works again, and both deaths count."""

    async def body() -> None:
        async with sulky(tmp_path) as role:
            role.child.kill9()
            while role.child.pid is not None:
                await asyncio.sleep(0.001)
            await role.kill()
            await role.child.restarted(2)
            assert role.objection().startswith("sulky died 1 times by itself")

    asyncio.run(body())


@pytest.mark.spec("X-07")
def test_strikes_at_once_kill_one_after_another(tmp_path: Path) -> None:
    """Of two kills that wait for the same start, each ends a life of its own."""

    async def body() -> None:
        async with sulky(tmp_path) as role:
            await role.kill()
            await asyncio.gather(role.kill(), role.kill())
            await role.whole()
            assert 3 == role.child.restarts

    asyncio.run(body())


@pytest.mark.spec("X-07")
def test_what_does_not_work_again_is_objected_to(tmp_path: Path) -> None:
    """A process that was killed and does nothing since is no process that lives."""

    async def body() -> None:
        async with sulky(tmp_path) as role:
            await role.kill()
            assert role.objection().startswith("sulky works no more")

    asyncio.run(body())


@pytest.mark.spec("X-07")
def test_whatever_a_writer_is_told_instead_of_an_acknowledgement_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A writer says on standard error what each append came to that brought no receipt, and appends again."""
    settings = load({}, {"home": str(tmp_path), "env": "dev"}, "here").settings
    Keys(settings, RealWorld("dev"), CHEAP)
    joined, world = Joined("w", settings, ""), SimWorld("dev", 1)
    joined.bus = Bus(world, SimServer(world).wire("w"), "w", "1", [])
    answers = iter([Unresolved("late"), StorageFault("full"), Unreachable("gone")])

    async def append() -> list[Receipt]:
        for fault in answers:
            raise fault
        return []

    asyncio.run(joined.settle(append))
    (tmp_path / "log").write_text(capsys.readouterr().err)
    assert Counter(["Unresolved", "StorageFault", "Unreachable"]) == faults(tmp_path / "log")


@pytest.mark.spec("X-04", "X-05", "X-07")
def test_a_short_soak_holds(tmp_path: Path) -> None:
    """Through kills, a cut, a wrong clock, a full quota and a flipped copy, all in seconds: the log and its views are
    whole, each acknowledged append stands in it once, who is asked answers, and posts are ingested.
    """
    said = list[str]()
    soak = Soak("dev", tmp_path / "soak", 3.0, STRIKES, seed=1, say=said.append, parts=FEW, writers=ONE)
    out = asyncio.run(soak.run())
    assert [] == out.failed, "\n".join(map(str, [*out.lines, *said]))
    assert [] == [one for one in out.struck if not one.landed]
    assert len(STRIKES) == len(out.struck)
    judged = (
        "answers",
        "writers",
        "ingests",
        "lives",
        "strikes",
        "audit verify",
        "views verify",
        "appends",
        "copies",
        "quota",
    )
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
