"""What the cells of a body feel: distance, light and motors, through real files of the kernel and simulated ports."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cells.distance_cell import DistanceCell, Ranges, Steadiness
from cells.distance_cell.ports import IioRanger, SimRanger, found_rangers
from cells.light_cell import Light, LightCell
from cells.light_cell.cell import BRIGHTEST_MLUX, IioLight, bearing_of
from cells.motor_cell import MotorCell, MotorReading
from cells.motor_cell.cell import LIFE, TachoSense
from shared.codec import decode, encode
from shared.subjects.body import DistanceWave, LightWave, MotorState, MotorWave, Quality, Range
from shared.subjects.system import Tick
from shared.world import SimWorld, simulate

TICK = Tick("a_cell", "0" * 16, 1, 1_767_225_600_000)


class Still:
    """A port that always says the same."""

    name = "sonar"

    def __init__(self, said: object) -> None:
        self.said = said

    def read(self) -> object:
        """Say it."""
        return self.said


def distance(front: Range, left: Range | None = None, right: Range | None = None) -> DistanceWave:
    """The wave of one reading."""
    seen = Ranges(front, left or Range(None, "ABSENT"), right or Range(None, "ABSENT"))
    [wave] = DistanceCell([Still(seen)], "here").on_tick(TICK)  # type: ignore[list-item] # pyright: ignore[reportArgumentType] - a port that is held still
    return wave


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    """A folder as the kernel offers its devices: one folder each, with one value a file."""
    (tmp_path / "iio:device0").mkdir()
    return tmp_path


def tell(folder: Path, **values: str) -> None:
    """Let the first device's driver say these values."""
    for name, value in values.items():
        (folder / "iio:device0" / name).write_text(value + "\n", encoding="ascii")


# Distance


@pytest.mark.spec("NIM-12")
@pytest.mark.parametrize(
    ("front_mm", "domain", "polarity"),
    [(0, "danger", 1), (129, "danger", 1), (130, "obstacle", 1), (299, "obstacle", 1), (300, "obstacle", -1)],
)
def test_what_a_distance_means(front_mm: int, domain: str, polarity: int) -> None:
    """Inside the stopping distance it is danger, nearer than 30 cm an obstacle, and further away that there is none."""
    wave = distance(Range(front_mm, "STABLE"))
    assert (domain, polarity, 900_000, 0) == (wave.domain, wave.polarity, wave.confidence_ppm, wave.direction_cdeg)


@pytest.mark.spec("NIM-12")
@pytest.mark.parametrize(
    ("quality", "confidence_ppm"), [("NOISY", 300_000), ("NORMAL", 600_000), ("STABLE", 900_000), ("LOST", 0)]
)
def test_how_sure_a_distance_is(quality: Quality, confidence_ppm: int) -> None:
    """A noisy reading is believed by 0.3, a normal one by 0.6, a stable one by 0.9, a lost one not at all."""
    assert confidence_ppm == distance(Range(None if quality == "LOST" else 500, quality)).confidence_ppm


@pytest.mark.spec("NIM-12")
def test_where_the_nearest_thing_is() -> None:
    """The wave's direction is that of the nearest reading, clockwise from straight ahead."""
    far = Range(900, "STABLE")
    assert 0 == distance(far).direction_cdeg
    assert 27_000 == distance(far, Range(400, "STABLE"), Range(500, "STABLE")).direction_cdeg
    assert 9_000 == distance(far, Range(500, "STABLE"), Range(400, "STABLE")).direction_cdeg


@pytest.mark.spec("NIM-12")
def test_without_a_sensor_it_says_so(kernel: Path) -> None:
    """A machine without a range sensor is ABSENT, and no distance is invented: neither obstacle nor its absence."""
    [wave] = DistanceCell(found_rangers(kernel), "here").on_tick(TICK)
    assert (Range(None, "ABSENT"),) * 3 == (wave.front, wave.left, wave.right)
    assert ("distance", None) == (wave.domain, wave.direction_cdeg)


@pytest.mark.spec("NIM-12")
@pytest.mark.parametrize(
    ("raw", "scale", "mm"),
    [
        ("250", "0.001", 250),
        ("1", "1.5", 1_500),
        ("0", "0.001", 0),
        ("-4", "0.001", None),
        ("x", "0.001", None),
        ("1", "1e9", None),
        ("NaN", "1", None),
        ("1", "1e999999999", None),
    ],
)
def test_a_range_sensor_of_the_kernel(kernel: Path, raw: str, scale: str, mm: int | None) -> None:
    """A driver's raw value times its scale is metres; what is no distance is LOST, and nothing is made up for it."""
    tell(kernel, name="sonar", in_distance_raw=raw, in_distance_scale=scale)
    [ranger] = found_rangers(kernel)
    front = ranger.read().front
    assert ("sonar", mm, "LOST" if mm is None else "NORMAL") == (ranger.name, front.mm, front.quality)


@pytest.mark.spec("NIM-12")
def test_a_sensor_that_is_unplugged_is_lost(kernel: Path) -> None:
    """A driver whose files vanish while it is read has lost its sight, and the cell goes on."""
    tell(kernel, in_distance_raw="250", in_distance_scale="0.001")
    ranger = IioRanger(kernel / "iio:device0")
    assert 250 == ranger.read().front.mm
    (kernel / "iio:device0" / "in_distance_raw").unlink()
    assert Range(None, "LOST") == ranger.read().front


