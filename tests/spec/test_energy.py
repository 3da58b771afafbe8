"""A site's energy: windows over every minute of every kind of day, meters, staleness, and what the nerve records."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import pairwise, product
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from cells.energy_cell import EnergyCell
from cells.energy_cell.cell import METER_BEATS, Site, local_minute, meter_of
from cells.energy_cell.meters import CsvMeter, DeclaredMeter, FileMeter, NoMeter
from deploy.recheck import Rerun
from nerves.energy import EnergyNerve
from nerves.energy.nerve import STALE_MS, EnergyWindow, WindowState
from shared.bus import Bus
from shared.codec import decode, encode
from shared.config import load
from shared.errors import ConfigFault, Refusal, Refused
from shared.message import registered
from shared.part.nerve import Evidence
from shared.policy import Policies
from shared.subjects.energy import PowerWindow, PowerWindowDecided, PowerWindowRequest, SiteReading
from shared.subjects.system import Tick
from shared.world import SimWorld, now_ms
from tests.commands import Home
from tests.ground import ENV, Founded, Ground, play_sim
from tests.parts import own_metrics, stage
from tests.published import published

POLICIES = Policies.shipped()
START_MS = 1_767_225_600_000
DAY_MINUTES = 1_440
NIGHT = (120, 360)


def window(power_kw: int, soc_ppm: int, minute: int, hours: tuple[int, int] = NIGHT, *, heavy: bool = False) -> Any:  # noqa: ANN401
    """What the policy says: (allowed, reason, scale, delay, throttle)."""
    found = POLICIES.evaluate(
        "nimmerverse.energy",
        {
            "power_kw": power_kw,
            "soc_ppm": soc_ppm,
            "minute": minute,
            "off_peak_from": hours[0],
            "off_peak_to": hours[1],
            "heavy": heavy,
        },
    )
    v = found.values
    return found.allowed, v["reason"], v["scale_ppm"], v["delay_s"], v["throttle_ppm"]


GRID = (False, "GRID_CONSTRAINT", 500_000, 900, 500_000)
WAIT = (False, "OFFPEAK_REQUIRED", 500_000, 1_800, 0)


def ok(scale_ppm: int) -> tuple[bool, str, int, int, int]:
    """A window that is open."""
    return (True, "OK", scale_ppm, 0, 1_000_000)


# COL-06 as it is written


@pytest.mark.spec("COL-06", "COL-12")
@pytest.mark.parametrize(
    ("power_kw", "soc_ppm", "minute", "said"),
    [
        (250_000, 1_000_000, 720, ok(1_000_000)),
        (250_001, 1_000_000, 720, GRID),
        (250_001, 0, 720, GRID),
        (250_001, 1_000_000, 180, GRID),
        (0, 800_000, 720, ok(1_000_000)),
        (0, 799_999, 720, ok(800_000)),
        (0, 400_001, 720, ok(800_000)),
        (0, 400_000, 720, WAIT),
        (0, 0, 720, WAIT),
        (0, 400_000, 119, WAIT),
        (0, 400_000, 120, ok(500_000)),
        (0, 0, 359, ok(500_000)),
        (0, 0, 360, WAIT),
        (0, 400_001, 200, ok(800_000)),
        (0, 800_000, 200, ok(1_000_000)),
    ],
)
def test_a_window_is_what_the_rules_say(power_kw: int, soc_ppm: int, minute: int, said: object) -> None:
    """More than 250 MW throttles; exactly 0.4 does not start outside the night; scale follows the charge."""
    assert said == window(power_kw, soc_ppm, minute)


@pytest.mark.spec("COL-07")
def test_a_heavy_run_waits_for_the_night_or_a_full_battery() -> None:
    """Heavy starts in the off-peak hours at any charge, outside them from 0.8 on."""
    assert WAIT == window(0, 799_999, 720, heavy=True)
    assert ok(1_000_000) == window(0, 800_000, 720, heavy=True)
    assert ok(500_000) == window(0, 0, 180, heavy=True)
    assert GRID == window(250_001, 1_000_000, 180, heavy=True)


@pytest.mark.spec("COL-06", "X-06")
@pytest.mark.parametrize("missing", ["power_kw", "soc_ppm", "minute", "off_peak_from", "off_peak_to", "heavy"])
def test_without_a_reading_nothing_starts(missing: str) -> None:
    """NO_READING, scale 0, and what runs holds still, whichever part of the reading is missing."""
    given = {"power_kw": 1, "soc_ppm": 1_000_000, "minute": 1, "off_peak_from": 0, "off_peak_to": 5, "heavy": False}
    del given[missing]
    found = POLICIES.evaluate("nimmerverse.energy", given)
    assert (False, "NO_READING", 0, 0) == (
        found.allowed,
        found.values["reason"],
        found.values["scale_ppm"],
        found.values["throttle_ppm"],
    )


# What the sources' own code and policy say instead (FACTS of the sources: scheduler in UTC, scale left undefined)


def reference_scheduler(power_kw: int, soc_ppm: int, minute_utc: int) -> tuple[bool, str, int]:
    """The source's scheduler: exactly 0.4 starts, the window is UTC, ends after 06:00 and never crosses midnight."""
    if power_kw > 250_000:
        return False, "GRID_CONSTRAINT", 500_000
    if soc_ppm < 400_000 and not 120 <= minute_utc <= 360:
        return False, "OFFPEAK_REQUIRED", 500_000
    return True, "OK", 1_000_000 if soc_ppm >= 800_000 else 800_000 if soc_ppm >= 400_000 else 500_000


