"""The site's energy: what it draws, holds and emits, and when a training may start (COL-06, COL-16)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from shared.message import Decision, PlacedReply, Ppm, Request, Signal

WindowReason = Literal["OK", "GRID_CONSTRAINT", "OFFPEAK_REQUIRED", "NO_READING", "POLICY_FAILED"]
#: What was read, and how far it can be believed: `declared` is somebody's word, and no meter's.
MeterKind = Literal["declared", "file", "csv", "simulated"]
Natural = Annotated[int, msgspec.Meta(ge=0, le=2_000_000_000)]
Minute = Annotated[int, msgspec.Meta(ge=0, le=1_439)]  #: of the site's own day

Purpose = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]  #: the job, or the model family


class SiteReading(Signal, subject="site.energy.reading.{site}"):
    """One reading of a site's meters, with the site's own clock and tariff: whoever judges it needs nothing else."""

    site: str
    source: MeterKind
    taken_ms: int
    power_kw: Natural  #: what the site draws from the grid
    soc_ppm: Ppm  #: the battery's state of charge; full where there is none to empty
    nox_mg_h: Natural | None  #: what turbines emit; None where nobody measures it
    nox_permit_mg_h: Natural | None  #: what the permit allows; None where nobody says
    turbines: bool | None  #: whether there are any, as the operator says; None where nobody says
    local_minute: Minute  #: when it was taken
    off_peak_from: Minute
    off_peak_to: Minute  #: not in it any more; earlier than `off_peak_from` where the window crosses midnight


class PowerWindow(PlacedReply, subject="site.energy.window.reply"):
    """Whether a job may start now, how large, and when to ask again; the decision stands at (index, offset)."""

    site: str
    allowed: bool
    reason: WindowReason
    scale_ppm: Ppm
    delay_s: int
    throttle_ppm: Ppm  #: how far jobs that run already are throttled; 1,000,000 is not at all
    off_peak: bool


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
    local_minute: int  #: of the site's own day, 0 to 1439; -1 where there is no reading
    taken_ms: int  #: of the reading; 0 where there is none
    power_kw: int
    soc_ppm: int
    nox_mg_h: int | None
    nox_permit_mg_h: int | None
    turbines: bool | None
    policy: str  #: digest
    input_digest: str
    engine: str
    heavy: bool = False  #: a heavy job asked, which starts outside the window from a full battery alone
    off_peak_from: int = -1
    off_peak_to: int = -1
    source: str = ""  #: of the reading; empty where there is none


class PowerWindowRequest(Request, subject="site.energy.window.request", reply=PowerWindow):
    """Ask whether a job may start at a site, or whether its power allows a promotion."""

    site: str
    purpose: Purpose  #: the decision says it too, so that others can take it as evidence
    heavy: bool = False  #: a heavy run waits for the off-peak window, or for a full battery
