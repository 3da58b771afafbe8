"""The battery cell: reads this machine's battery and names the state it means; ABSENT where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol

import psutil

from shared.constant import constant
from shared.part import Cell
from shared.settings import Settings
from shared.subjects.nervous import BatteryState, BatteryWave
from shared.subjects.system import Tick
from shared.world import SimWorld, World

LOW_PPM = constant(200_000, "ppm", "NIM-13")
CRITICAL_PPM = constant(50_000, "ppm", "NIM-12")
KNOWN_PPM = constant(900_000, "ppm", "NIM-12")
EVERY_BEATS = constant(10, "beats", "NIM-12")


@dataclass(frozen=True, slots=True)
class Charge:
    """How full a battery is, in millionths, and whether it is being charged."""

    ppm: int
    charging: bool


class Battery(Protocol):
    """Whatever can be asked for its charge; None where there is no battery."""

    def read(self) -> Charge | None: ...


class MachineBattery:
    """The battery of the machine this process runs on."""

    def read(self) -> Charge | None:
        found = psutil.sensors_battery()
        return None if found is None else Charge(round(found.percent * 10_000), bool(found.power_plugged))


class SimBattery:
    """A simulated battery that empties over two hours of the World's time and is then charged again."""

    def __init__(self, world: SimWorld) -> None:
        self.world = world

    def read(self) -> Charge | None:
        share = (self.world.elapsed_s() / 7_200) % 2
        return Charge(round(abs(1 - share) * 1e6), share > 1)


class BatteryCell(Cell):
    """Every tenth beat in, a wave of the battery's state out: MONITORING, LOW, CRITICAL or ABSENT."""

    name: ClassVar[str] = "battery_cell"
    version: ClassVar[str] = "1.0.0"
    cost_ulf: ClassVar[int] = constant(500_000, "micro-lifeforce", "NIM-12")

    def __init__(self, battery: Battery, site: str) -> None:
        self.battery, self.site = battery, site

    @classmethod
    def build(cls, settings: Settings, world: World) -> BatteryCell:  # noqa: ARG003 - as declared
        return cls(MachineBattery(), settings.site)

    @classmethod
    def simulate(cls, world: SimWorld) -> BatteryCell:
        return cls(SimBattery(world), "sim")

    def on_tick(self, tick: Tick) -> Iterator[BatteryWave]:
        """Say the state on the first beat and on every tenth."""
        if tick.beat % EVERY_BEATS != 1:
            return
        charge = self.battery.read()
        state = state_of(charge)
        ppm, charging = (charge.ppm, charge.charging) if charge else (0, False)
        content = "no battery" if charge is None else f"battery {ppm // 10_000} %, {state.lower()}"
        yield BatteryWave("battery", KNOWN_PPM, content, self.cost_ulf, self.site, tick.now_ms, state, ppm, charging)


def state_of(charge: Charge | None) -> BatteryState:
    """Return the state a charge means; a battery on the mains is only monitored."""
    if charge is None:
        return "ABSENT"
    if charge.charging or charge.ppm >= LOW_PPM:
        return "MONITORING"
    return "CRITICAL" if charge.ppm < CRITICAL_PPM else "LOW"
