"""A walled arena and the body in it: millimetres, hundredths of a degree, milliseconds, and no float anywhere.

The arena moves on in steps of 10 ms to whatever time it is asked at, so the order of questions within one step changes
nothing. It is the world, not a part: it knows what is true, and what was read of it.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from math import isqrt

from deploy.body.layout import BODY_MM, DOCK_MM, STAYS_MS, SUDDEN_MM, Disc, Layout, Sudden
from deploy.body.trig import ONE, cosine, sine
from organs.motors import Drive, Motion
from organs.motors.drive import STEP_MS
from shared.constant import constant
from shared.subjects.body import STOPPING_MM

CAPACITY_UJ = constant(1_080_000_000, "µJ", "NIM-13")
RESTING_UJ = constant(500, "µJ/ms", "NIM-13")
MOVING_UJ = constant(2_500, "µJ/ms", "NIM-13")  # on top of resting
CHARGING_UJ = constant(40_000, "µJ/ms", "NIM-13")
SIGHT_MM = constant(2_500, "mm", "NIM-12")
AREA_MM = constant(250, "mm", "NIM-10")  # side of the squares by which explored ground is counted
WALL = -1

_UM = 1_000


@dataclass(frozen=True, slots=True)
class Contact:
    """The body ran into something. It was avoidable if what was first read of it left the stopping distance."""

    at_ms: int
    thing: int  #: index of the disc, -1 for a wall
    place: tuple[int, int]  #: where the body stood
    speed_mm_s: int
    first_mm: int | None  #: what was first surely read of it in this approach

    @property
    def avoidable(self) -> bool:
        """Whether a sure reading came in time."""
        return self.first_mm is not None and self.first_mm >= STOPPING_MM


class Arena:
    """The arena's whole state; owned by whoever simulates, asked by the ports of cells and organ."""

    def __init__(self, layout: Layout, clock: Callable[[], int]) -> None:
        self.clock = clock
        self.place(layout)

    def place(self, layout: Layout) -> None:
        """Put the body into an arena; what it ran into before is forgotten."""
        self.layout, self.began_ms = layout, self.clock() // STEP_MS * STEP_MS
        self.at_ms = self.began_ms
        self.discs: list[Disc] = list(layout.discs)
        self.sudden: list[Sudden] = list(layout.sudden)
        self.x_um, self.y_um = layout.start[0] * _UM, layout.start[1] * _UM
        self.heading_mcdeg = layout.heading_cdeg * _UM
        self.energy_uj = CAPACITY_UJ // 1_000_000 * layout.charge_ppm
        self.contacts: list[Contact] = []
        self.travelled_um = 0
        self.empty_ms: int | None = None  #: when the battery first stood at nothing
        self.explored: set[tuple[int, int]] = set()
        self.track: list[tuple[int, int]] = [layout.start]
        self.first: tuple[int, int] | None = None  #: of the approach under way: the thing, what was first read of it
        self.drive = Drive()

    # Moving on

    def advance(self) -> None:
        """Move on to the present."""
        now_ms = self.clock()
        while self.at_ms + STEP_MS <= now_ms:
            self.at_ms += STEP_MS
            self._step()

    def _step(self) -> None:
        self._appear()
        drive = self.drive
        drive.powered = self.energy_uj > 0
        drive.step(self.at_ms)
        if drive.rate_cdeg_s:
            self.heading_mcdeg = (self.heading_mcdeg + drive.rate_cdeg_s * STEP_MS) % (36_000 * _UM)
            self.first = None
        if drive.speed_mm_s > 0:
            self._go(drive.speed_mm_s * STEP_MS)
        self._burn()

    def _go(self, way_um: int) -> None:
        """Move straight on, up to whatever is in the way."""
        free_mm, thing = self.ahead()
        if free_mm * _UM < way_um:
            first = self.first[1] if self.first is not None and self.first[0] == thing else None
            self.contacts.append(Contact(self.at_ms, thing, self.position, self.drive.speed_mm_s, first))
            self.first = None
            self.drive.stall()
            return
        heading = self.heading_mcdeg // _UM
        self.x_um += way_um * cosine(heading) // ONE
        self.y_um += way_um * sine(heading) // ONE
        self.travelled_um += way_um
        x_mm, y_mm = self.position
        self.explored.add((x_mm // AREA_MM, y_mm // AREA_MM))
        last = self.track[-1]
        if abs(last[0] - x_mm) + abs(last[1] - y_mm) > BODY_MM:
            self.track.append((x_mm, y_mm))

    def _burn(self) -> None:
        if self.docked:
            self.energy_uj = min(CAPACITY_UJ, self.energy_uj + CHARGING_UJ * STEP_MS)
            return
        moving = self.drive.speed_mm_s or self.drive.rate_cdeg_s
        self.energy_uj = max(0, self.energy_uj - (RESTING_UJ + MOVING_UJ * bool(moving)) * STEP_MS)
        if self.energy_uj == 0 and self.empty_ms is None:
            self.empty_ms = self.at_ms

    def _appear(self) -> None:
        """Let what is due appear straight ahead, where there is room for it, and what stood long enough vanish."""
        if any(disc.gone_ms <= self.at_ms for disc in self.discs):
            self.discs = [disc if disc.gone_ms > self.at_ms else replace(disc, radius_mm=0) for disc in self.discs]
        while self.sudden and self.at_ms - self.began_ms >= self.sudden[0].after_ms:
            gap = self.sudden.pop(0).gap_mm
            away = BODY_MM + gap + SUDDEN_MM
            heading = self.heading_mcdeg // _UM
            x, y = self.position[0] + away * cosine(heading) // ONE, self.position[1] + away * sine(heading) // ONE
            inside = 0 < x < self.layout.width_mm and 0 < y < self.layout.depth_mm
            dock_x, dock_y = self.layout.dock
            if inside and (x - dock_x) ** 2 + (y - dock_y) ** 2 > (DOCK_MM + SUDDEN_MM + 2 * BODY_MM) ** 2:
                self.discs.append(Disc(x, y, SUDDEN_MM, gone_ms=self.at_ms + STAYS_MS))

    # What is true

    @property
    def position(self) -> tuple[int, int]:
        """The middle of the body, in millimetres."""
        return self.x_um // _UM, self.y_um // _UM

    @property
    def bumps(self) -> list[tuple[int, int]]:
        """Where the body ran into something."""
        return [contact.place for contact in self.contacts]

    @property
    def docked(self) -> bool:
        """Whether the body stands on its dock."""
        (x, y), (dock_x, dock_y) = self.position, self.layout.dock
        return (x - dock_x) ** 2 + (y - dock_y) ** 2 <= DOCK_MM**2

    @property
    def charge_ppm(self) -> int:
        """How full the battery is."""
        return self.energy_uj // (CAPACITY_UJ // 1_000_000)

    def ahead(self, *, through_glass: bool = False) -> tuple[int, int]:
        """Return how far the body can go straight on until it touches something, and what that is."""
        return self.free(self.heading_mcdeg // _UM, BODY_MM, through_glass=through_glass)

    def free(self, cdeg: int, width_mm: int, *, through_glass: bool = False) -> tuple[int, int]:
        """Return how far a disc of `width_mm` around the body's middle can go in a direction, and what stops it."""
        x, y = self.position
        east, south = cosine(cdeg), sine(cdeg)
        best, thing = self._to_wall(x, y, east, south, width_mm), WALL
        for index, disc in enumerate(self.discs):
            if disc.radius_mm == 0 or (through_glass and disc.glass):
                continue
            dx, dy, reach = disc.x_mm - x, disc.y_mm - y, disc.radius_mm + width_mm
            along, across = (dx * east + dy * south) // ONE, (dy * east - dx * south) // ONE
            if along > 0 and -reach < across < reach:
                way = along - isqrt(reach * reach - across * across)
                if way < best:
                    best, thing = way, index
        return max(best, 0), thing

    def _to_wall(self, x: int, y: int, east: int, south: int, width: int) -> int:
        ways = [SIGHT_MM]
        if east > 0:
            ways.append((self.layout.width_mm - width - x) * ONE // east)
        elif east < 0:
            ways.append((width - x) * ONE // east)
        if south > 0:
            ways.append((self.layout.depth_mm - width - y) * ONE // south)
        elif south < 0:
            ways.append((width - y) * ONE // south)
        return min(ways)

    def snapshot(self) -> Arena:
        """Return the arena as it is now, for a picture of it."""
        left = copy(self)
        left.discs, left.track, left.contacts = list(self.discs), list(self.track), list(self.contacts)
        return left

    # What is done to it

    def move(self, motion: Motion) -> None:
        """Give the drive a motion."""
        self.advance()
        self.drive.command(motion.speed_mm_s, motion.rate_cdeg_s, motion.until_ms)

    def was_read(self, mm: int) -> None:
        """Note that what is ahead was surely read; the first reading of an approach decides what was avoidable."""
        _, thing = self.ahead()
        if self.first is None or self.first[0] != thing:
            self.first = (thing, mm)
