"""What every meter of a site keeps to, whatever is behind it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from cells.energy_cell.meters import CsvMeter, DeclaredMeter, FileMeter, Meter, Metered, NoMeter, SimMeter
from shared.world import SimWorld

START_MS = 1_767_225_600_000
DAY_MS = 86_400_000


def file_meter(folder: Path) -> Meter:
    """A meter whose program wrote one reading."""
    (folder / "meter.json").write_text(f'{{"taken_ms": {START_MS}, "power_kw": 5, "soc_ppm": 6}}')
    return FileMeter(folder / "meter.json")


def csv_meter(folder: Path) -> Meter:
    """A day's series, a reading every ten minutes."""
    rows = "".join(f"{n * 600_000},{n},{n * 1_000},\n" for n in range(144))
    (folder / "day.csv").write_text(f"taken_ms,power_kw,soc_ppm,nox_mg_h\n{rows}")
    return CsvMeter(folder / "day.csv")


METERS: dict[str, Callable[[Path], Meter]] = {
    "none": lambda _: NoMeter(),
    "declared": lambda _: DeclaredMeter(3),
    "file": file_meter,
    "csv": csv_meter,
    "simulated": lambda _: SimMeter(SimWorld("dev", 3)),
}


@pytest.mark.spec("COL-16")
@pytest.mark.parametrize("name", METERS)
def test_a_meter_says_what_was_so_by_now(name: str, tmp_path: Path) -> None:
    """Over a day each reading is a whole one, none is from the future, and none is older than the one before."""
    meter, last_ms, said = METERS[name](tmp_path), 0, 0
    for at_ms in range(START_MS, START_MS + DAY_MS, 300_000):
        found = meter.read(at_ms)
        if found is None:
            continue
        said += 1
        assert msgspec.convert(msgspec.to_builtins(found), Metered) == found
        assert last_ms <= found.taken_ms <= at_ms
        last_ms = found.taken_ms
    assert (name == "none") == (said == 0)
    assert meter.kind in ("declared", "file", "csv", "simulated")