def reference_scale(power_kw: int, soc_ppm: int) -> int | None:
    """The source's policy: the scale is undefined where the battery is full at more than 200 MW, and above 250 MW."""
    if power_kw <= 200_000 and soc_ppm >= 800_000:
        return 1_000_000
    if power_kw <= 250_000 and 400_000 <= soc_ppm < 800_000:
        return 800_000
    return 500_000 if soc_ppm < 400_000 else None


POWERS = (0, 200_000, 200_001, 225_000, 250_000, 250_001, 260_000)
MINUTES = (0, 1, 118, 119, 120, 121, 240, 358, 359, 360, 361, 720, 1_438, 1_439)
CHARGES = (0, 300_000, 399_999, 400_000, 400_001, 799_999, 800_000, 1_000_000)


@pytest.mark.spec("COL-06")
def test_where_the_source_says_otherwise() -> None:
    """Ours differs from the source's scheduler at a charge of exactly 0.4 and in the minute of 06:00, nowhere else."""
    differing = {
        (soc, minute)
        for power, soc, minute in product(POWERS, CHARGES, MINUTES)
        if window(power, soc, minute)[:3] != reference_scheduler(power, soc, minute)
    }
    assert {soc for soc, minute in differing if minute != 360} == {400_000}
    assert {soc for soc, minute in differing if minute == 360} == {0, 300_000, 399_999, 400_000}


@pytest.mark.spec("COL-12")
def test_the_scale_is_said_wherever_the_source_leaves_it_undefined() -> None:
    """Both regions without a scale are found, and ours says one in each of them."""
    silent = {(p, s) for p, s in product(POWERS, CHARGES) if reference_scale(p, s) is None}
    assert {(p, s) for p in (200_001, 225_000, 250_000) for s in (800_000, 1_000_000)} <= silent
    assert {(p, s) for p in (250_001, 260_000) for s in (400_000, 800_000, 1_000_000)} <= silent
    assert all(window(power, soc, 720)[2] in (500_000, 1_000_000) for power, soc in silent)
    assert 500_000 == reference_scale(260_000, 300_000), "a scale for what may not start"


# Days


