"""The port through which the sensor cell reads a machine, with its real and its simulated adapter."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from shared.world import SimWorld


@dataclass(frozen=True, slots=True)
class Reading:
    """Shares in millionths; `load_ppm` is the one-minute run queue per core and may exceed a million."""

    cpu_ppm: int
    memory_ppm: int
    disk_ppm: int
    load_ppm: int


class Vitals(Protocol):
    """Whatever can be asked how loaded a machine is."""

    def read(self) -> Reading: ...


class MachineVitals:
    """The machine this process runs on, through psutil; the processor share is measured since the last reading."""

    def __init__(self, folder: Path) -> None:
        self.folder = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
        psutil.cpu_percent(interval=None)

    def read(self) -> Reading:
        return Reading(
            _ppm(psutil.cpu_percent(interval=None)),
            _ppm(psutil.virtual_memory().percent),
            _ppm(psutil.disk_usage(str(self.folder)).percent),
            _ppm(100 * psutil.getloadavg()[0] / (os.cpu_count() or 1)),
        )


class SimVitals:
    """A simulated machine: a slow swing with a little noise, both from the World."""

    def __init__(self, world: SimWorld) -> None:
        self.world = world

    def read(self) -> Reading:
        swing = 50 + 45 * math.sin(self.world.elapsed_s() / 40) + 5 * self.world.chance()
        return Reading(_ppm(swing), _ppm(40 + 5 * self.world.chance()), _ppm(30), _ppm(swing * 1.2))


def _ppm(percent: float) -> int:
    return max(0, round(percent * 10_000))
