"""What the first cells compute: exact arithmetic, the state of a battery, and this machine's real vitals."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cells.battery_cell import BatteryCell
from cells.battery_cell.cell import Battery, Charge, SimBattery, state_of
from cells.math_cell import MathCell
from cells.math_cell.cell import MAX_BITS, MAX_TEXT, evaluate
from cells.sensor_cell import SensorCell
from cells.sensor_cell.vitals import MachineVitals, Reading, SimVitals
from shared.codec import decode, encode
from shared.config import load
from shared.errors import Refusal
from shared.subjects.nervous import BatteryState, MathRequest, MathResponse, MathWave, VitalsWave
from shared.subjects.system import Tick
from shared.world import RealWorld, SimWorld, simulate

Known = tuple[str, Fraction, int]  #: a text, its value, and the bits of the largest number on the way


def said(text: str) -> tuple[MathResponse | Refusal, MathWave]:
    """What the math cell answers and how sure it is."""
    outputs = list(MathCell().on_request(MathRequest(text)))
    [answer] = [output for output in outputs if isinstance(output, MathResponse | Refusal)]
    [wave] = [output for output in outputs if isinstance(output, MathWave)]
    return answer, wave


# Arithmetic


@pytest.mark.spec("NIM-12")
@pytest.mark.parametrize(
    ("text", "exact"),
    [
        ("2+2", "4"),
        ("2 + 3*4/7", "26/7"),
        ("0.1 + 0.2", "3/10"),
        ("-2**2", "-4"),
        ("2**-2", "1/4"),
        ("-7 // 2", "-4"),
        ("-7 % 3", "2"),
        ("7.5 % 2", "3/2"),
        ("1_000 * 0x10", "16000"),
        ("(1 + 2) * (3 - -4)", "21"),
        ("9007199254740993.0 - 9007199254740992.0", "1"),
        ("0.10000000000000000555", "2000000000000000111/20000000000000000000"),
        ("1e-400 * 1e400", "1"),
        ("1**9**9**9", None),
        ("1**999999999999999999999", "1"),
        ("0**0", "1"),
        ("\t 1 \n", "1"),
    ],
)
def test_arithmetic_is_exact(text: str, exact: str | None) -> None:
    """The value is exact as it is written, beside the nearest double; Python's own precedence and signs hold."""
    answer, wave = said(text)
    if exact is None:
        assert isinstance(answer, Refusal)
        return
    assert MathResponse(text, float(Fraction(exact)), exact) == answer
    assert ("math", 900_000, text) == (wave.domain, wave.confidence_ppm, wave.content)


