"""The parts that live in a body, in the order and at the moments at which they beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cells.battery_cell import BatteryCell
from cells.distance_cell import DistanceCell
from cells.light_cell import LightCell
from cells.motor_cell import MotorCell
from deploy.body.arena import Arena
from deploy.body.senses import ArenaBattery, ArenaLight, ArenaMotors, ArenaRanger
from nerves.charging import ChargingNerve
from nerves.collision import CollisionNerve
from nerves.exploration import ExplorationNerve
from organs.motors import MotorsOrgan
from shared.constant import constant
from shared.part import Cell, Nerve
from shared.world import SimWorld, World

SITE = constant("body", "site", "NIM-13")
START_MS = constant(1_000, "ms", "NIM-13")  # after the simulation's beginning the first part begins
BEAT_MS = constant(100, "ms", "NIM-13")
APART_MS = constant(10, "ms", "NIM-13")  # between the beats of two parts: one step of the arena


@dataclass(frozen=True, slots=True)
class Crew:
    """The parts of one body; they beat one after the other, nerves first, as they are listed."""

    nerves: tuple[Nerve[Any, Any], ...]
    organ: MotorsOrgan
    cells: tuple[Cell, ...]


def crew_of(arena: Arena, chance: SimWorld, world: World) -> Crew:
    """Return the parts that live in an arena; `chance` draws what its sensors misread."""
    sonar = ArenaRanger(arena, chance.fork("sonar"), "sonar", sides=True, through_glass=False)
    infrared = ArenaRanger(arena, chance.fork("infrared"), "infrared", sides=False, through_glass=True)
    motors = ArenaMotors(arena)
    cells = (
        MotorCell(motors, SITE),
        BatteryCell(ArenaBattery(arena), SITE),
        LightCell(ArenaLight(arena), SITE),
        DistanceCell([sonar, infrared], SITE),
    )
    return Crew((CollisionNerve(SITE), ExplorationNerve(), ChargingNerve()), MotorsOrgan(motors, SITE, world), cells)
