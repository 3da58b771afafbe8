"""The port through which the energy cell asks a site's meter, with its adapters."""

from __future__ import annotations

import csv
import math
from functools import cached_property
from pathlib import Path
from typing import Annotated, Protocol

import msgspec

from shared.constant import constant
from shared.errors import Refusal, Refused
from shared.message import Ppm
from shared.subjects.energy import MeterKind, Natural
from shared.world import SimWorld

METER_FILE_BYTES = constant(65_536, "bytes", "X-12")
CSV_ROWS = constant(1_000_000, "rows", "X-12")
DAY_MS = constant(86_400_000, "ms", "COL-16")

EXPECTED = "expected taken_ms (since 1970), power_kw, soc_ppm (to 1000000) and, where measured, nox_mg_h; whole numbers"


class Metered(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a meter says at one moment; a meter's program writes exactly this as JSON."""

    taken_ms: Annotated[int, msgspec.Meta(ge=0, le=100_000_000_000_000)]  #: since 1970, when it was measured
    power_kw: Natural
    soc_ppm: Ppm
    nox_mg_h: Natural | None = None


class Meter(Protocol):
    """Whatever can be asked what a site draws, holds and emits; None where it does not know."""

    @property
    def kind(self) -> MeterKind: ...

    def read(self, now_ms: int) -> Metered | None: ...


class NoMeter:
    """A site that nobody measures and nobody speaks for: there is never a reading."""

    kind: MeterKind = "declared"

    def read(self, now_ms: int) -> Metered | None:
        return None


class DeclaredMeter:
    """A site that nobody measures: its operator says what it draws at most, and there is no battery to empty."""

    kind: MeterKind = "declared"

    def __init__(self, power_kw: int) -> None:
        self.power_kw = power_kw

    def read(self, now_ms: int) -> Metered | None:
        return Metered(now_ms, self.power_kw, 1_000_000)


class FileMeter:
    """A file that a meter's own program replaces with each reading; what it says has an age, and may be too old."""

    kind: MeterKind = "file"

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, now_ms: int) -> Metered | None:
        """Return what the file says, None where there is no file yet. Refused W002 where that is no reading."""
        try:
            with self.path.open("rb") as file:
                return msgspec.json.decode(file.read(METER_FILE_BYTES), type=Metered)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Refused(Refusal("W002", f"{self.path}: {error}; {EXPECTED}")) from None


class CsvMeter:
    """Recorded readings, played as they came: the first one is now, and after the last there are none."""

    kind: MeterKind = "csv"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.began_ms: int | None = None
        self.place = 0

    @cached_property
    def rows(self) -> list[Metered]:
        """The readings in order of time. Refused W002 where a row is none, or goes back in time."""
        try:
            with self.path.open(newline="", encoding="utf-8") as file:
                found = [self._row(row, line) for line, row in enumerate(csv.DictReader(file), 2)]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise Refused(Refusal("W002", f"{self.path}: {error}; {EXPECTED}")) from None
        back = [n for n in range(1, len(found)) if found[n].taken_ms <= found[n - 1].taken_ms]
        if not found or back or len(found) > CSV_ROWS:
            what = f"row {back[0] + 1} is not later than the one before" if back else f"it has {len(found)} rows"
            raise Refused(Refusal("W002", f"{self.path}: {what}; expected 1 to {CSV_ROWS} rows in order of time"))
        return found

    def read(self, now_ms: int) -> Metered | None:
        """Return the newest reading that has come by now, as though the first had come when it was first asked."""
        if self.began_ms is None:
            self.began_ms = now_ms
        shift = self.began_ms - self.rows[0].taken_ms
        while self.place + 1 < len(self.rows) and self.rows[self.place + 1].taken_ms + shift <= now_ms:
            self.place += 1
        row = self.rows[self.place]
        return msgspec.structs.replace(row, taken_ms=row.taken_ms + shift)

    def _row(self, row: dict[str, str], line: int) -> Metered:
        try:
            return msgspec.convert({name: text for name, text in row.items() if text}, Metered, strict=False)
        except msgspec.ValidationError as error:
            raise Refused(Refusal("W002", f"{self.path}, line {line}: {error}; {EXPECTED}")) from None


class SimMeter:
    """A simulated site: its draw and its battery swing over a day of the World's time, with a little noise."""

    kind: MeterKind = "simulated"

    def __init__(self, world: SimWorld) -> None:
        self.world = world

    def read(self, now_ms: int) -> Metered | None:
        turn = math.sin(2 * math.pi * now_ms / DAY_MS)
        power_kw = round(220_000 - 60_000 * turn + 5_000 * self.world.chance())
        return Metered(now_ms, power_kw, round(550_000 + 400_000 * turn))