def combined(parts: st.SearchStrategy[Known]) -> st.SearchStrategy[Known]:
    """Arithmetic made of smaller arithmetic, with its value computed beside the text."""
    operations: dict[str, Callable[[Fraction, Fraction], Fraction]] = {
        "+": lambda a, b: a + b,
        "-": lambda a, b: a - b,
        "*": lambda a, b: a * b,
        "/": lambda a, b: a / b,
        "//": lambda a, b: Fraction(a // b),
        "%": lambda a, b: a % b,
    }

    def join(left: Known, sign: str, right: Known) -> Known:
        (a, x, p), (b, y, q) = left, right
        sign = sign if y or sign in "+-*" else "+"
        return known(f"({a}) {sign} ({b})", operations[sign](x, y), p, q)

    def power(base: Known, n: int) -> Known:
        return known(f"({base[0]}) ** {n}", base[1] ** n, n * base[2])

    return st.one_of(
        st.builds(join, parts, st.sampled_from(sorted(operations)), parts), st.builds(power, parts, st.integers(0, 3))
    )


def known(text: str, value: Fraction, *peaks: int) -> Known:
    """A text with its value."""
    return text, value, max(value.numerator.bit_length(), value.denominator.bit_length(), *peaks)


whole = st.integers(0, 10**12).map(lambda n: known(str(n), Fraction(n), 1))
decimal = st.decimals(0, 10**6, places=6).map(lambda d: known(f"{d:f}", Fraction(d), 1))
arithmetic = st.recursive(st.one_of(whole, decimal), combined, max_leaves=8)


@pytest.mark.spec("NIM-12")
@given(arithmetic)
@example(known("1 - 1", Fraction(0), 1))
def test_arithmetic_agrees_with_fractions(case: Known) -> None:
    """Whatever is built of numbers, brackets and the six operations has the value that exact fractions give it."""
    text, value, peak = case
    if len(text) <= MAX_TEXT and peak <= MAX_BITS // 2:
        assert value == evaluate(text)


@pytest.mark.spec("NIM-12")
@given(
    st.recursive(st.integers(0, 999).map(str), lambda p: st.builds("({} {} {})".format, p, st.sampled_from("+-*"), p))
)
def test_arithmetic_agrees_with_python(text: str) -> None:
    """On whole numbers the value is what Python itself computes from the same tree."""
    if len(text) <= MAX_TEXT:
        assert eval(compile(ast.parse(text, mode="eval"), "", "eval")) == evaluate(text)  # noqa: S307 - made of digits


@pytest.mark.spec("X-12")
@pytest.mark.parametrize(
    "text",
    [
        "9**9**9",
        "9**9**9**9",
        "2**4096 * 2**4096",
        "(2**4000)**4000",
        "10**-999999999",
        "1e999999999",
        "1e-999999999",
        "0.0e999999999999",
        "1e999999999999999999999",
        "(" * 250 + "1" + ")" * 250,
        "-" * 499 + "1",
        "1" + "+1" * 249,
        "1" * 500,
        "9" * 400 + "**" + "9" * 90,
        "1 " * 400,
        "x" * 60_000,
    ],
)
def test_a_bomb_is_answered_at_once(text: str) -> None:
    """No text makes the cell compute for long or recurse too deep: a value or a refusal comes at once."""
    answer, _ = said(text)
    assert isinstance(answer, MathResponse) or "B012" == answer.code


@pytest.mark.spec("NIM-12")
@pytest.mark.parametrize("text", ["1/0", "1 // (2 - 2)", "7 % 0", "0 ** -1"])
def test_a_division_by_zero_is_called_so(text: str) -> None:
    """The refusal says what is wrong in the words of people, not in those of a library."""
    answer, _ = said(text)
    assert isinstance(answer, Refusal)
    assert "not arithmetic that has a value: it divides by zero" == answer.detail


@pytest.mark.spec("X-12")
@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "import os", "__import__('os').system('ls')", "a", "lambda: 1", "[1][0]", "'a' * 9", "f'{1}'"),
        *("1 if 2 else 3", "True", "1j", "1 == 1", "~1", "1 << 9", "1 @ 1", "1; 2", "1,2", "...", "(x := 1)", "*1"),
        *("1\n2", "1\n+2", "\0", "1\0", "#", "\ufeff1", "inf", "nan", "1//0", "1 % 0", "0**-1", "2**0.5", "10**400"),
        *("\u0661 + \u0662", "\uff11", "1 \u00d7 2", "\u00bd", "1\u00a0+\u00a01", "0777", "1__0", "0x", "1e", "e1"),
    ],
)
def test_what_is_no_arithmetic_is_refused(text: str) -> None:
    """Names, calls, strings, truth values, other digits, division by zero: B012, and a wave that is hardly sure."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        answer, wave = said(text)
    assert isinstance(answer, Refusal), answer
    assert ("B012", 100_000) == (answer.code, wave.confidence_ppm)


@pytest.mark.spec("X-12")
@given(st.text(max_size=600))
def test_any_text_has_an_answer(text: str) -> None:
    """Whatever the text, there is one answer and one wave, and both can be sent."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        answer, wave = said(text)
    assert wave == decode(MathWave, encode(wave))
    assert answer == decode(type(answer), encode(answer))


@pytest.mark.spec("NIM-12")
def test_the_value_has_a_bound() -> None:
    """The largest power within the bound is computed, the next is refused by its size."""
    assert 3**2048 == evaluate("3**2048")
    with pytest.raises(ValueError, match=f"more than {MAX_BITS} bits"):
        evaluate("3**2049")


# Batteries


class Fixed:
    """A battery with a known charge."""

    def __init__(self, charge: Charge | None) -> None:
        self.charge = charge

    def read(self) -> Charge | None:
        """The charge."""
        return self.charge


def tick(beat: int, now_ms: int = 1_000) -> Tick:
    """A beat."""
    return Tick("cell", "0" * 16, beat, now_ms)


@pytest.mark.spec("NIM-12", "NIM-13")
@pytest.mark.parametrize(
    ("ppm", "charging", "state"),
    [
        (1_000_000, False, "MONITORING"),
        (200_000, False, "MONITORING"),
        (199_999, False, "LOW"),
        (50_000, False, "LOW"),
        (49_999, False, "CRITICAL"),
        (0, False, "CRITICAL"),
        (0, True, "MONITORING"),
    ],
)
def test_a_charge_means_a_state(ppm: int, state: BatteryState, *, charging: bool) -> None:
    """Below 20 % is LOW, below 5 % CRITICAL, at the edge not yet; on the mains a battery is only monitored."""
    assert state == state_of(Charge(ppm, charging))
    [wave] = BatteryCell(Fixed(Charge(ppm, charging)), "here").on_tick(tick(1))
    assert ("here", 1_000, state, ppm, charging) == (
        wave.site,
        wave.taken_ms,
        wave.state,
        wave.charge_ppm,
        wave.charging,
    )
    assert f"battery {ppm // 10_000} %, {state.lower()}" == wave.content


