"""The motor cell: says what the motors do. Their state is theirs; the cell only reads it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from shared.constant import constant
from shared.part import Cell
from shared.settings import Settings
from shared.subjects.body import MotorState, MotorWave
from shared.subjects.system import Tick
from shared.world import SimWorld, World, now_ms

TACHO = constant("/sys/class/tacho-motor", "folder", "NIM-12")
MOTOR_PPM = constant(700_000, "ppm", "NIM-12")
CERTAIN_PPM = constant(1_000_000, "ppm", "NIM-12")
CERTAIN: tuple[MotorState, ...] = ("STALLED", "EMPTY", "ABSENT")
LIFE: tuple[MotorState, ...] = ("IDLE", "COMMANDED", "ACCELERATING", "MOVING", "DECELERATING", "STOPPED", "STALLED")


@dataclass(frozen=True, slots=True)
class MotorReading:
    """What the motors do now, and what moving cost so far, in millionths of lifeforce."""

    state: MotorState
    speed_mm_s: int = 0
    rate_cdeg_s: int = 0
    spent_ulf: int = 0


class MotorSense(Protocol):
    """Whatever can be asked what the motors do; None where there are none."""

    def read(self) -> MotorReading | None: ...


class TachoSense:
    """The motors of Linux' class tacho-motor; how fast they are in millimetres its files do not say."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self) -> MotorReading | None:
        flags: list[set[str]] = []
        for path in sorted(self.folder.glob("*/state")):
            try:
                flags.append(set(path.read_text(encoding="ascii").split()))
            except (OSError, UnicodeDecodeError):
                return MotorReading("STALLED")  # it was there and cannot be read: never taken for standing still
        return MotorReading(state_of(set[str]().union(*flags))) if flags else None


def state_of(flags: set[str]) -> MotorState:
    """Return the state that the driver's words mean, the worst of several motors first."""
    if flags & {"stalled", "overloaded"}:
        return "STALLED"
    if "ramping" in flags:
        return "ACCELERATING"
    return "MOVING" if "running" in flags else "STOPPED"


class SimMotors:
    """Simulated motors that go through every state of theirs, one a second of the World's time."""

    def __init__(self, world: SimWorld) -> None:
        self.world = world

    def read(self) -> MotorReading | None:
        second = now_ms(self.world) // 1_000
        state = LIFE[second % len(LIFE)]
        return MotorReading(state, 200 if state == "MOVING" else 0, 0, 300_000 * (second % 1_000))


class MotorCell(Cell):
    """A beat in, a wave of the motors' state out."""

    name: ClassVar[str] = "motor_cell"
    version: ClassVar[str] = "1.0.0"
    cost_ulf: ClassVar[int] = constant(500_000, "micro-lifeforce", "NIM-12")

    def __init__(self, motors: MotorSense, site: str) -> None:
        self.motors, self.site = motors, site

    @classmethod
    def build(cls, settings: Settings, world: World) -> MotorCell:  # noqa: ARG003 - as declared
        return cls(TachoSense(Path(TACHO)), settings.site)

    @classmethod
    def simulate(cls, world: SimWorld) -> MotorCell:
        return cls(SimMotors(world), "sim")

    def again(self, world: SimWorld) -> MotorCell:
        return MotorCell(self.motors, self.site)

    def on_tick(self, tick: Tick) -> Iterator[MotorWave]:
        """Say the state; a stall is certain."""
        now = self.motors.read() or MotorReading("ABSENT")
        confidence = CERTAIN_PPM if now.state in CERTAIN else MOTOR_PPM
        content = "no motor" if now.state == "ABSENT" else f"motors {now.state.lower()}, {now.speed_mm_s} mm/s"
        yield MotorWave(
            "motor", confidence, content, self.cost_ulf, self.site, tick.now_ms,
            now.state, now.speed_mm_s, now.rate_cdeg_s, now.spent_ulf, beat=tick.beat,
        )  # fmt: skip
