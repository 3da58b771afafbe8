"""The whole organism under simulated time: a seed is a log, faults break no invariant, and planted faults are found."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from cells.math_cell import MathCell
from deploy.cli import build_parser
from deploy.sim_host import Trouble
from deploy.simulation import BrokenInvariant, Outcome, run
from organs.records import MemoryRecords
from shared.bus import Bus, Draft
from shared.envelope import Prefix, Verdict
from shared.errors import Deadlock, Exit
from shared.message import Decision, Message
from shared.part.mind import Mind
from shared.subjects.nervous import MathRequest
from tests.commands import NIMMERVERSE, ROOT
from tests.seeds import seeds

SEEDS = range(40)
EVERYTHING = Trouble(drop=0.1, duplicate=0.1, delay=1.0, lose_ack=0.1, lose_append=0.1, crash=10.0, cut=4.0, skew=5.0)
#: Whoever crashes is drawn from all parts, so that those who are asked crash often only where there are many crashes.
OFTEN = replace(EVERYTHING, crash=15.0)
#: Appends hardly ever arrive: what was decided and never stored must have left no trace.
LOSING = Trouble(lose_append=0.97, delay=0.1)
DOUBLING = Trouble(duplicate=0.3, lose_ack=0.3, delay=1.0)


def sim(
    *words: str, hash_seed: str = "random", program: Sequence[str] = NIMMERVERSE
) -> subprocess.CompletedProcess[str]:
    """Simulate in a process of its own."""
    environ = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": hash_seed}
    return subprocess.run([*program, "sim", *words], env=environ, cwd=ROOT, capture_output=True, text=True, check=False)


def outcome(*words: str, hash_seed: str = "random") -> dict[str, Any]:
    """What `sim --json` prints: one document on one line, and nothing else."""
    done = sim(*words, "--json", hash_seed=hash_seed)
    assert (0, "", 1) == (done.returncode, done.stderr, done.stdout.count("\n"))
    return json.loads(done.stdout)


# A seed is a log


@pytest.mark.spec("X-08")
@pytest.mark.parametrize("faults", ["", str(EVERYTHING)], ids=["calm", "everything"])
def test_a_seed_is_a_log(faults: str) -> None:
    """Seed 7 gives the same log in every process, whatever PYTHONHASHSEED says; another seed gives another log."""
    words = ("--minutes", "0.5", *(("--faults", faults) if faults else ()))
    same = [outcome("--seed", "7", *words, hash_seed=hash_seed) for hash_seed in ("0", "4711")]
    assert same[0] == same[1]
    here, other = (run(seed, 0.5, Trouble.parse(faults)) for seed in (7, 8))
    assert (same[0]["digest"], same[0]["events"]) == (here.digest, here.events)
    assert here.digest != other.digest


@pytest.mark.spec("X-08")
def test_the_shape_of_the_outcome() -> None:
    """`sim --json` prints the digest, the number of events and the seed, and what the simulated user saw."""
    said = outcome("--seed", "7", "--minutes", "0.5")
    assert {"digest", "events", "seed"} <= said.keys()
    assert re.fullmatch("[0-9a-f]{64}", said["digest"])
    assert (7, 0) == (said["seed"], said["crashes"])
    assert 0 < said["decided"] < said["answered"] <= said["asked"]
    assert said["events"] > said["decided"]


@pytest.mark.parametrize(
    "faults", ["drop", "drop=", "drop=x", "drop=-1", "drop=nan", "drop=inf", "flood=1", "drop=1;cut=1"]
)
def test_faults_that_do_not_exist(faults: str) -> None:
    """A fault that is unknown, or not a number from zero on, is a wrong setting; the sentence says which are known."""
    done = sim("--seed", "7", "--faults", faults)
    assert (int(Exit.CONFIG), "") == (done.returncode, done.stdout)
    assert re.fullmatch(
        r"nimmerverse: --faults '.*' is (not name=number|unknown or negative; known are .*drop.*)\n", done.stderr
    )


# Whatever happens, the invariants hold


@pytest.mark.spec("X-07", "X-08")
@pytest.mark.parametrize("seed", seeds(SEEDS, 6))
def test_the_invariants_hold(seed: int) -> None:
    """With a tenth of all messages lost and doubled, late, reordered, with lost appends and acknowledgements, crashes,
    cut links and wrong clocks: nothing void, nothing twice, every promise kept, and views, states and reruns agree.
    """
    assert run(seed, 1.0, EVERYTHING).events


@pytest.mark.spec("X-08")
def test_the_faults_really_happen() -> None:
    """Over the seeds parts crash, questions stay unanswered, and decisions are still made and promised."""
    outcomes = [run(seed, 1.0, OFTEN) for seed in SEEDS[:2]]
    calm = [run(seed, 1.0) for seed in SEEDS[:2]]
    assert sum(o.crashes for o in outcomes) > 5 * len(outcomes)
    unanswered, in_calm = (sum(o.asked - o.answered for o in each) for each in (outcomes, calm))
    assert unanswered > in_calm + len(outcomes)
    assert sum(o.decided for o in outcomes) > len(outcomes)
    assert all(0 == o.crashes and o.asked - o.answered < 5 for o in calm)


# What is planted is found


def found(plant: pytest.MonkeyPatch, trouble: Trouble, tried: Sequence[int] = SEEDS[:3]) -> list[str]:
    """What the seeds find, each in one sentence with the line that reproduces it."""
    findings: list[str] = []
    for seed in tried:
        try:
            run(seed, 2.0, trouble)
        except BrokenInvariant as finding:
            findings.append(str(finding))
    plant.undo()
    assert [] == [o for o in findings if "\nreproduce with: nimmerverse sim --seed " not in o]
    return findings


@pytest.mark.spec("X-08")
def test_a_planted_wall_clock_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that asks the machine for the time is caught by name, and the failure prints the line that repeats it."""
    honest = MathCell.on_request

    @functools.wraps(honest)
    def hasty(self: MathCell, request: MathRequest) -> Iterator[Any]:
        time.time()
        yield from honest(self, request)

    monkeypatch.setattr(MathCell, "on_request", hasty)
    with pytest.raises(BrokenInvariant, match=r"test_organism called time.time\(\) under simulated time") as caught:
        run(7, 1.5, Trouble(drop=0.25))
    assert str(caught.value).startswith("WallClockUse: ")
    line = str(caught.value).splitlines()[-1].removeprefix("reproduce with: ")
    assert "nimmerverse sim --seed 7 --minutes 1.5 --faults drop=0.25" == line
    again = build_parser().parse_args(shlex.split(line)[1:])
    assert (7, 1.5, Trouble(drop=0.25)) == (again.seed, again.minutes, Trouble.parse(again.faults))


