"""The light cell: says how light it is and on which side more so; ABSENT where there is no sensor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import ClassVar, Protocol

from shared.constant import constant
from shared.part import Cell
from shared.settings import Settings
from shared.subjects.body import FULL_CIRCLE_CDEG, LightWave
from shared.subjects.system import Tick
from shared.world import SimWorld, World, now_ms

LIGHTS_AT = constant("/sys/bus/iio/devices", "folder", "NIM-12")
LIGHT_PPM = constant(600_000, "ppm", "NIM-12")
ABSENT_PPM = constant(900_000, "ppm", "NIM-12")
BRIGHTEST_MLUX = constant(1_000_000_000, "mlux", "NIM-12")
ASIDE_CDEG = constant(4_500, "cdeg", "NIM-12")  # how far aside the two side sensors look
LIGHT_EVERY_BEATS = constant(2, "beats", "NIM-12")


@dataclass(frozen=True, slots=True)
class Light:
    """Illuminance in thousandths of a lux: all around, and as sensors see it that look half left and half right."""

    level_mlux: int
    left_mlux: int = 0
    right_mlux: int = 0


class LightSensor(Protocol):
    """Whatever can be asked how light it is; None where there is no sensor."""

    def read(self) -> Light | None: ...


class IioLight:
    """The first light sensor of Linux' industrial I/O; one sensor has no sides."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self) -> Light | None:
        for path in sorted(self.folder.glob("*/in_illuminance_input")):  # in lux, as the kernel has it
            try:
                mlux = Decimal(path.read_text(encoding="ascii").strip()) * 1000
                if 0 <= mlux <= BRIGHTEST_MLUX:
                    return Light(int(mlux))
            except (OSError, UnicodeDecodeError, ArithmeticError):  # it is gone, or what it says is no number
                continue
        return None


class SimLight:
    """A simulated lamp that is dimmed and brightened over a minute of the World's time."""

    def __init__(self, world: SimWorld) -> None:
        self.world = world

    def read(self) -> Light | None:
        phase = now_ms(self.world) % 60_000
        return Light(10 * phase, 4 * phase, 6 * phase)


class LightCell(Cell):
    """Every second beat in, a wave of the light out."""

    name: ClassVar[str] = "light_cell"
    version: ClassVar[str] = "1.0.0"
    cost_ulf: ClassVar[int] = constant(500_000, "micro-lifeforce", "NIM-12")

    def __init__(self, sensor: LightSensor, site: str) -> None:
        self.sensor, self.site = sensor, site

    @classmethod
    def build(cls, settings: Settings, world: World) -> LightCell:  # noqa: ARG003 - as declared
        return cls(IioLight(Path(LIGHTS_AT)), settings.site)

    @classmethod
    def simulate(cls, world: SimWorld) -> LightCell:
        return cls(SimLight(world), "sim")

    def again(self, world: SimWorld) -> LightCell:
        return LightCell(self.sensor, self.site)

    def on_tick(self, tick: Tick) -> Iterator[LightWave]:
        """Say how light it is, or that nobody can tell."""
        if tick.beat % LIGHT_EVERY_BEATS != 1:
            return
        light = self.sensor.read()
        if light is None:
            yield LightWave(
                "light", ABSENT_PPM, "no light sensor", self.cost_ulf, self.site, tick.now_ms, "ABSENT", 0, 0, 0,
                beat=tick.beat,
            )  # fmt: skip
            return
        bearing = bearing_of(light)
        where = "" if bearing is None else f", from {bearing // 100} degrees"
        yield LightWave(
            "light", LIGHT_PPM, f"light of {light.level_mlux // 1000} lux{where}", self.cost_ulf, self.site,
            tick.now_ms, "NORMAL", light.level_mlux, light.left_mlux, light.right_mlux,
            direction_cdeg=bearing, beat=tick.beat,
        )  # fmt: skip


def bearing_of(light: Light) -> int | None:
    """Return where the light comes from, clockwise from straight ahead; None where the sides say nothing.

    Two sensors that look 45 degrees aside see its cosine; their difference over their sum is the tangent, and beyond
    45 degrees only one of them sees anything.
    """
    both = light.left_mlux + light.right_mlux
    if both == 0:
        return None
    aside = ASIDE_CDEG * (light.right_mlux - light.left_mlux) // both
    return aside % FULL_CIRCLE_CDEG
