"""The body: what its cells feel of the way ahead, the light and the motors, what its nerves decide, how it is moved."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import msgspec

from shared.constant import constant
from shared.message import Decision, Ppm, Reply, Request, Wave
from shared.subjects.gates import Outcome

OBSTACLE_MM = constant(300, "mm", "NIM-13")  # nearer than this ahead is an obstacle
STOPPING_MM = constant(
    130, "mm", "NIM-13"
)  # nearer is danger: braking from cruise (50) and the 0.4 s a sensor may be lost
CRUISE_MM_S = constant(200, "mm/s", "NIM-13")
TURN_CDEG_S = constant(9_000, "cdeg/s", "NIM-13")
TOLERANCE_MM = constant(50, "mm", "NIM-05")  # off by no more confirms an evasion; up to three times it is partial
EVIDENCE_MS = constant(400, "ms", "NIM-13")  # evidence older than this is missing evidence
HOLD_MS = constant(400, "ms", "NIM-12")  # a movement that nobody renews ends by itself
FULL_CIRCLE_CDEG = constant(36_000, "cdeg", "NIM-12")
LEFT_CDEG = constant(27_000, "cdeg", "NIM-12")
RIGHT_CDEG = constant(9_000, "cdeg", "NIM-12")

Mm = Annotated[int, msgspec.Meta(ge=0, le=100_000)]
Speed = Annotated[int, msgspec.Meta(ge=-1_000, le=1_000)]  #: mm/s, forward is positive
Rate = Annotated[int, msgspec.Meta(ge=-36_000, le=36_000)]  #: cdeg/s, clockwise is positive
Millilux = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]
Name = Annotated[str, msgspec.Meta(max_length=32)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]

#: ABSENT: there is no such sensor. LOST: there is one, and it saw nothing it could report.
Quality = Literal["ABSENT", "LOST", "NOISY", "NORMAL", "STABLE"]
MotorState = Literal[
    "ABSENT", "IDLE", "COMMANDED", "ACCELERATING", "MOVING", "DECELERATING", "STOPPED", "STALLED", "EMPTY"
]
Action = Literal["forward", "turn", "stop"]
Commander = Literal["collision", "person", "charging", "exploration"]  #: the higher rank first
Habit = Literal["deliberate", "hybrid", "reflex"]
CollisionState = Literal["DISABLED", "IDLE", "DETECT", "EVALUATE", "EVADE", "RESUME", "BOXED_IN"]
CollisionReason = Literal[
    "ready", "obstacle", "danger", "stalled", "contradiction", "evaluated", "clear", "false_alarm",
    "verified", "not_clear", "boxed_in", "freed", "rescan", "no_front", "no_motor", "silent",
]  # fmt: skip
ExplorationState = Literal["RESTING", "CRUISE", "TURN", "BLIND"]
ChargingState = Literal["CONTENT", "SEEK", "DOCKED", "EXHAUSTED"]


class Range(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one direction of a range sensor says; `mm` is None exactly where quality is ABSENT or LOST."""

    mm: Mm | None
    quality: Quality


class DistanceWave(Wave, subject="nervous.cells.distance.wave"):
    """How far it is to the nearest thing ahead, to the left and to the right, by one sensor.

    Its domain is `danger` inside the stopping distance, else `obstacle`; its polarity is -1 where there is none.
    """

    site: str
    sensor: Name
    taken_ms: int
    front: Range
    left: Range
    right: Range


class LightWave(Wave, subject="nervous.cells.light.wave"):
    """How light it is, and on which side more so; `direction_cdeg` is where the light comes from, where that shows."""

    site: str
    taken_ms: int
    quality: Quality
    level_mlux: Millilux
    left_mlux: Millilux
    right_mlux: Millilux


class MotorWave(Wave, subject="nervous.cells.motor.wave"):
    """What the motors do; STALLED, with confidence 1, where they were told to move and cannot."""

    site: str
    taken_ms: int
    state: MotorState
    speed_mm_s: Speed
    rate_cdeg_s: Rate
    spent_ulf: Count  #: what moving cost since the body was put down


class BoxedInWave(Wave, subject="nervous.nerves.collision.wave"):
    """The body turned once around and found no way out: it has stopped, and somebody else must help."""

    site: str
    taken_ms: int


class MotorReply(Reply, subject="nervous.motors.move.reply"):
    """The command was obeyed, and ends by itself at `until_ms` unless it is renewed."""

    site: str
    commander: Commander
    number: Count
    until_ms: int


class MotorRequest(Request, subject="nervous.motors.move.request", reply=MotorReply, ttl_ms=2_000):
    """Move the body, for as long as `hold_ms` after `issued_ms`.

    `number` fences: of one commander no command is obeyed after one with a higher number. A stop is always obeyed.
    """

    site: str
    commander: Commander
    number: Count
    action: Action
    speed_mm_s: Speed
    rate_cdeg_s: Rate
    issued_ms: int
    hold_ms: Annotated[int, msgspec.Meta(ge=0, le=1_000)]


class Helm(NamedTuple):
    """Who commands which body, under which number, at what time: it makes that commander's commands."""

    site: str
    commander: Commander
    number: int
    now_ms: int

    def forward(self) -> MotorRequest:
        """Return the command to go straight on."""
        return self._command("forward", CRUISE_MM_S, 0)

    def turn(self, rate_cdeg_s: int) -> MotorRequest:
        """Return the command to turn on the spot."""
        return self._command("turn", 0, rate_cdeg_s)

    def stop(self) -> MotorRequest:
        """Return the command to stand still."""
        return self._command("stop", 0, 0)

    def _command(self, action: Action, speed: int, rate: int) -> MotorRequest:
        return MotorRequest(self.site, self.commander, self.number, action, speed, rate, self.now_ms, HOLD_MS)


class CollisionDecided(Decision, subject="nervous.collision.event.{site}.decided"):
    """A step in avoiding a collision: the states gone through, for which reason, and what it rests on."""

    site: str
    before: CollisionState
    path: tuple[CollisionState, ...]  #: the states gone through, the last is where it stands now
    reason: CollisionReason
    habit: Habit
    degraded: bool  #: no sensor says what is to the left or to the right
    domain: Literal["danger", "obstacle"]
    front_mm: int | None
    left_mm: int | None
    right_mm: int | None
    rate_cdeg_s: Rate  #: which way it turns
    number: Count  #: of its commands
    since_ms: int  #: when what it is about was detected
    at_ms: int  #: when this step was taken
    expected_mm: int  #: how far it should be clear after the evasion
    found_mm: int  #: how far it is, up to what was expected
    outcome: Outcome | None  #: of an evasion that is over
    confirmed: Count
    failed: Count
    weight_ppm: Ppm
    cost_ulf: Count  #: as designed: the transitions, and the deliberation of its habit
    earned_ulf: int


class ExplorationDecided(Decision, subject="nervous.exploration.event.{site}.decided"):
    """A leg of exploring: straight on, a turn, or a stop for want of evidence."""

    site: str
    before: ExplorationState
    after: ExplorationState
    reason: Literal["clear", "leg_over", "turned", "silent", "no_front"]
    leg: Count
    rate_cdeg_s: Rate
    until_ms: int
    cost_ulf: Count


class ChargingDecided(Decision, subject="nervous.charging.event.{site}.decided"):
    """A step in getting energy: the dock is sought, reached or left, or the battery is running out."""

    site: str
    before: ChargingState
    after: ChargingState
    reason: Literal["low", "critical", "docked", "charged", "undocked", "exhausted", "no_battery"]
    charge_ppm: Ppm
    number: Count
    cost_ulf: Count
    earned_ulf: int
