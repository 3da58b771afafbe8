"""The nervous domain: what cells feel and what nerves decide."""

from __future__ import annotations

from typing import Literal

import msgspec

from shared.message import Decision, Reply, Request, Wave
from shared.subjects.system import Decided


class MathResponse(Reply, subject="nervous.cells.math.response"):
    """The value of an arithmetic text: as the nearest double, and exactly as an integer or a fraction."""

    text: str
    value: float
    exact: str


class MathRequest(Request, subject="nervous.cells.math.request", reply=MathResponse):
    """A text that may be arithmetic: numbers, + - * / // % **, parentheses."""

    text: str


class MathWave(Wave, subject="nervous.cells.math.wave"):
    """How sure the math cell is that what it saw was arithmetic."""


class VitalsWave(Wave, subject="nervous.cells.sensor.wave"):
    """One reading of a machine: shares of processor, memory and disk in use, and the run queue per core."""

    site: str
    boot: str  #: the sensing cell's start; readings of two boots are not one series
    taken_ms: int
    cpu_ppm: int
    memory_ppm: int
    disk_ppm: int
    load_ppm: int


BatteryState = Literal["MONITORING", "LOW", "CRITICAL", "ABSENT"]


class BatteryWave(Wave, subject="nervous.cells.battery.wave"):
    """One reading of a machine's battery, and the state it means; ABSENT where the machine has none."""

    site: str
    taken_ms: int
    state: BatteryState
    charge_ppm: int
    charging: bool


class AssessRequest(Request, subject="nervous.overload.assess.request", reply=Decided):
    """Ask the overload nerve to decide now how loaded a site is, from the readings it remembers."""

    site: str


LoadLevel = Literal["UNKNOWN", "NORMAL", "STRAINED", "OVERLOADED"]
Reason = Literal["sustained", "asked", "silent"]


class Extent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the readings that decided lie between."""

    least_ppm: int
    most_ppm: int


class LoadAssessed(Decision, subject="nervous.overload.event.{site}.assessed", omit_defaults=True):
    """How loaded a site is: the level, and the least and the most of each figure in the readings that decided it.

    What is not said is not written, so a decision of version 1.0 is still read and folded.
    """

    site: str
    level: LoadLevel
    before: LoadLevel
    reason: Reason
    readings: int  #: how many decided; 0 of a site that fell silent
    span_ms: int  #: from the first of them to the last
    cpu_ppm: int | None = None  #: this and the next three only by version 1.0: means of up to thirty readings
    memory_ppm: int | None = None
    disk_ppm: int | None = None
    load_ppm: int | None = None
    cpu: Extent | None = None
    memory: Extent | None = None
    disk: Extent | None = None
    load: Extent | None = None