@pytest.mark.spec("COL-06")
@pytest.mark.parametrize("hours", [NIGHT, (1_320, 270), (0, 1), (1_439, 0), (1_439, 1), (600, 600), (60, 1_439)])
def test_a_window_may_cross_midnight(hours: tuple[int, int]) -> None:
    """Over every minute of a day, the window holds from its first minute on and no more at its last."""
    begins, ends = hours
    length = (ends - begins) % DAY_MINUTES
    inside = {(begins + step) % DAY_MINUTES for step in range(length)}
    assert inside == {minute for minute in range(DAY_MINUTES) if window(0, 0, minute, hours)[0]}


def minutes_of(day: date, zone: tzinfo) -> list[int]:
    """The local minutes of a day as they pass, one for each real minute between two midnights of the place."""
    at, ends = (datetime.combine(day + timedelta(days=n), time(), zone).astimezone(UTC) for n in (0, 1))
    found = list[int]()
    while at < ends:
        found.append(local_minute(int(at.timestamp() * 1_000), zone))
        at += timedelta(minutes=1)
    return found


#: (zone, day, real minutes of the day, (the real minute of the change, local minute before it, and from it on))
CHANGES = [
    ("Europe/Berlin", date(2026, 3, 29), 1_380, (120, 119, 180)),
    ("Europe/Berlin", date(2026, 10, 25), 1_500, (180, 179, 120)),
    ("America/New_York", date(2026, 3, 8), 1_380, (120, 119, 180)),
    ("America/New_York", date(2026, 11, 1), 1_500, (120, 119, 60)),
    ("Australia/Lord_Howe", date(2026, 10, 4), 1_410, (120, 119, 150)),
    ("Australia/Lord_Howe", date(2026, 4, 5), 1_470, (120, 119, 90)),
]


@pytest.mark.spec("COL-06")
@pytest.mark.parametrize(("name", "day", "minutes", "jump"), CHANGES)
def test_the_site_s_clock_changes_with_its_zone(name: str, day: date, minutes: int, jump: tuple[int, int, int]) -> None:
    """On both days of the year, every real minute has the wall clock's minute: one jump, forward or back."""
    found = minutes_of(day, ZoneInfo(name))
    jumps = [(n, one, two) for n, (one, two) in enumerate(pairwise(found), 1) if two != one + 1]
    assert (minutes, [jump]) == (len(found), jumps)
    assert (0, DAY_MINUTES - 1) == (found[0], found[-1])


@pytest.mark.spec("COL-06")
@pytest.mark.parametrize(
    ("hours", "spring", "ordinary", "autumn"),
    [(NIGHT, 180, 240, 300), ((1_320, 270), 330, 390, 450), ((120, 180), 0, 60, 120), ((240, 360), 120, 120, 120)],
)
def test_the_night_is_shorter_in_spring_and_longer_in_autumn(
    hours: tuple[int, int], spring: int, ordinary: int, autumn: int
) -> None:
    """In Berlin 02:00–06:00 lasts three hours in March, five in October, and what lies beside the change is as ever."""
    zone = ZoneInfo("Europe/Berlin")
    found = [
        sum(window(0, 0, minute, hours)[0] for minute in minutes_of(day, zone))
        for day in (date(2026, 3, 29), date(2026, 7, 1), date(2026, 10, 25))
    ]
    assert [spring, ordinary, autumn] == found


@pytest.mark.spec("COL-06")
def test_the_source_reads_the_night_by_the_wrong_clock() -> None:
    """At 02:30 in Berlin it is half past midnight in Greenwich: ours is open, the source's is not."""
    at_ms = int(datetime(2026, 7, 1, 0, 30, tzinfo=UTC).timestamp() * 1_000)
    assert 150 == local_minute(at_ms, ZoneInfo("Europe/Berlin"))
    assert window(0, 0, 150)[0]
    assert not reference_scheduler(0, 0, local_minute(at_ms, UTC))[0]


# Meters


def cell(tmp_path: Path, **settings: str) -> EnergyCell:
    """A cell as the settings make it."""
    given = {"home": str(tmp_path), "site": "here"} | settings
    return EnergyCell.build(load({}, given, "here").settings, SimWorld(ENV, 1))