#: The command line with a math cell that looks at the machine's clock.
HASTY = """
import functools, sys, time
from cells.math_cell import MathCell
from deploy.cli import main

honest = MathCell.on_request

@functools.wraps(honest)
def hasty(self, request):
    time.monotonic()
    yield from honest(self, request)

MathCell.on_request = hasty
sys.exit(main())
"""


@pytest.mark.spec("X-08")
def test_the_command_prints_the_reproducing_line() -> None:
    """Where an invariant breaks, `sim` ends with 1 and its error ends with the line that reproduces it."""
    program = (sys.executable, "-c", HASTY)
    done = sim("--seed", "3", "--minutes", "1", program=program)
    assert (int(Exit.FAILED), "") == (done.returncode, done.stdout)
    assert done.stderr.startswith("nimmerverse: WallClockUse: __main__ called time.monotonic() under simulated time")
    assert done.stderr.endswith("reproduce with: nimmerverse sim --seed 3 --minutes 1\n")


def forgetful(prefix: Prefix, verdict: Verdict) -> None:
    """Fold an entry, and forget whose events were admitted."""
    FOLD(prefix, verdict)
    for lane in prefix.lanes.values():
        lane.seen.clear()


FOLD = Prefix.fold


@pytest.mark.spec("X-08")
def test_a_bus_that_forgets_what_it_saw_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A prefix that drops the seen ids is found at every seed, before anything is built on it."""
    monkeypatch.setattr(Prefix, "fold", forgetful)
    assert len(SEEDS[:3]) == len(found(monkeypatch, EVERYTHING))


@pytest.mark.spec("X-08")
def test_a_bus_that_appends_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bus and a nerve that no longer look for their own event before they append it are found by a void entry."""

    async def never_done(*_: object) -> None:
        return None

    def all_missing(_: Bus, lane: str, blocks: list[list[Draft]]) -> list[list[Draft]]:
        assert lane
        return blocks

    monkeypatch.setattr(Mind, "_done_before", never_done)
    monkeypatch.setattr(Bus, "_missing", all_missing)
    findings = found(monkeypatch, DOUBLING)
    assert findings
    assert all("is void: R006 REPLAYED" in finding for finding in findings)


@pytest.mark.spec("X-08")
def test_a_nerve_that_evolves_before_admission_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A nerve whose state moves before its decision is admitted is found when what it decided never reached the log."""
    drafts = Mind._drafts

    def early(
        self: Mind, decisions: list[Decision], message: Message, message_id: bytes, evidence: bytes
    ) -> list[Draft]:
        for decision in decisions:
            entity = str(getattr(decision, decision.entity_field()))
            self.states[entity] = self.nerve.evolve(self.state(entity), decision)
        return drafts(self, decisions, message, message_id, evidence)

    monkeypatch.setattr(Mind, "_drafts", early)
    findings = found(monkeypatch, LOSING)
    assert findings
    assert all("differs when run again" in f or "the log says" in f for f in findings)


@pytest.mark.spec("X-08")
def test_a_nerve_that_never_evolves_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A nerve whose state does not follow the log is found."""

    def never(*_: object) -> None:
        return

    monkeypatch.setattr(Mind, "_evolve", never)
    assert found(monkeypatch, Trouble(), SEEDS[:1])


@pytest.mark.spec("X-08")
def test_a_view_that_loses_a_row_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A view that drops one row in passing differs from the one that is rebuilt."""
    apply: Callable[..., Any] = MemoryRecords.apply
    calls: list[int] = []

    async def careless(self: MemoryRecords, verdicts: Sequence[Verdict]) -> int:
        applied = await apply(self, verdicts)
        calls.append(applied)
        if len(calls) == 15:
            self.tables["decisions"].popitem()
        return applied

    monkeypatch.setattr(MemoryRecords, "apply", careless)
    [finding] = found(monkeypatch, Trouble(), tried=[1])
    assert "the view's digest is" in finding


@pytest.mark.spec("X-08")
def test_a_part_that_waits_for_ever_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under simulated time a wait that nothing ends is a failure at once, not a test that hangs."""
    monkeypatch.setattr("deploy.simulation._life", _stuck)
    with pytest.raises(BrokenInvariant, match=f"^{Deadlock.__name__}: every task waits and no timer is set"):
        run(7)


async def _stuck(*_: object) -> Outcome:
    """Wait for an event nobody sets."""
    await asyncio.Event().wait()
    raise AssertionError("never reached")
