"""The motors' own state machine, in integers: speeds that follow a command, and a command that ends by itself.

IDLE → COMMANDED → ACCELERATING → MOVING → DECELERATING → STOPPED → IDLE; STALLED from any, until told to move again.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.constant import constant
from shared.subjects.body import MotorState

STEP_MS = constant(10, "ms", "NIM-12")
ACCELERATION = constant(400, "mm/s²", "NIM-12")
TURNING = constant(36_000, "cdeg/s²", "NIM-12")
REST_MS = constant(1_000, "ms", "NIM-12")  # after standing still for so long it is idle

COMMANDED_ULF = constant(100_000, "micro-lifeforce", "NIM-12")
ACCELERATING_ULF = constant(500_000, "micro-lifeforce", "NIM-12")
MOVING_ULF = constant(1_000_000, "micro-lifeforce", "NIM-12")
MOVING_ULF_PER_S = constant(300_000, "micro-lifeforce/s", "NIM-12")
DECELERATING_ULF = constant(200_000, "micro-lifeforce", "NIM-12")
STOPPED_ULF = constant(100_000, "micro-lifeforce", "NIM-12")
ENTERING_ULF: dict[MotorState, int] = {
    "COMMANDED": COMMANDED_ULF, "ACCELERATING": ACCELERATING_ULF, "MOVING": MOVING_ULF,
    "DECELERATING": DECELERATING_ULF, "STOPPED": STOPPED_ULF,
}  # fmt: skip
_PER_STEP = ACCELERATION * STEP_MS // 1_000, TURNING * STEP_MS // 1_000


@dataclass
class Drive:
    """Two wheels' speed and rate of turning; owned by whoever steps it."""

    state: MotorState = "IDLE"
    speed_mm_s: int = 0
    rate_cdeg_s: int = 0
    goal: tuple[int, int] = (0, 0)  #: the speed and the rate that were commanded
    until_ms: int = 0  #: when the command ends by itself
    spent_ulf: int = 0
    rested_ms: int = 0
    powered: bool = True
    freed: bool = True  #: it was told to move since it stalled

    def command(self, speed_mm_s: int, rate_cdeg_s: int, until_ms: int) -> None:
        """Take a command; of several between two steps only the last counts."""
        self.goal, self.until_ms = (speed_mm_s, rate_cdeg_s), until_ms
        self.freed = self.freed or self.goal != (0, 0)

    def stall(self) -> None:
        """Stand still against something: the command is over."""
        self.speed_mm_s = self.rate_cdeg_s = 0
        self.goal, self.freed = (0, 0), False
        self._enter("STALLED")

    def step(self, now_ms: int) -> None:
        """Move on by one step, to `now_ms`."""
        if now_ms >= self.until_ms or not self.powered:
            self.goal = (0, 0)
        if self.state == "STALLED" and not self.freed:
            return
        if self.goal != (0, 0) and self.state in ("IDLE", "STOPPED", "STALLED"):
            self._enter("COMMANDED")
            return
        speed, rate = self.goal
        self.speed_mm_s = _towards(self.speed_mm_s, speed, _PER_STEP[0])
        self.rate_cdeg_s = _towards(self.rate_cdeg_s, rate, _PER_STEP[1])
        self._follow()

    def _follow(self) -> None:
        """Name the state that the speeds mean."""
        still = (self.speed_mm_s, self.rate_cdeg_s) == (0, 0)
        if self.goal == (0, 0):
            if not still:
                self._enter("DECELERATING")
            elif self.state not in ("IDLE", "STOPPED"):
                self._enter("STOPPED")
            else:
                self.rested_ms += STEP_MS
                if self.rested_ms >= REST_MS:
                    self.state = "IDLE"
        elif (self.speed_mm_s, self.rate_cdeg_s) == self.goal:
            self._enter("MOVING")
            self.spent_ulf += MOVING_ULF_PER_S * STEP_MS // 1_000
        else:
            self._enter("ACCELERATING")

    def _enter(self, state: MotorState) -> None:
        if self.state != state:
            self.state, self.rested_ms = state, 0
            self.spent_ulf += ENTERING_ULF.get(state, 0)

    @property
    def resting(self) -> bool:
        """Whether nothing will change without a command."""
        return self.goal == (0, 0) and (self.state == "IDLE" or (self.state == "STALLED" and not self.freed))


def _towards(value: int, goal: int, most: int) -> int:
    return min(value + most, goal) if goal > value else max(value - most, goal)
