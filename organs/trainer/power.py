"""Power: when a heavy job may begin, and at which pace it goes on.

Power says when and how fast, never what: batch, steps and workers stay as the job says, so that its outcome depends on
none of it. A scale of 0.8 and a throttle of 0.5 are shares of the time that each worker may compute. While the grid is
short running jobs are throttled; where a window closes otherwise, or nobody reads the meters, they hold still.
"""

from __future__ import annotations

import asyncio

from organs.trainer.asking import Asking
from organs.trainer.run import Run
from shared.constant import constant
from shared.errors import Refusal, Unreachable
from shared.subjects.energy import PowerWindow, PowerWindowRequest
from shared.subjects.system import Decided
from shared.subjects.training import MoveJob
from shared.world import within

RECHECK_S = constant(300.0, "s", "COL-07")
LEAST_WAIT_S = constant(5.0, "s", "COL-07")


class Power:
    """Follows a site's power for its jobs. `turned` is set where the window is said to have changed."""

    def __init__(self, asking: Asking, site: str) -> None:
        self.asking, self.site = asking, site
        self.turned = asyncio.Event()

    async def window(self, job: str, *, begins: bool = False) -> PowerWindow:
        """Return whether a job may compute now; where nobody knows, it may not. A heavy one begins off-peak."""
        try:
            answer = await self.asking.log.request(PowerWindowRequest(self.site, job, heavy=begins))
        except Unreachable:
            answer = Refusal("B006")
        if isinstance(answer, Refusal):
            return nobody_knows(self.site)
        assert isinstance(answer, PowerWindow)
        return answer

    async def begin(self, job: str, attempt: int, step: int) -> PowerWindow:
        """Wait until a job may begin, and return the window that lets it. What it waits for stands in the log."""
        told = ""
        while True:
            window = await self.window(job, begins=True)
            if window.allowed and window.scale_ppm:
                return window
            if window.reason != told:
                told = window.reason
                place = (window.index, window.offset)
                await self.asking.ask(MoveJob(job, "waiting", f"power: {told}", attempt, step, *place), Decided)
            await self._wait(max(float(window.delay_s), LEAST_WAIT_S))

    async def follow(self, job: str, run: Run) -> None:
        """Set a run's pace as the window changes, until it is cancelled."""
        held = False
        while True:
            await self._wait(RECHECK_S)
            window = await self.window(job)
            pace, place = pace_of(window), (window.index, window.offset)
            why = f"power: {window.reason}"
            if pace == run.live.pace_ppm:
                continue
            await run.pace(pace)
            if not pace and not held:
                await self.asking.ask(MoveJob(job, "paused", why, run.attempt, run.live.step, *place), Decided)
            elif pace and held:
                await self.asking.ask(MoveJob(job, "running", why, run.attempt, run.live.step, *place), Decided)
            held = not pace

    async def _wait(self, seconds: float) -> None:
        """Wait until somebody says that the window changed, at most so long."""
        try:
            await within(seconds, self.turned.wait())
        except TimeoutError:
            return
        self.turned.clear()


def pace_of(window: PowerWindow) -> int:
    """Return the share of the time that a running job may compute under a window, in millionths."""
    if window.allowed:
        return window.scale_ppm
    return window.throttle_ppm if window.reason == "GRID_CONSTRAINT" else 0


def nobody_knows(site: str) -> PowerWindow:
    """Return the window where nobody answers: no power is not known to be there."""
    nothing = {"scale_ppm": 0, "throttle_ppm": 0, "delay_s": round(LEAST_WAIT_S)}
    return PowerWindow(site, allowed=False, reason="NO_READING", off_peak=False, index=-1, offset=0, **nothing)