def beat(energy: EnergyCell, number: int = 1) -> list[SiteReading]:
    """What the cell says at a beat."""
    return list(energy.on_tick(Tick("energy_cell", "0" * 16, number, START_MS)))


@pytest.mark.spec("COL-16", "X-06")
@pytest.mark.parametrize("env", ["dev", "staging", "prod"])
def test_only_in_dev_is_a_site_s_power_declared_unasked(tmp_path: Path, env: str) -> None:
    """A fresh machine in dev declares a kilowatt and says so; elsewhere nobody is believed without a meter."""
    said = beat(cell(tmp_path, env=env))
    if env != "dev":
        assert [] == said
        return
    [reading] = said
    assert ("declared", 1, 1_000_000, None) == (reading.source, reading.power_kw, reading.soc_ppm, reading.nox_mg_h)


@pytest.mark.spec("COL-16")
def test_what_the_operator_says_of_the_site_travels_with_the_reading(tmp_path: Path) -> None:
    """Zone, hours and permit stand in every reading, so that whoever judges it needs no settings."""
    energy = cell(
        tmp_path,
        energy_zone="Asia/Kolkata",
        energy_off_peak="22:30-04:15",
        energy_nox_permit_mg_h="77",
        energy_declared_kw="9",
    )
    [reading] = beat(energy)
    at = datetime.fromtimestamp(reading.taken_ms // 1_000, UTC) + timedelta(hours=5, minutes=30)
    assert (60 * at.hour + at.minute, 22 * 60 + 30, 255, 77, 9) == (
        reading.local_minute,
        reading.off_peak_from,
        reading.off_peak_to,
        reading.nox_permit_mg_h,
        reading.power_kw,
    )
    assert [0] * (METER_BEATS - 1) == [len(beat(energy, number)) for number in range(2, METER_BEATS + 1)]


@pytest.mark.spec("COL-16", "X-06")
@pytest.mark.parametrize(("said", "expected"), [("", None), ("none", False), ("yes", True)])
def test_of_turbines_a_reading_says_what_the_operator_says(tmp_path: Path, said: str, expected: bool | None) -> None:  # noqa: FBT001
    """Unasked it says nothing, in dev too, and so does the decision; a site without any is one of which it is said."""
    [read] = beat(cell(tmp_path, energy_turbines=said))
    decided = EnergyNerve().judged("here", "boundary", False, read)  # noqa: FBT003 - not heavy
    assert (expected, expected) == (read.turbines, decided.turbines)


@pytest.mark.spec("COL-16", "COL-17")
def test_no_turbines_have_no_permit(tmp_path: Path) -> None:
    """Whoever says both that there are none and what they may emit is told which settings contradict each other."""
    with pytest.raises(ConfigFault, match=r"energy_turbines .* and energy_nox_permit_mg_h .* contradict"):
        cell(tmp_path, energy_turbines="none", energy_nox_permit_mg_h="77")
    assert beat(cell(tmp_path, energy_turbines="yes", energy_nox_permit_mg_h="77"))


@pytest.mark.spec("COL-16", "COL-17")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("energy_zone", "Mars/Olympus"),
        ("energy_zone", "../../etc/passwd"),
        ("energy_off_peak", "2:00-6:00"),
        ("energy_off_peak", "02:00-24:00"),
        ("energy_meter", "modbus"),
        ("energy_declared_kw", "-1"),
        ("energy_nox_permit_mg_h", "none"),
        ("energy_turbines", "0"),
    ],
)
def test_a_site_that_cannot_be_is_a_wrong_setting(tmp_path: Path, name: str, value: str) -> None:
    """An unknown zone, hours that are none and a meter that nobody wrote are refused at the start."""
    with pytest.raises(ConfigFault, match=name):
        cell(tmp_path, **{name: value})


