"""A body in an arena: it hits nothing that it was warned of in time, learns, gets energy, or says that it cannot."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from deploy.body import alive, direct
from deploy.body.arena import CAPACITY_UJ, Arena, Contact
from deploy.body.layout import BODY_MM, DOCK_MM, GAP_MM, Disc, Layout, boxed, drawn
from deploy.body.picture import ascii_map, svg
from deploy.body.record import Gate, Record, Weights
from deploy.body.trig import ONE, cosine, sine
from deploy.cli import main
from deploy.load import find_part
from deploy.references.samples import sample
from deploy.sim_host import Trouble
from organs.motors import Authority, Motion
from shared.errors import Exit
from shared.subjects.body import (
    CRUISE_MM_S,
    HOLD_MS,
    STOPPING_MM,
    ChargingDecided,
    CollisionDecided,
    ExplorationDecided,
    MotorRequest,
)
from shared.subjects.gates import ReflexGranted, WeightChanged

HARSH = Trouble(drop=0.1, duplicate=0.1, delay=0.05, lose_ack=0.05, lose_append=0.05, crash=20.0, skew=0.0)
#: Of their arenas each throws something before the body that it cannot avoid.
HARD_SEEDS = (3, 4, 14, 15, 17)


def by_nerve(record: Record) -> list[list[object]]:
    """What each nerve decided, in its own order."""
    nerves = (CollisionDecided, ExplorationDecided, ChargingDecided)
    return [[decision for decision in record.decisions if isinstance(decision, nerve)] for nerve in nerves]


def crawled(layout: Layout, minutes: float = 1.0, seed: int = 1) -> tuple[Record, Arena]:
    """One crawl without a bus."""
    told = direct.crawl([layout], seed, minutes)
    return told.records[0], told.arenas[0]


def hall(**changed: Any) -> Layout:  # noqa: ANN401 - fields of a layout
    """An empty hall, the dock in its middle."""
    whole: dict[str, Any] = {
        "width_mm": 3_000, "depth_mm": 3_000, "discs": (), "dock": (1_500, 1_500), "start": (600, 600),
        "heading_cdeg": 0, "charge_ppm": 1_000_000,
    }  # fmt: skip
    return Layout(**{**whole, **changed})


# The claim


@pytest.mark.spec("NIM-13", "X-08")
@pytest.mark.parametrize("seed", [3, 8])
def test_with_and_without_a_bus_the_same_is_decided(seed: int) -> None:
    """On a bus that loses nothing every nerve decides exactly what it decides without one, through two arenas."""
    layouts = [drawn(seed, 0.5), drawn(seed + 1, 0.5)]
    bus, plain = alive.crawl(layouts, seed, 0.5), direct.crawl(layouts, seed, 0.5)
    for one, other in zip(bus.records, plain.records, strict=True):
        assert by_nerve(other) == by_nerve(one)
        assert other.summary() == one.summary()
    assert bus.entries > sum(len(record.decisions) for record in bus.records)


@pytest.mark.spec("NIM-13")
@pytest.mark.parametrize("seed", HARD_SEEDS)
def test_no_collision_that_could_be_avoided(seed: int) -> None:
    """Where the first sure reading left the stopping distance there is no collision; where it did not, there may be."""
    record, _ = crawled(drawn(seed, 2.0), 2.0, seed)
    assert (0, False) == (record.avoidable, record.unnoticed)
    assert 5 < len(record.evasions)


@pytest.mark.spec("NIM-13")
def test_the_claim_is_not_empty() -> None:
    """The arenas do hold what cannot be avoided: without it there would be nothing to tell apart."""
    assert sum(len(crawled(drawn(seed, 2.0), 2.0, seed)[0].contacts) for seed in HARD_SEEDS) > 1


@pytest.mark.spec("NIM-13")
def test_a_body_that_obeys_nobody_is_found_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Motors that drive on whatever they are told collide avoidably; the crawl says so, and fails."""

    def deaf(self: Authority, request: MotorRequest, now_ms: int) -> Motion:
        return Motion(CRUISE_MM_S, 0, now_ms + HOLD_MS)

    monkeypatch.setattr(Authority, "judge", deaf)
    assert Exit.FAILED == main(["crawl", "--seed", "3", "--minutes", "0.5", "--direct", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (False, 1) == (told["held"], min(1, told["runs"][0]["collisions_avoidable"]))
    assert Exit.FAILED == main(["crawl", "--seed", "3", "--seeds", "2", "--minutes", "0.5", "--direct"])
    assert "✗ the body collided although it was warned in time" in capsys.readouterr().out


@pytest.mark.spec("NIM-13")
def test_a_battery_that_nobody_watches_is_found_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A body whose nerve never says that its battery is low runs empty unnoticed; the crawl says so, and fails."""
    words = ["crawl", "--seed", "37", "--minutes", "1.7", "--direct"]
    assert Exit.OK == main(words)
    monkeypatch.setattr("nerves.charging.nerve.next_step", lambda *_: None)
    assert Exit.FAILED == main(words)
    assert "✗ the body's battery ran empty" in capsys.readouterr().out


@pytest.mark.spec("NIM-13")
def test_what_makes_a_collision_avoidable() -> None:
    """It is the first sure reading of that approach that counts: none, or one inside the stopping distance, excuses."""
    assert [False, False, True] == [
        Contact(0, 1, (0, 0), 200, first_mm).avoidable for first_mm in (None, STOPPING_MM - 1, STOPPING_MM)
    ]


@pytest.mark.spec("NIM-13", "X-07")
@pytest.mark.parametrize("seed", [1, 2])
def test_trouble_on_the_bus_hurts_nobody(seed: int) -> None:
    """With messages lost, doubled and late and parts killed at any moment the claim holds, and the seed is a log."""
    layouts = [drawn(seed, 0.5)]
    first, again = (alive.crawl(layouts, seed, 0.5, HARSH) for _ in range(2))
    assert (0, False) == (first.records[0].avoidable, first.records[0].unnoticed)
    assert (first.digest, first.crashes) == (again.digest, again.crashes)
    assert 3 < first.crashes


@pytest.mark.spec("NIM-13", "X-12")
@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--seed", "2", "--faults", "skew=8"), "nothing was moved and nothing was decided: .* refused, .* R001 "),
        (("--seed", "3", "--faults", "skew=20"), "charging could not start: R001 .* in the future"),
        (("--seed", "3", "--direct", "--minutes", "0.0001"), "nothing was moved and nothing was decided: "),
    ],
)
def test_a_body_that_did_not_live_shows_nothing(
    words: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where nothing was moved or decided, or a part was not let in, there is no ✓: it says why, and ends with 1."""
    assert Exit.FAILED == main(["crawl", "--minutes", "0.1", *words])
    last = capsys.readouterr().out.splitlines()[-1]
    assert re.fullmatch(f"✗ the body did not live, so nothing is shown: .*{why}.*", last), last


@pytest.mark.spec("NIM-13")
def test_many_bodies_of_which_some_did_not_live(capsys: pytest.CaptureFixture[str]) -> None:
    """Of many seeds each that showed nothing is named, and the whole does not hold."""
    assert Exit.FAILED == main(["crawl", "--seed", "1", "--seeds", "2", "--minutes", "0.1", "--faults", "skew=8"])
    captured = capsys.readouterr()
    assert "seed 1 did not hold: ✗ the body did not live" in captured.err
    assert "✗ the body did not live in " in captured.out


# What it does where it can go no further


@pytest.mark.spec("NIM-13", "X-10")
def test_an_arena_with_no_exit_by_command(capsys: pytest.CaptureFixture[str]) -> None:
    """`crawl --boxed` shows a body that found no way out: it says so, called for help, and went nowhere."""
    assert Exit.OK == main(["crawl", "--boxed", "--seed", "7", "--minutes", "0.25", "--direct", "--json"])
    [run] = json.loads(capsys.readouterr().out)["runs"]
    assert (1, 1, 0, 0) == (run["boxed_in"], run["calls_for_help"], run["distance_mm"], run["collisions"])
    assert Exit.OK == main(["crawl", "--boxed", "--seed", "7", "--minutes", "0.25", "--direct"])
    assert "collision: boxed_in " in capsys.readouterr().out


@pytest.mark.spec("NIM-13")
def test_sensors_that_contradict_each_other_in_an_arena() -> None:
    """Before glass, which sound sees and light does not, the body stops, names the contradiction, and turns away."""
    record, _ = crawled(hall(discs=(Disc(1_800, 600, 300, glass=True),)), 0.25)
    first = next(d for d in record.decisions if isinstance(d, CollisionDecided) and "DETECT" in d.path)
    assert "contradiction" == first.reason
    assert (0, "confirmed") == (len(record.contacts), record.evasions[0].outcome)


@pytest.mark.spec("NIM-13")
def test_boxed_in_it_stops() -> None:
    """In a pen with no way out it turns once around, calls for help, then stands still, and goes nowhere."""
    told = alive.crawl([boxed(7)], 7, 0.5)
    [record], [arena] = told.records, told.arenas
    assert (1, 1, 0, 0) == (record.boxed_in, record.calls_for_help, record.travelled_mm, len(record.contacts))
    assert (0, 0) == (arena.drive.speed_mm_s, arena.drive.rate_cdeg_s)
    again, _ = crawled(boxed(7), 3.0, 7)
    assert 3 == again.calls_for_help


@pytest.mark.spec("NIM-23")
@pytest.mark.parametrize(
    ("nerves", "moves"),
    [((), False), (("collision",), False), (("exploration",), True), (("exploration", "charging"), True)],
)
def test_each_nerve_lives_without_the_others(nerves: tuple[str, ...], *, moves: bool) -> None:
    """Cells alone only feel; a nerve alone does what it does, and the explorer still stops before what it sees."""
    body = direct.DirectCrawl(hall(), 1)
    body.minds = [mind for mind in body.minds if mind.nerve.name in nerves]
    body.live(0.5)
    assert (moves, 0) == (body.record.travelled_mm > 0, len(body.record.contacts))
    assert 0 < body.record.waves


@pytest.mark.spec("NIM-13")
def test_it_finds_its_dock() -> None:
    """With a battery that is low it finds the light over its dock, stays until it is charged, and goes on."""
    record, arena = crawled(hall(charge_ppm=200_500), 1.5)
    charged = [(d.before, d.after, d.reason) for d in by_nerve(record)[2] if isinstance(d, ChargingDecided)]
    assert [("CONTENT", "SEEK", "low"), ("SEEK", "DOCKED", "docked"), ("DOCKED", "CONTENT", "charged")] == charged
    assert 700_000 < arena.charge_ppm


@pytest.mark.spec("NIM-13")
def test_an_empty_battery_was_announced() -> None:
    """Where no dock can be reached the battery ends, never below nothing, and decisions said so before."""
    record, arena = crawled(hall(dock=(1_500, 90_000), charge_ppm=60_000), 1.0)
    assert (0, True, False) == (arena.energy_uj, record.empty_ms is not None, record.unnoticed)
    assert {"charging: low": 1, "charging: critical": 1, "charging: exhausted": 1}.items() <= record.reasons.items()
    silent = Record(empty_ms=1)
    assert silent.unnoticed


# What it learns


@pytest.mark.spec("NIM-13")
def test_evasions_become_cheaper(capsys: pytest.CaptureFixture[str]) -> None:
    """The page prints how it learns, a line for each arena: an evasion costs 10 lifeforce at first and 2.5 at last."""
    assert Exit.OK == main(["crawl", "--seed", "0", "--runs", "6", "--minutes", "2", "--direct"])
    row = re.compile(r" +\d+ .* ([01]\.\d\d)  (\w+) +(\d+\.\d\d) LF +(\d+) ms .*")
    curve = [found.groups() for line in capsys.readouterr().out.splitlines() if (found := row.fullmatch(line))]
    weights, habits = [float(weight) for weight, *_ in curve], [habit for _, habit, *_ in curve]
    costs, took = [float(cost) for *_, cost, _ in curve], [int(ms) for *_, ms in curve]
    assert (6, "deliberate", "reflex") == (len(curve), habits[0], habits[-1])
    assert (sorted(weights), sorted(costs[:4], reverse=True)) == (weights, costs[:4])
    assert 2.5 == costs[-1] < costs[0] / 3
    assert took[-1] < took[0]


def weighed(domain: str, after_ppm: int, signal: bytes = bytes(16), before_ppm: int = 0) -> WeightChanged:
    """A gate's changed weight."""
    return replace(sample(WeightChanged), domain=domain, signal=signal, before_ppm=before_ppm, after_ppm=after_ppm)


GATES = tuple(find_part(name) for name in ("organs.meaning", "nerves.gate", "nerves.outcome", "nerves.thalamus"))


@pytest.mark.spec("NIM-05", "NIM-06", "NIM-13")
def test_with_gates_the_reflex_acts_and_its_outcome_is_reported() -> None:
    """The gates that ship: danger's reflex stops the body, its evasion costs 2.5 from the first on and is confirmed,
    which makes the gate more trusted; one cell alone that sees an obstacle opens no gate. All decisions come out again.
    """
    layout = drawn(3, 1.0)
    [record] = alive.crawl([layout], 3, 1.0, more=GATES).records
    [alone] = alive.crawl([layout], 3, 1.0).records
    reflexes = [evasion for evasion in record.evasions if evasion.habit == "reflex"]
    assert [(2_500_000, "confirmed")] * 2 == [(evasion.cost_ulf, evasion.outcome) for evasion in reflexes]
    assert {"deliberate"} == {evasion.habit for evasion in alone.evasions}
    assert len(reflexes) == record.reasons["gate of danger: confirmed"] < record.reasons["gate of danger: reflex"]
    assert {"gate of danger: reflex", "gate of danger: confirmed"} == {
        what for what in record.reasons if what.startswith("gate")
    }
    [(domain, gate)] = record.weights.gates.items()
    assert ("danger", True) == (domain, gate.granted)
    assert 920_000 < gate.weight_ppm
    assert 0 == record.avoidable


@pytest.mark.spec("NIM-06")
def test_each_weight_stands_for_itself() -> None:
    """The nerve's own count and what each gate earned are told apart, whoever spoke last; a grant can be taken back."""
    weights = Weights()
    weights.take(weighed("joy", 1))
    assert (100_000, False, {}) == (weights.own_ppm, weights.reflex, weights.gates)
    weights.take(ReflexGranted("danger", granted=True, weight_ppm=900_000, reason=""))
    weights.take(weighed("obstacle", 120_000))
    weights.take(weighed("danger", 880_000))
    both = {"danger": Gate(880_000, granted=True), "obstacle": Gate(120_000)}
    assert (100_000, False, both) == (weights.own_ppm, weights.reflex, weights.gates)
    weights.take(ReflexGranted("danger", granted=False, weight_ppm=780_000, reason=""))
    assert {"danger": Gate(780_000), "obstacle": Gate(120_000)} == weights.gates


@pytest.mark.spec("NIM-06", "X-10")
def test_what_the_gates_earned_is_shown_apart(capsys: pytest.CaptureFixture[str]) -> None:
    """With gates the page has a line for each that earned something, beside the nerve's own weight; so has the JSON."""
    words = ["crawl", "--seed", "3", "--minutes", "0.5"]
    for name in ("organs.meaning", "nerves.gate", "nerves.outcome"):
        words += ["--part", name]
    assert Exit.OK == main(words)
    shown = capsys.readouterr().out
    assert "gate of danger: weight 0.9" in shown
    assert ", acts at once" in shown
    assert Exit.OK == main([*words, "--json"])
    [run] = json.loads(capsys.readouterr().out)["runs"]
    assert (["danger"], False) == ([*run["gates"]], run["reflex"])
    assert run["weight_ppm"] < 300_000 < run["gates"]["danger"]["weight_ppm"]


# The arena


@pytest.mark.spec("X-08")
@given(st.integers(-100_000, 100_000))
def test_integers_know_their_sine(cdeg: int) -> None:
    """Sine and cosine are integers, and what the processor's own say, rounded."""
    assert (round(math.sin(math.radians(cdeg / 100)) * ONE), sine(cdeg + 9_000)) == (sine(cdeg), cosine(cdeg))


@pytest.mark.spec("X-08")
@given(st.integers(0, 10_000))
def test_an_arena_can_be_lived_in(seed: int) -> None:
    """In every arena the dock is free, the body fits between what stands there, and what is sudden comes in time."""
    layout = drawn(seed, 2.0)
    assert layout == drawn(seed, 2.0)
    for number, disc in enumerate(layout.discs):
        for x, y, radius in [(*layout.dock, DOCK_MM), *((d.x_mm, d.y_mm, d.radius_mm) for d in layout.discs[:number])]:
            assert math.dist((disc.x_mm, disc.y_mm), (x, y)) >= disc.radius_mm + min(radius, GAP_MM) + 2 * BODY_MM
    assert all(10 <= sudden.gap_mm < 500 and sudden.after_ms < 120_000 for sudden in layout.sudden)


@pytest.mark.spec("X-08")
@given(st.integers(0, 500), st.integers(0, 35_999))
def test_the_way_ahead_is_free_as_far_as_it_says(seed: int, cdeg: int) -> None:
    """From the start, in any direction, the body touches nothing over the way that is called free."""
    layout = drawn(seed)
    arena = Arena(layout, lambda: 0)
    way, _ = arena.free(cdeg, BODY_MM)
    x, y = layout.start[0] + way * cosine(cdeg) / ONE, layout.start[1] + way * sine(cdeg) / ONE
    rounding = 2
    assert BODY_MM - rounding <= x <= layout.width_mm - BODY_MM + rounding
    assert BODY_MM - rounding <= y <= layout.depth_mm - BODY_MM + rounding
    for disc in layout.discs:
        assert math.dist((x, y), (disc.x_mm, disc.y_mm)) >= disc.radius_mm + BODY_MM - 2 * rounding


@pytest.mark.spec("NIM-12")
def test_glass_is_seen_by_sound_alone() -> None:
    """Infrared looks through glass, sound does not, and the body runs into it all the same."""
    arena = Arena(hall(discs=(Disc(1_500, 600, 100, glass=True),)), lambda: 0)
    assert (720, 0) == arena.ahead()
    assert 2_000 < arena.ahead(through_glass=True)[0]


@pytest.mark.spec("NIM-12")
def test_the_order_of_questions_changes_nothing() -> None:
    """Asked in between or only in the end, the arena is the same at the same time."""

    def left(asked_every_ms: int) -> tuple[object, ...]:
        now = [0]
        arena = Arena(hall(), lambda: now[0])
        arena.move(Motion(CRUISE_MM_S, 0, 1_500))
        for at_ms in range(asked_every_ms, 3_001, asked_every_ms):
            now[0] = at_ms
            arena.advance()
        return arena.position, arena.energy_uj, arena.drive.state, arena.drive.spent_ulf, arena.travelled_um

    assert left(3_000) == left(10) == left(15) == left(1)
    assert CAPACITY_UJ > left(3_000)[1] > 0  # type: ignore[operator] # pyright: ignore[reportOperatorIssue] - an integer


# Showing it


@pytest.mark.spec("X-10")
def test_a_crawl_can_be_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints the arena, a line for each run, and what was decided; --plot writes the way as SVG."""
    plot = tmp_path / "way.svg"
    words = ["crawl", "--seed", "7", "--minutes", "0.25", "--runs", "2", "--plot", str(plot)]
    assert Exit.OK == main(words)
    shown, told = capsys.readouterr()
    assert f"wrote {plot}" in told
    for what in ("D", "@", "per evasion", "exploration: clear", "digest", "✓ no collision"):
        assert what in shown, what
    assert plot.read_text().startswith("<svg") and plot.read_text().endswith("</svg>\n")  # noqa: PT018 - one document


@pytest.mark.spec("X-10")
def test_many_seeds_add_up(capsys: pytest.CaptureFixture[str]) -> None:
    """--seeds crawls once for each and prints sums; JSON holds the same."""
    assert Exit.OK == main(["crawl", "--seed", "0", "--seeds", "3", "--minutes", "0.2", "--direct", "--json"])
    told = json.loads(capsys.readouterr().out)
    single = [crawled(drawn(seed, 0.2), 0.2, seed)[0].summary() for seed in range(3)]
    assert (3, [], sum(s["waves"] for s in single)) == (told["seeds"], told["broken"], told["totals"]["waves"])
    assert Exit.OK == main(["crawl", "--seed", "0", "--seeds", "2", "--minutes", "0.1", "--direct"])
    assert "seeds 0 to 1" in capsys.readouterr().out


@pytest.mark.spec("X-12")
@pytest.mark.parametrize(
    "words",
    [
        ("--direct", "--faults", "drop=0.1"),
        ("--direct", "--part", "cells.math_cell"),
        ("--part", "nerves.nobody"),
        ("--faults", "flood=1"),
        ("--seeds", "2", "--runs", "2"),
        ("--seeds", "2", "--plot", "x.svg"),
    ],
)
def test_what_does_not_go_together(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Options that contradict each other are a wrong setting, said in one sentence."""
    assert Exit.CONFIG == main(["crawl", "--seed", "1", "--minutes", "0.1", *words])
    assert 1 == capsys.readouterr().err.count("\n")


@pytest.mark.spec("X-12")
def test_a_picture_that_cannot_be_written(tmp_path: Path) -> None:
    """A plot that cannot be written is a storage fault, with its own exit code."""
    words = ["crawl", "--seed", "1", "--minutes", "0.1", "--direct", "--plot", str(tmp_path / "none" / "x.svg")]
    assert Exit.STORAGE == main(words)


@pytest.mark.spec("X-10")
def test_pictures_show_what_is_there() -> None:
    """Both pictures show discs, glass, dock, start and body, and whatever was run into."""
    arena = Arena(hall(discs=(Disc(2_000, 600, 150), Disc(2_400, 2_400, 150, glass=True))), lambda: 0)
    arena.contacts.append(Contact(0, 0, (1_700, 600), 200, None))
    text = ascii_map(arena)
    assert {"o", "g", "D", "@", "X"} <= set(text.rpartition("+")[0])
    assert 6 == svg(arena).count("<circle")
