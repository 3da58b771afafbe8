"""The port through which the organ moves a body, and its simulated adapter: motors on a bench."""

from __future__ import annotations

from typing import Protocol

from organs.motors.authority import Motion
from organs.motors.drive import STEP_MS, Drive
from shared.world import SimWorld, now_ms


class Motors(Protocol):
    """Whatever moves a body. A motion ends by itself at its `until_ms`, also if nobody ever asks again."""

    async def move(self, motion: Motion) -> None: ...

    async def beat(self) -> None:
        """Let what ended by itself end, where the motors do not see to that themselves."""
        ...


class BenchMotors:
    """Simulated motors that turn freely; nothing is in their way."""

    def __init__(self, world: SimWorld) -> None:
        self.world, self.drive = world, Drive()
        self._at_ms = now_ms(world)

    async def move(self, motion: Motion) -> None:
        self._advance()
        self.drive.command(motion.speed_mm_s, motion.rate_cdeg_s, motion.until_ms)

    async def beat(self) -> None:
        self._advance()

    def _advance(self) -> None:
        now = now_ms(self.world)
        while self._at_ms + STEP_MS <= now and not self.drive.resting:
            self._at_ms += STEP_MS
            self.drive.step(self._at_ms)
        self._at_ms += (now - self._at_ms) // STEP_MS * STEP_MS
