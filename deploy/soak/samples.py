"""What long-living processes hold, looked at now and then, and whether it grows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import psutil

from shared.constant import constant

SAMPLE_S = constant(2.0, "s", "X-07")
JUDGED_SHARE = constant(1 / 3, "share", "X-07")  #: of a soak, at its end, in which growth is judged
WARM_S = constant(30.0, "s", "X-07")  #: after everything works again, before growth is judged
LEAST_S = constant(100.0, "s", "X-07")  #: the shortest time that growth is judged over
PER_S = constant(600.0, "s", "X-07")
LIMIT_PERCENT = constant(1.0, "%", "X-07")  #: growth in PER_S that is too much
SURE = constant(2.0, "standard errors", "X-07")


@dataclass(frozen=True, slots=True)
class Sample:
    """What the processes of one role held at a moment: memory of their own, and open files.

    `due_bytes` is what it is meant to keep by then of all that it was told: a leak comes on top of it.
    """

    at_s: float
    pid: int
    memory_bytes: int
    handles: int
    due_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Trend:
    """A straight line through measurements: its slope, in percent of their mean per PER_S, and the slope's error."""

    percent: float
    error: float

    @property
    def holds(self) -> bool | None:
        """Whether the growth is surely below the limit, or surely not; None where it scatters too much to tell."""
        if self.percent + SURE * self.error < LIMIT_PERCENT:
            return True
        return False if self.percent - SURE * self.error >= LIMIT_PERCENT else None


@dataclass
class Samples:
    """What every role held, by its name."""

    of: dict[str, list[Sample]] = field(default_factory=dict[str, list[Sample]])

    def take(self, at_s: float, role: str, processes: Iterable[psutil.Process], due_bytes: int = 0) -> None:
        """Look at a role's processes, the first of them its own; one that is gone meanwhile is looked at next time."""
        memory, handles, pids = 0, 0, list[int]()
        try:
            for process in processes:
                held = process.memory_info()
                memory += held.rss - held.shared  # pages that processes share would count once for each of them
                handles += process.num_fds()
                pids.append(process.pid)
        except psutil.Error:
            return
        if pids:
            self.of.setdefault(role, []).append(Sample(at_s, pids[0], memory, handles, due_bytes))

    def youngest(self, role: str, since_s: float) -> list[Sample]:
        """Return the samples of a role's youngest process since then."""
        taken = self.of.get(role, [])
        return [one for one in taken if one.pid == taken[-1].pid and one.at_s >= since_s]


def trend(points: Sequence[tuple[float, float]]) -> Trend:
    """Return the least-squares line through (s, value), relative to the mean value.

    Neighbouring measurements resemble each other, so they count as fewer than they are: the error of the slope is that
    of as many independent ones as their first autocorrelation leaves.
    """
    count, mean_s, mean = len(points), *(sum(column) / len(points) for column in zip(*points, strict=True))
    spread = sum((at_s - mean_s) ** 2 for at_s, _ in points)
    slope = sum((at_s - mean_s) * (value - mean) for at_s, value in points) / spread
    left = [value - mean - slope * (at_s - mean_s) for at_s, value in points]
    square = sum(one * one for one in left)
    alike = sum(a * b for a, b in pairwise(left)) / square if square else 0.0
    effective = max(count * (1 - alike) / (1 + alike), 3.0) if alike > 0 else float(count)
    error = math.sqrt(square / count * effective / (effective - 2) / (spread * effective / count))
    scale = 100 * PER_S / mean if mean else 0.0
    return Trend(slope * scale, error * scale)
