"""The site's energy: what it draws, holds and emits, and when a training may start (COL-06, COL-16)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from shared.message import Decision, Ppm, Reply, Request, Signal

WindowReason = Literal["OK", "GRID_CONSTRAINT", "OFFPEAK_REQUIRED", "NO_READING"]
Natural = Annotated[int, msgspec.Meta(ge=0)]


class SiteReading(Signal, subject="site.energy.reading.{site}"):
    """One reading of a site's meters."""

    site: str
    taken_ms: int
    power_kw: Natural  #: what the site draws from the grid
    soc_ppm: Ppm  #: the battery's state of charge
    nox_mg_h: Natural | None  #: what turbines emit; None where there are none
    nox_permit_mg_h: Natural | None  #: what the permit allows


class PowerWindow(Reply, subject="site.energy.window.reply"):
    """Whether a job may start now, how large, and when to ask again; the decision stands at (index, offset)."""

    site: str
    allowed: bool
    reason: WindowReason
    scale_ppm: Ppm
    delay_s: int
    throttle_ppm: Ppm  #: how far jobs that run already are throttled; 1,000,000 is not at all
    index: int
    offset: int


class PowerWindowDecided(Decision, subject="site.energy.event.{site}.window"):
    """The window of a site changed, or somebody asked: the answer, the reading, and the policy that gave it."""

    site: str
    purpose: str  #: the job or the model family it was asked for; empty where the window changed by itself
    allowed: bool
    reason: WindowReason
    scale_ppm: Ppm
    delay_s: int
    throttle_ppm: Ppm
    off_peak: bool
    local_minute: int  #: of the site's own day, 0 to 1439
    taken_ms: int  #: of the reading; 0 where there is none
    power_kw: int
    soc_ppm: int
    nox_mg_h: int | None
    nox_permit_mg_h: int | None
    policy: str  #: digest
    input_digest: str
    engine: str


class PowerWindowRequest(Request, subject="site.energy.window.request", reply=PowerWindow):
    """Ask whether a job may start at a site, or whether its power allows a promotion."""

    site: str
    purpose: str  #: the job, or the model family: the decision says it too, so that others can take it as evidence