@pytest.mark.spec("NIM-12")
def test_no_battery_is_absent() -> None:
    """A machine without a battery says ABSENT, and never an invented charge."""
    [wave] = BatteryCell(Fixed(None), "here").on_tick(tick(1))
    assert ("ABSENT", 0, False, "no battery") == (wave.state, wave.charge_ppm, wave.charging, wave.content)


@pytest.mark.spec("NIM-12")
def test_a_battery_runs_through_its_states() -> None:
    """The simulated battery goes from MONITORING through LOW to CRITICAL and back, one wave in ten beats."""

    async def life() -> list[str]:
        world = SimWorld("dev", 1)
        cell = BatteryCell(SimBattery(world), "sim")
        states: list[str] = []
        for beat in range(1, 9_001):
            states += [wave.state for wave in cell.on_tick(tick(beat))]
            await world.sleep(1)
        return states

    states = simulate(life)
    assert 900 == len(states)
    changes = [states[0], *(b for a, b in pairwise(states) if a != b)]
    assert ["MONITORING", "LOW", "CRITICAL", "MONITORING"] == changes


@pytest.mark.spec("NIM-12")
def test_this_machines_battery_is_read() -> None:
    """The real cell reads what this machine says of its battery, also when that is nothing."""
    found = psutil.sensors_battery()
    cell = BatteryCell.build(load({}, {"home": "/tmp", "site": "here"}, "here").settings, RealWorld("dev"))  # noqa: S108
    battery: Battery = cell.battery
    charge = battery.read()
    assert (found is None) == (charge is None)
    assert charge is None or 0 <= charge.ppm <= 1_000_000


# Vitals


@pytest.mark.spec("NIM-12")
def test_this_machines_vitals_are_read(tmp_path: Path) -> None:
    """The real cell reads this machine: shares within bounds, memory and disk near what psutil says itself."""
    cell = SensorCell.build(
        load({}, {"home": str(tmp_path / "not" / "yet"), "site": "here"}, "here").settings, RealWorld("dev")
    )
    [wave] = cell.on_tick(tick(7, 123))
    assert ("here", "0" * 16, 123, 900_000) == (wave.site, wave.boot, wave.taken_ms, wave.confidence_ppm)
    assert 0 <= wave.cpu_ppm <= 1_000_000
    assert wave.memory_ppm == pytest.approx(psutil.virtual_memory().percent * 10_000, abs=100_000)
    assert wave.disk_ppm == pytest.approx(psutil.disk_usage(str(tmp_path)).percent * 10_000, abs=50_000)
    assert 0 <= wave.load_ppm <= 1_000_000_000
    assert wave == decode(VitalsWave, encode(wave))


@pytest.mark.spec("NIM-12")
def test_a_busy_machine_looks_busier(tmp_path: Path) -> None:
    """The processor's share is measured between two readings: after work of one core it is above zero."""
    vitals = MachineVitals(tmp_path)
    vitals.read()
    start = psutil.Process().cpu_times().user
    while psutil.Process().cpu_times().user < start + 0.2:
        sum(range(10_000))
    assert vitals.read().cpu_ppm > 0


@pytest.mark.spec("NIM-12")
@pytest.mark.parametrize(
    ("beat", "confidence"), [(1, 300_000), (2, 600_000), (3, 600_000), (4, 900_000), (1000, 900_000)]
)
def test_confidence_grows_with_the_beats(beat: int, confidence: int) -> None:
    """The first reading is noisy (0.3), the next ones are fair (0.6), and from the fourth on they are stable (0.9)."""

    class Steady:
        """Always the same."""

        def read(self) -> Reading:
            """The reading."""
            return Reading(500_000, 400_000, 300_000, 1_500_000)

    [wave] = SensorCell(Steady(), "here").on_tick(tick(beat))
    assert (confidence, "cpu 50 %, memory 40 %, load 1.50 per core") == (wave.confidence_ppm, wave.content)


@pytest.mark.spec("NIM-12", "X-08")
def test_simulated_vitals_come_from_the_seed() -> None:
    """The same seed gives the same readings, another seed others, and all are plausible."""

    async def life(seed: int) -> list[Reading]:
        world = SimWorld("dev", seed)
        vitals, out = SimVitals(world), list[Reading]()
        for _ in range(500):
            out.append(vitals.read())
            await world.sleep(1)
        return out

    first, again, other = (simulate(lambda seed=seed: life(seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert all(0 <= x <= 1_200_000 for r in first for x in (r.cpu_ppm, r.memory_ppm, r.disk_ppm, r.load_ppm))
    assert max(r.cpu_ppm for r in first) > 900_000, "the overload nerve has something to decide"
