"""The distance cell: says what its range sensors see, how sure that is, and ABSENT where there is none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from cells.distance_cell.ports import RANGERS_AT, Ranger, Ranges, SimRanger, found_rangers
from shared.constant import constant
from shared.part import Cell
from shared.settings import Settings
from shared.subjects.body import LEFT_CDEG, OBSTACLE_MM, RIGHT_CDEG, STOPPING_MM, DistanceWave, Quality, Range
from shared.subjects.system import Tick
from shared.world import SimWorld, World

CONFIDENCE_PPM: dict[Quality, int] = {
    "ABSENT": constant(900_000, "ppm", "NIM-12"),  # that there is no sensor is certain
    "LOST": constant(0, "ppm", "NIM-12"),
    "NOISY": constant(300_000, "ppm", "NIM-12"),
    "NORMAL": constant(600_000, "ppm", "NIM-12"),
    "STABLE": constant(900_000, "ppm", "NIM-12"),
}


class DistanceCell(Cell):
    """A beat in, a wave of every range sensor out."""

    name: ClassVar[str] = "distance_cell"
    version: ClassVar[str] = "1.0.0"
    cost_ulf: ClassVar[int] = constant(500_000, "micro-lifeforce", "NIM-12")

    def __init__(self, rangers: Sequence[Ranger], site: str) -> None:
        self.rangers, self.site = rangers, site

    @classmethod
    def build(cls, settings: Settings, world: World) -> DistanceCell:  # noqa: ARG003 - as declared
        return cls(found_rangers(Path(RANGERS_AT)), settings.site)

    @classmethod
    def simulate(cls, world: SimWorld) -> DistanceCell:
        return cls([SimRanger(world)], "sim")

    def again(self, world: SimWorld) -> DistanceCell:
        return DistanceCell(self.rangers, self.site)

    def on_tick(self, tick: Tick) -> Iterator[DistanceWave]:
        """Say what each sensor sees, or that there is none."""
        for sensor, seen in [(r.name, r.read()) for r in self.rangers] or [("", Ranges())]:
            yield self._wave(sensor, seen, tick)

    def _wave(self, sensor: str, seen: Ranges, tick: Tick) -> DistanceWave:
        domain, polarity, nearest, content = meaning(seen)
        confidence, sees = CONFIDENCE_PPM[seen.front.quality], (seen.front, seen.left, seen.right)
        return DistanceWave(
            domain, confidence, content, self.cost_ulf, self.site, sensor, tick.now_ms, *sees,
            polarity=polarity, direction_cdeg=nearest, beat=tick.beat,
        )  # fmt: skip


def meaning(seen: Ranges) -> tuple[str, Literal[-1, 1], int | None, str]:
    """Return a reading's domain, polarity, direction of the nearest thing and words."""
    front = seen.front
    if front.mm is None:
        return "distance", 1, _nearest(seen), f"the way ahead is not seen: sensor {front.quality.lower()}"
    if front.mm >= OBSTACLE_MM:
        return "obstacle", -1, _nearest(seen), f"no obstacle ahead within {front.mm // 10} cm"
    domain = "danger" if front.mm < STOPPING_MM else "obstacle"
    return domain, 1, 0, f"{domain} ahead at {front.mm // 10} cm"


def _nearest(seen: Ranges) -> int | None:
    """Return where the nearest thing is, in hundredths of a degree clockwise from straight ahead."""
    directions: list[tuple[int, Range]] = [(0, seen.front), (LEFT_CDEG, seen.left), (RIGHT_CDEG, seen.right)]
    known = [(range_.mm, cdeg) for cdeg, range_ in directions if range_.mm is not None]
    return min(known)[1] if known else None
