"""Power: when a job may begin, at which pace it goes on, and for how long it has a seat.

Power says when and how fast, never what: batch, steps and workers stay as the job says, so that its outcome depends on
none of it. A scale of 0.8 and a throttle of 0.5 are shares of the time that each worker may compute. While the grid is
short running jobs are throttled; where a window closes otherwise, or nobody reads the meters, they hold still.

A job without power has no seat: whoever waits or holds still is in nobody's way.
"""

from __future__ import annotations

import asyncio
import contextlib

from organs.trainer.asking import Asking
from organs.trainer.run import Run
from shared.constant import constant
from shared.errors import Refusal, Unreachable
from shared.subjects.energy import PowerWindow, PowerWindowRequest
from shared.subjects.system import Decided
from shared.subjects.training import JobState, MoveJob
from shared.training.jobs import PPM
from shared.world import within

RECHECK_S = constant(300.0, "s", "COL-07")
LEAST_WAIT_S = constant(5.0, "s", "COL-07")
JOBS_AT_ONCE = constant(1, "jobs", "COL-07")  # the others wait: each has workers of its own


class Power:
    """A site's power for its jobs, and the seats of those that have some. `turned` is set, and replaced, as the window
    changes.
    """

    def __init__(self, asking: Asking, site: str, *, metered: bool) -> None:
        """`metered` says whether the site has a meter, or somebody who speaks for it: then no reading is no power."""
        self.asking, self.site, self.metered = asking, site, metered
        self.seats = asyncio.Semaphore(JOBS_AT_ONCE)
        self.turned = asyncio.Event()

    def turn(self) -> None:
        """Have every job look again now."""
        self.turned.set()
        self.turned = asyncio.Event()

    async def window(self, job: str, *, heavy: bool) -> PowerWindow:
        """Return whether a job may compute now; where nobody knows, it may not. A heavy one begins off-peak."""
        try:
            answer = await self.asking.log.request(PowerWindowRequest(self.site, job, heavy))
        except Unreachable:
            answer = Refusal("B006")
        if isinstance(answer, Refusal):
            return nobody_knows(self.site)
        assert isinstance(answer, PowerWindow)
        return answer


class Share:
    """One job's share of the power. Owns the job's seat, which it has only while there is power for it."""

    def __init__(self, power: Power, job: str, *, heavy: bool) -> None:
        self.power, self.job, self.heavy = power, job, heavy
        self.waited = False  #: for power or for a seat, so that what was so before may be otherwise now
        self._seated = False
        self._turned = power.turned

    def pace(self, window: PowerWindow) -> int:
        """Return the share of the time that the job may compute under a window, in millionths."""
        if window.allowed:
            return window.scale_ppm
        if window.reason == "GRID_CONSTRAINT":
            return window.throttle_ppm
        unmetered = window.reason == "NO_READING" and not self.power.metered
        return PPM if unmetered and not self.heavy else 0

    async def begin(self, attempt: int, step: int) -> PowerWindow:
        """Wait until the job may begin, and return the window that lets it. What it waits for stands in the log."""
        told = ""
        while True:
            window = await self._look(heavy=self.heavy)
            if window.reason != "GRID_CONSTRAINT" and self.pace(window):
                if await self._take():
                    return window
                continue
            self.give()
            self.waited = True
            if window.reason != told:
                told = window.reason
                place = (window.index, window.offset)
                move = MoveJob(self.job, "waiting", f"power: {told}", attempt, step, *place)
                await self.power.asking.ask(move, Decided)
            await self._wait(max(float(window.delay_s), LEAST_WAIT_S))

    async def follow(self, run: Run) -> None:
        """Set a run's pace as the window changes, until it is cancelled. While it holds still it has no seat."""
        while True:
            await self._wait(RECHECK_S)
            window = await self._look(heavy=False)
            while self.pace(window) and not await self._take():
                window = await self._look(heavy=False)
            before, pace = run.live.pace_ppm, self.pace(window)
            if pace != before:
                await run.pace(pace)
            if not pace:
                self.give()
            if bool(pace) != bool(before):
                await self._tell("running" if pace else "paused", window, run)

    def give(self) -> None:
        """Give the seat to whoever waits for one."""
        if self._seated:
            self._seated = False
            self.power.seats.release()

    async def _take(self) -> bool:
        """Take a seat; False where that took a while, for the window may be another now."""
        if self._seated:
            return True
        taken = self.power.seats.locked()
        await self.power.seats.acquire()
        self._seated, self.waited = True, self.waited or taken
        return not taken

    async def _look(self, *, heavy: bool) -> PowerWindow:
        self._turned = self.power.turned
        return await self.power.window(self.job, heavy=heavy)

    async def _wait(self, seconds: float) -> None:
        """Wait until somebody says that the window changed since the last look, at most so long."""
        with contextlib.suppress(TimeoutError):
            await within(seconds, self._turned.wait())

    async def _tell(self, state: JobState, window: PowerWindow, run: Run) -> None:
        why, place = f"power: {window.reason}", (window.index, window.offset)
        await self.power.asking.tell(MoveJob(self.job, state, why, run.attempt, run.live.step, *place))


def nobody_knows(site: str) -> PowerWindow:
    """Return the window where nobody answers: no power is not known to be there."""
    nothing = {"scale_ppm": 0, "throttle_ppm": 0, "delay_s": round(LEAST_WAIT_S)}
    return PowerWindow(site, allowed=False, reason="NO_READING", off_peak=False, index=-1, offset=0, **nothing)