@pytest.mark.spec("COL-16", "COL-17")
@pytest.mark.parametrize("kind", ["file", "csv"])
def test_a_meter_without_its_file_is_a_wrong_setting(tmp_path: Path, kind: str) -> None:
    """Which file is read has to be said."""
    with pytest.raises(ConfigFault, match="energy_meter_file"):
        cell(tmp_path, energy_meter=kind)


@pytest.mark.spec("COL-16")
def test_a_meter_s_program_writes_its_readings_to_a_file(tmp_path: Path) -> None:
    """Before the first one there is none; then each beat says what stands there, with the time it was measured."""
    file = tmp_path / "meter.json"
    energy = cell(tmp_path, energy_meter="file", energy_meter_file=str(file))
    assert [] == beat(energy)
    file.write_text('{"taken_ms": 1767225600000, "power_kw": 1200, "soc_ppm": 450000, "nox_mg_h": 3}')
    [reading] = beat(energy)
    assert ("file", START_MS, 1_200, 450_000, 3) == (
        reading.source,
        reading.taken_ms,
        reading.power_kw,
        reading.soc_ppm,
        reading.nox_mg_h,
    )


@pytest.mark.spec("COL-16", "X-06")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "not json",
        '{"taken_ms": 1}',
        '{"taken_ms": 1, "power_kw": 1.5, "soc_ppm": 1}',
        '{"taken_ms": 1, "power_kw": -1, "soc_ppm": 1}',
        '{"taken_ms": 1, "power_kw": 1, "soc_ppm": 1000001}',
        '{"taken_ms": 1, "power_kw": 1, "soc_ppm": 1, "power_mw": 1}',
        '{"taken_ms": 1, "power_kw": "NaN", "soc_ppm": 1}',
        "[" * 100_000,
        '{"taken_ms": 1, "power_kw": 1, "soc_ppm": 1}' + " " * 70_000 + "x",
    ],
)
def test_what_is_no_reading_is_refused_by_name(tmp_path: Path, text: str) -> None:
    """A half-written file, a float, a unit of another name: W002, and nothing is guessed."""
    file = tmp_path / "meter.json"
    file.write_text(text)
    meter = FileMeter(file)
    if text.endswith("x"):
        assert meter.read(0) is not None, "what comes after the largest reading is not looked at"
        return
    with pytest.raises(Refused, match="W002"):
        meter.read(0)


@pytest.mark.spec("COL-16")
def test_a_recorded_series_is_played_as_it_came(tmp_path: Path) -> None:
    """The first row is now, each later one comes when it came, and after the last its age grows."""
    file = tmp_path / "series.csv"
    file.write_text("taken_ms,power_kw,soc_ppm,nox_mg_h\n1000,10,1,\n11000,20,2,5\n31000,30,3,6\n")
    meter = CsvMeter(file)
    told = [meter.read(START_MS + after) for after in (0, 9_999, 10_000, 29_999, 30_000, 500_000)]
    assert [10, 10, 20, 20, 30, 30] == [reading.power_kw for reading in told if reading]
    assert [0, 0, 10_000, 10_000, 30_000, 30_000] == [reading.taken_ms - START_MS for reading in told if reading]
    assert [None, None, 5, 5, 6, 6] == [reading.nox_mg_h for reading in told if reading]


@pytest.mark.spec("COL-16", "X-06")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "taken_ms,power_kw,soc_ppm\n",
        "taken_ms,power_kw,soc_ppm\n2,1,1\n1,1,1\n",
        "taken_ms,power_kw,soc_ppm\n1,1,1\n1,1,1\n",
        "taken_ms,power_kw,soc_ppm\n1,0.5,1\n",
        "taken_ms,power_mw,soc_ppm\n1,1,1\n",
        "taken_ms,power_kw,soc_ppm\n1,1\n",
        "taken_ms,power_kw,soc_ppm\n1,1,1,1,1\n",
    ],
)
def test_a_series_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    """No row, time that goes back, floats, other columns: W002 names the line."""
    file = tmp_path / "series.csv"
    file.write_text(text)
    with pytest.raises(Refused, match="W002"):
        CsvMeter(file).read(0)


