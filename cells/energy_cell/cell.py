"""The energy cell: reads a site's meter and says what it draws, holds and emits, with the site's own time of day."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import ClassVar
from zoneinfo import ZoneInfo

from cells.energy_cell.meters import CsvMeter, DeclaredMeter, FileMeter, Meter, NoMeter, SimMeter
from shared.constant import constant
from shared.errors import ConfigFault
from shared.part import Cell
from shared.settings import Settings
from shared.subjects.energy import SiteReading
from shared.subjects.system import Tick
from shared.world import SimWorld, World

METER_BEATS = constant(5, "beats", "COL-16")
LAST_S = constant(253_402_000_000, "s", "COL-16")  # a few days before the calendar ends with the year 9999


@dataclass(frozen=True, slots=True)
class Site:
    """What the operator says about a site, and no meter does."""

    name: str
    zone: tzinfo
    off_peak_from: int
    off_peak_to: int
    nox_permit_mg_h: int | None
    turbines: bool | None

    @classmethod
    def of(cls, settings: Settings) -> Site:
        """Return the site that the settings describe."""
        zone = ZoneInfo(settings.energy_zone) if settings.energy_zone else UTC
        begins, ends = (60 * int(t[:2]) + int(t[3:]) for t in settings.energy_off_peak.split("-"))
        turbines = None if settings.energy_turbines is None else settings.energy_turbines == "yes"
        return cls(settings.site, zone, begins, ends, settings.energy_nox_permit_mg_h, turbines)


class EnergyCell(Cell):
    """Every fifth beat in, a reading of the site out; nothing where no meter says anything."""

    name: ClassVar[str] = "energy_cell"
    version: ClassVar[str] = "1.0.0"
    cost_ulf: ClassVar[int] = constant(200_000, "micro-lifeforce", "COL-16")
    unchecked: ClassVar[Mapping[str, str]] = {"repeats": "every reading of a meter is a new one"}

    def __init__(self, meter: Meter, site: Site) -> None:
        self.meter, self.site = meter, site

    @classmethod
    def build(cls, settings: Settings, world: World) -> EnergyCell:  # noqa: ARG003 - as declared
        return cls(meter_of(settings), Site.of(settings))

    @classmethod
    def simulate(cls, world: SimWorld) -> EnergyCell:
        return cls(SimMeter(world), Site("sim", UTC, 120, 360, None, turbines=False))

    def on_tick(self, tick: Tick) -> Iterator[SiteReading]:
        """Say what the meter says. Refused W002 where that is no reading."""
        if tick.beat % METER_BEATS != 1:
            return
        found = self.meter.read(tick.now_ms)
        if found is None:
            return
        site = self.site
        yield SiteReading(
            site=site.name,
            source=self.meter.kind,
            taken_ms=found.taken_ms,
            power_kw=found.power_kw,
            soc_ppm=found.soc_ppm,
            nox_mg_h=found.nox_mg_h,
            nox_permit_mg_h=site.nox_permit_mg_h,
            turbines=site.turbines,
            local_minute=local_minute(found.taken_ms, site.zone),
            off_peak_from=site.off_peak_from,
            off_peak_to=site.off_peak_to,
        )


def local_minute(at_ms: int, zone: tzinfo) -> int:
    """Return the minute of the site's own day, 0 to 1439; in autumn an hour of them comes twice."""
    there = datetime.fromtimestamp(min(max(at_ms // 1_000, 0), LAST_S), zone)
    return 60 * there.hour + there.minute


def meter_of(settings: Settings) -> Meter:
    """Return the meter that the settings name; ConfigFault where its file is not named."""
    match settings.meter:
        case "declared":
            return DeclaredMeter(settings.energy_declared_kw)
        case "file" | "csv" as kind:
            if settings.energy_meter_file is None:
                raise ConfigFault(f"energy_meter is {kind} and energy_meter_file is empty: name the file that it reads")
            return (FileMeter if kind == "file" else CsvMeter)(settings.energy_meter_file)
        case "none":
            return NoMeter()