@pytest.mark.spec("NIM-12")
def test_how_a_reading_becomes_stable() -> None:
    """After more than three readings that follow one another a sensor is stable; a leap is noise, and begins anew."""
    steady = Steadiness()
    assert ["NORMAL"] * 3 + ["STABLE"] * 2 == [steady.judge(mm).quality for mm in (500, 480, 470, 460, 450)]
    assert ["NOISY", "NOISY", "NORMAL"] == [steady.judge(mm).quality for mm in (2_000, 440, 430)]
    assert Range(None, "LOST") == steady.judge(None)


@pytest.mark.spec("NIM-12")
@given(st.lists(st.none() | st.integers(0, 100_000)))
def test_whatever_is_read_has_a_quality(readings: list[int | None]) -> None:
    """Any series of readings is judged: lost exactly where nothing was read, and every wave of it can be sent."""
    steady = Steadiness()
    for mm in readings:
        judged = steady.judge(mm)
        assert (mm, mm is None) == (judged.mm, judged.quality == "LOST")
        wave = distance(judged)
        assert wave == decode(DistanceWave, encode(wave))


@pytest.mark.spec("NIM-12", "X-08")
def test_a_simulated_sensor_is_a_function_of_time() -> None:
    """The simulated range sensor says the same at the same moment, and sees obstacles come and go."""

    async def whole() -> None:
        world = SimWorld("dev", 1)
        seen: set[int | None] = set()
        for _ in range(40):
            assert SimRanger(world).read() == SimRanger(world).read()
            seen.add(SimRanger(world).read().front.mm)
            await world.sleep(0.5)
        assert 20 < len(seen)

    simulate(whole)


# Light


@pytest.mark.spec("NIM-12")
@pytest.mark.parametrize(
    ("left", "right", "bearing"),
    [(100, 100, 0), (0, 100, 4_500), (100, 0, 31_500), (300, 100, 33_750), (0, 0, None)],
)
def test_where_the_light_is(left: int, right: int, bearing: int | None) -> None:
    """The brighter side is where the light is, by how much brighter it is; where both are dark nobody knows."""
    assert bearing == bearing_of(Light(500, left, right))


@pytest.mark.spec("NIM-12")
@pytest.mark.parametrize(
    ("lux", "mlux"), [("12.5", 12_500), ("0", 0), ("-1", None), ("bright", None), ("1e12", None), ("1e999999999", None)]
)
def test_a_light_sensor_of_the_kernel(kernel: Path, lux: str, mlux: int | None) -> None:
    """The kernel's illuminance is lux; without a sensor, or with nonsense from one, the wave says ABSENT."""
    tell(kernel, in_illuminance_input=lux)
    [wave] = LightCell(IioLight(kernel), "here").on_tick(TICK)
    assert ("ABSENT" if mlux is None else "NORMAL", mlux or 0) == (wave.quality, wave.level_mlux)
    assert wave == decode(LightWave, encode(wave))


@pytest.mark.spec("NIM-12")
@given(st.integers(0, BRIGHTEST_MLUX), st.integers(0, BRIGHTEST_MLUX))
def test_a_bearing_is_an_angle(left: int, right: int) -> None:
    """However bright the sides are, the light is no further aside than the sensors look."""
    bearing = bearing_of(Light(0, left, right))
    assert bearing is None or 0 <= bearing <= 4_500 or 31_500 <= bearing < 36_000


# Motors


@pytest.mark.spec("NIM-12")
@pytest.mark.parametrize("state", [*LIFE, "EMPTY"])
def test_a_stall_is_certain(state: MotorState) -> None:
    """Motors are believed by 0.7; that they stall, or have no power, by 1.0."""
    [wave] = MotorCell(Still(MotorReading(state, 200)), "here").on_tick(TICK)  # pyright: ignore[reportArgumentType] - held still
    assert (state, 1_000_000 if state in ("STALLED", "EMPTY") else 700_000) == (wave.state, wave.confidence_ppm)
    assert wave == decode(MotorWave, encode(wave))


@pytest.mark.spec("NIM-12")
@pytest.mark.parametrize(
    ("words", "state"),
    [
        ([], "ABSENT"),
        (["", ""], "STOPPED"),
        (["running", "running"], "MOVING"),
        (["running ramping", "running"], "ACCELERATING"),
        (["running", "running stalled"], "STALLED"),
        (["running overloaded", "holding"], "STALLED"),
    ],
)
def test_motors_of_the_kernel(tmp_path: Path, words: list[str], state: MotorState) -> None:
    """Of several motors the worst state is felt; where there are none, that is said."""
    for number, said in enumerate(words):
        (tmp_path / f"motor{number}").mkdir()
        (tmp_path / f"motor{number}" / "state").write_text(said)
    [wave] = MotorCell(TachoSense(tmp_path), "here").on_tick(TICK)
    assert state == wave.state


@pytest.mark.spec("NIM-12")
def test_a_motor_that_cannot_be_read_is_not_standing_still(tmp_path: Path) -> None:
    """A motor whose driver does not answer counts as stalled: nobody is told that it rests."""
    (tmp_path / "motor0" / "state").mkdir(parents=True)
    [wave] = MotorCell(TachoSense(tmp_path), "here").on_tick(TICK)
    assert "STALLED" == wave.state