@pytest.mark.spec("COL-16")
def test_settings_name_the_meter(tmp_path: Path) -> None:
    """Each kind of meter is found by its name."""
    found = {
        kind: type(meter_of(load({}, {"home": str(tmp_path), **given}, "h").settings))
        for kind, given in {
            "none": {"energy_meter": "none"},
            "declared": {"energy_meter": "declared", "env": "prod"},
            "file": {"energy_meter": "file", "energy_meter_file": "/x"},
            "csv": {"energy_meter": "csv", "energy_meter_file": "/x"},
        }.items()
    }
    assert {"none": NoMeter, "declared": DeclaredMeter, "file": FileMeter, "csv": CsvMeter} == found


# The nerve


def reading(taken_ms: int, power_kw: int = 1_000, soc_ppm: int = 900_000, minute: int = 720) -> SiteReading:
    """One reading."""
    return SiteReading("here", "file", taken_ms, power_kw, soc_ppm, None, None, None, minute, *NIGHT)


class Place:
    """A site under one nerve; every decision is made again from its evidence."""

    def __init__(self) -> None:
        self.nerve = EnergyNerve()
        self.state, self.window = self.nerve.start(), self.nerve.empty()
        self.now_ms = START_MS

    def hear(self, message: SiteReading | PowerWindowRequest | Tick) -> list[Any]:
        """Decide about one message as the runner does, and evolve."""
        evidence = self.nerve.evidence(self.window, message, bytes(16), self.now_ms)
        self.window, said = self.nerve.decide(self.state, self.window, message, self.now_ms)
        assert not isinstance(said, Refusal)
        decided = [each for each in said if isinstance(each, PowerWindowDecided)]
        assert [encode(each) for each in decided] == EnergyNerve().decide_again(self.state, evidence, registered())
        assert {"policy": POLICIES.digest} == decode(Evidence, evidence).digests
        for each in decided:
            self.state = self.nerve.evolve(self.state, each)
        return said

    def read(self, after_ms: int = 1_000, **facts: int) -> list[Any]:
        """Let time pass, then hear a reading of that moment."""
        self.now_ms += after_ms
        return self.hear(reading(self.now_ms, **facts))

    def tick(self, after_ms: int) -> list[Any]:
        """Let time pass, then beat."""
        self.now_ms += after_ms
        return self.hear(Tick("energy", "0" * 16, 1, self.now_ms))

    def ask(self, purpose: str = "boundary", *, heavy: bool = False) -> tuple[PowerWindowDecided, PowerWindow]:
        """Ask for a purpose."""
        decided, reply = self.hear(PowerWindowRequest("here", purpose, heavy))
        return decided, reply


@pytest.mark.spec("COL-06", "X-02")
def test_a_window_is_decided_when_it_changes() -> None:
    """Readings that change nothing decide nothing; one that does is written down with what was read and judged."""
    place = Place()
    [first] = place.read()
    assert ("", True, "OK", 1_000_000, "file") == (
        first.purpose,
        first.allowed,
        first.reason,
        first.scale_ppm,
        first.source,
    )
    assert (POLICIES.digest, POLICIES.engine) == (first.policy, first.engine)
    assert [] == place.read(power_kw=249_000)
    [over] = place.read(power_kw=250_001)
    assert (False, "GRID_CONSTRAINT", 250_001, 500_000) == (
        over.allowed,
        over.reason,
        over.power_kw,
        over.throttle_ppm,
    )
    assert ["OK"] == [each.reason for each in place.read(power_kw=250_000)]
    assert ["OK", 800_000] == [field for each in place.read(soc_ppm=700_000) for field in (each.reason, each.scale_ppm)]


