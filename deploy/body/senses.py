"""The arena as the ports of the parts see it: two range sensors with noise, light, battery, motors."""

from __future__ import annotations

from math import isqrt

from cells.battery_cell.cell import Charge
from cells.distance_cell import Ranges, Steadiness
from cells.distance_cell.ports import LOST
from cells.light_cell import Light
from cells.motor_cell import MotorReading
from deploy.body.arena import SIGHT_MM, Arena
from deploy.body.layout import BODY_MM
from deploy.body.trig import ONE, cosine, sine
from organs.motors import Motion
from shared.constant import constant
from shared.subjects.body import LEFT_CDEG, RIGHT_CDEG
from shared.world import SimWorld

JITTER_MM = constant(16, "mm", "NIM-12")
LOST_SHARE = constant(0.05, "share", "NIM-12")
BURST_SHARE = constant(0.002, "share", "NIM-12")
BURST_READINGS = constant(10, "readings", "NIM-12")
FALSE_SHARE = constant(0.004, "share", "NIM-12")
LAMP_MLUX_M2 = constant(500_000, "mlux·m²", "NIM-12")
LAMP_MM = constant(300, "mm", "NIM-12")  # the lamp hangs so high that nothing stands before it


class ArenaRanger:
    """A range sensor in the arena: it jitters, loses readings singly and in bursts, and sometimes sees what is not."""

    def __init__(self, arena: Arena, world: SimWorld, name: str, *, sides: bool, through_glass: bool) -> None:
        self.arena, self.world, self.name = arena, world, name
        self.sides, self.through_glass = sides, through_glass
        self._steady = [Steadiness() for _ in range(3 if sides else 1)]
        self._burst = 0

    def read(self) -> Ranges:
        self.arena.advance()
        if self._burst or self.world.chance() < BURST_SHARE:
            self._burst = (self._burst or BURST_READINGS) - 1
            return Ranges(LOST, LOST, LOST) if self.sides else Ranges(LOST)
        heading = self.arena.heading_mcdeg // 1_000
        front = self._steady[0].judge(self._reading(self.arena.ahead(through_glass=self.through_glass)[0]))
        if front.mm is not None and front.quality in ("NORMAL", "STABLE") and not self.through_glass:
            self.arena.was_read(front.mm)
        if not self.sides:
            return Ranges(front)
        left, right = (
            steady.judge(self._reading(self.arena.free(heading + cdeg, 0)[0] - BODY_MM))
            for steady, cdeg in zip(self._steady[1:], (LEFT_CDEG, RIGHT_CDEG), strict=True)
        )
        return Ranges(front, left, right)

    def _reading(self, true_mm: int) -> int | None:
        """Return what is read where the truth is this."""
        drawn, jitter = self.world.chance(), self.world.chance()
        if drawn < LOST_SHARE:
            return None
        if drawn > 1 - FALSE_SHARE:
            return int(jitter * SIGHT_MM)
        return max(0, true_mm + int(jitter * JITTER_MM) - JITTER_MM // 2)


class ArenaLight:
    """Two light sensors that look half left and half right, and one that looks up."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena

    def read(self) -> Light | None:
        self.arena.advance()
        (x, y), (dock_x, dock_y) = self.arena.position, self.arena.layout.dock
        dx, dy = dock_x - x, dock_y - y
        far2 = dx * dx + dy * dy + LAMP_MM * LAMP_MM
        level = LAMP_MLUX_M2 * 1_000_000 // far2
        return Light(level, self._aside(dx, dy, level, -4_500), self._aside(dx, dy, level, 4_500))

    def _aside(self, dx: int, dy: int, level: int, cdeg: int) -> int:
        towards = self.arena.heading_mcdeg // 1_000 + cdeg
        along = dx * cosine(towards) + dy * sine(towards)
        return max(0, level * along // (ONE * max(isqrt(dx * dx + dy * dy), 1)))


class ArenaBattery:
    """The body's battery."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena

    def read(self) -> Charge | None:
        self.arena.advance()
        return Charge(self.arena.charge_ppm, self.arena.docked)


class ArenaMotors:
    """The body's motors, for the cell that feels them and for the organ that moves them."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena

    def read(self) -> MotorReading | None:
        self.arena.advance()
        drive = self.arena.drive
        state = drive.state if drive.powered else "EMPTY"
        return MotorReading(state, drive.speed_mm_s, drive.rate_cdeg_s, drive.spent_ulf)

    async def move(self, motion: Motion) -> None:
        self.arena.move(motion)

    async def beat(self) -> None:
        self.arena.advance()
