"""The sensor cell: reads this machine's vitals on every beat and says how steady the reading is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from cells.sensor_cell.vitals import MachineVitals, SimVitals, Vitals
from shared.constant import constant
from shared.part import Cell
from shared.settings import Settings
from shared.subjects.nervous import VitalsWave
from shared.subjects.system import Tick
from shared.world import SimWorld, World

NOISY_PPM = constant(300_000, "ppm", "NIM-12")
NORMAL_PPM = constant(600_000, "ppm", "NIM-12")
STABLE_PPM = constant(900_000, "ppm", "NIM-12")
STEADY_BEATS = constant(3, "readings", "NIM-12")


class SensorCell(Cell):
    """A tick in, a wave of vitals out. The port remembers nothing the cell needs; the beat says how long it has run."""

    name: ClassVar[str] = "sensor_cell"
    version: ClassVar[str] = "1.0.0"
    cost_ulf: ClassVar[int] = constant(500_000, "micro-lifeforce", "NIM-12")
    unchecked: ClassVar[Mapping[str, str]] = {"repeats": "every reading of a machine is a new one"}

    def __init__(self, vitals: Vitals, site: str) -> None:
        self.vitals, self.site = vitals, site

    @classmethod
    def build(cls, settings: Settings, world: World) -> SensorCell:  # noqa: ARG003 - as declared
        return cls(MachineVitals(settings.home), settings.site)

    @classmethod
    def simulate(cls, world: SimWorld) -> SensorCell:
        return cls(SimVitals(world), "sim")

    def on_tick(self, tick: Tick) -> Iterator[VitalsWave]:
        """Read the vitals; the first readings after a start are noisy, later ones stable."""
        v = self.vitals.read()
        confidence = NOISY_PPM if tick.beat == 1 else NORMAL_PPM if tick.beat <= STEADY_BEATS else STABLE_PPM
        content = (
            f"cpu {v.cpu_ppm // 10_000} %, memory {v.memory_ppm // 10_000} %, load {v.load_ppm / 1e6:.2f} per core"
        )
        yield VitalsWave(
            "vitals", confidence, content, self.cost_ulf, self.site, tick.boot, tick.now_ms,
            v.cpu_ppm, v.memory_ppm, v.disk_ppm, v.load_ppm,
        )  # fmt: skip