@pytest.mark.spec("COL-06", "COL-16")
def test_whoever_asks_is_answered_and_written_down() -> None:
    """A question is a decision with its purpose, from the newest reading, and leaves what was last said as it was."""
    place = Place()
    place.read(soc_ppm=500_000)
    before = place.state
    decided, reply = place.ask("job-1")
    assert ("job-1", True, 800_000) == (decided.purpose, reply.allowed, reply.scale_ppm)
    heavy, _ = place.ask("job-2", heavy=True)
    assert (False, "OFFPEAK_REQUIRED", 1_800, True) == (heavy.allowed, heavy.reason, heavy.delay_s, heavy.heavy)
    assert before == place.state


@pytest.mark.spec("COL-16", "X-06")
def test_a_stale_reading_is_none() -> None:
    """After a minute without a reading the window closes by itself, once, and questions are told NO_READING."""
    place = Place()
    assert "NO_READING" == place.ask()[1].reason, "there was none yet"
    place.read()
    assert [] == place.tick(STALE_MS)
    assert "OK" == place.ask()[1].reason
    closed = [(each.allowed, each.reason, each.scale_ppm, each.taken_ms, each.local_minute) for each in place.tick(1)]
    assert [(False, "NO_READING", 0, 0, -1)] == closed
    assert EnergyWindow() == place.window
    assert [] == place.tick(60_000)
    decided, reply = place.ask()
    assert (False, "NO_READING", 0) == (reply.allowed, reply.reason, reply.scale_ppm)
    assert "" == decided.source
    assert ["OK"] == [each.reason for each in place.read()]


@pytest.mark.spec("COL-16")
def test_only_a_newer_reading_counts() -> None:
    """One that comes late, comes again, is stale already or is from the future changes nothing."""
    place = Place()
    place.read()
    kept = place.window
    for taken_ms in (place.now_ms, place.now_ms - 5_000, place.now_ms + 3_600_000):
        assert [] == place.hear(reading(taken_ms, power_kw=300_000))
        assert kept == place.window
    fresh = Place()
    assert [] == fresh.hear(reading(START_MS - STALE_MS - 1))
    assert "NO_READING" == fresh.ask()[1].reason


@pytest.mark.spec("X-06")
def test_a_policy_that_fails_closes_the_window() -> None:
    """Where the engine cannot answer, nothing starts, and the reason is the policy, not the meter."""
    place = Place()
    place.read()
    place.nerve.policies = Policies({})
    _, said = place.nerve.decide(place.state, place.window, PowerWindowRequest("here", "x"), place.now_ms)
    assert not isinstance(said, Refusal)
    assert (False, "POLICY_FAILED", 0) == (said[0].allowed, said[0].reason, said[0].scale_ppm)


@pytest.mark.spec("COL-06", "COL-13", "X-02")
def test_the_reply_says_where_its_decision_stands() -> None:
    """Over the bus: the reply's place holds the decision it tells of, the log runs again, and the metrics show it."""

    async def body(ground: Ground) -> None:
        async with stage(ground) as here:
            founded = await Founded.on(ground)
            signer = await founded.introduce("energy", PowerWindowDecided.pattern(ENV))
            runner = await here.carry(EnergyNerve(), [signer], beat_s=1.0)
            site = await here.asker("energy_cell")
            await site.emit(reading(now_ms(ground.world), power_kw=249_500, soc_ppm=600_000))
            await ground.world.sleep(1.0)
            answer = await site.request(PowerWindowRequest("here", "boundary"))
            assert isinstance(answer, PowerWindow)
            places = await rerun(site)
            assert ["", "boundary"] == [decided.purpose for decided in places.values()]
            told = places[answer.index, answer.offset]
            assert ("boundary", answer.scale_ppm, answer.reason) == (told.purpose, told.scale_ppm, told.reason)
            told = {"colossus_power_mw": 249.5, "megapack_soc": 0.6, "energy_window_allowed": 1.0}
            assert {(name, "here"): value for name, value in told.items()} == own_metrics(runner)
            await ground.world.sleep(2 * STALE_MS / 1_000)
            assert {("energy_window_allowed", "here"): 0.0} == own_metrics(runner), "no reading is not zero megawatts"
            assert runner.mind is not None
            assert WindowState((False, "NO_READING", 0, 0)) == runner.mind.state("here")

    play_sim(body)


async def rerun(bus: Bus) -> dict[tuple[int, int], PowerWindowDecided]:
    """Every decision of the site by its place; each came out of its evidence again."""
    again, found = Rerun(EnergyNerve()), dict[tuple[int, int], PowerWindowDecided]()
    for verdict in await bus.follow(f"{ENV}.site.energy.event.here"):
        same = again.take(verdict)
        assert all(ok for _, ok in same)
        for offset, event in verdict.admitted():
            found[verdict.entry.index, offset] = decode(PowerWindowDecided, bytes(event.data))
    return found


@pytest.mark.spec("COL-06", "COL-16")
def test_a_day_of_load_is_a_history_of_windows(tmp_path: Path) -> None:
    """A recorded day with an evening peak, played through meter, cell and nerve: open, throttled, open, night."""
    rows = [
        (minute * 60_000, 180_000 + (80_000 if 1_080 <= minute < 1_200 else 0), 300_000 if minute < 420 else 900_000)
        for minute in range(0, DAY_MINUTES, 1)
    ]
    file = tmp_path / "day.csv"
    file.write_text("taken_ms,power_kw,soc_ppm\n" + "".join(f"{at},{kw},{soc}\n" for at, kw, soc in rows))
    meter, site, place = CsvMeter(file), Site("here", UTC, *NIGHT, None, None), Place()
    said: list[tuple[int, str]] = []
    for minute in range(DAY_MINUTES):
        place.now_ms = START_MS + minute * 60_000
        found = meter.read(place.now_ms)
        assert found is not None
        at = local_minute(found.taken_ms, site.zone)
        read = reading(found.taken_ms, found.power_kw, found.soc_ppm, at)
        said += [(minute, each.reason) for each in place.hear(read)]
    assert [
        (0, "OFFPEAK_REQUIRED"),
        (120, "OK"),
        (360, "OFFPEAK_REQUIRED"),
        (420, "OK"),
        (1_080, "GRID_CONSTRAINT"),
        (1_200, "OK"),
    ] == said


@pytest.mark.spec("COL-16")
def test_a_reading_says_all_that_is_judged() -> None:
    """Without settings, the policy's input is made of the reading alone; its digest stands in the decision."""
    place = Place()
    [decided] = place.read(power_kw=5, soc_ppm=6, minute=130)
    given = {
        "heavy": decided.heavy,
        "power_kw": decided.power_kw,
        "soc_ppm": decided.soc_ppm,
        "minute": decided.local_minute,
        "off_peak_from": decided.off_peak_from,
        "off_peak_to": decided.off_peak_to,
    }
    again = POLICIES.again(decided.policy, decided.engine, "nimmerverse.energy", given)
    assert (decided.input_digest, decided.allowed) == (again.input_digest, again.allowed)
    assert msgspec.structs.asdict(decided)["off_peak"]


@pytest.mark.slow
@pytest.mark.spec("COL-06", "COL-16")
def test_a_published_grid_is_a_history_of_windows(tmp_path: Path) -> None:
    """New South Wales over 45,312 half-hours, as docs plays it: 39,354 open, 5,750 off-peak alone, 208 short."""
    series = published("data", "drift", "elec.csv")
    shares = ("--load", "nswdemand", "--charge", "transfer", "--full-kw", "300000", "--every-s", "1800")
    [told] = Home.at(tmp_path / "home").held("energy", "--play", str(series), *shares, "--json", wait_s=900).documents
    assert 45_312 == told["readings"]
    assert {"OK": 39_354, "OFFPEAK_REQUIRED": 5_750, "GRID_CONSTRAINT": 208} == told["reasons"]
