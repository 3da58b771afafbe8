"""What a soak came to: its lines, and all that was seen on the way."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from deploy.soak.judge import Line
from deploy.soak.samples import Samples


@dataclass(frozen=True, slots=True)
class Struck:
    """What a strike did, or by what it missed, and when."""

    at_s: float
    kind: str
    what: str
    landed: bool


@dataclass
class Outcome:
    """What a soak of so many seconds came to."""

    seed: int
    seconds: float
    planned: int
    lines: list[Line] = field(default_factory=list[Line])
    struck: list[Struck] = field(default_factory=list[Struck])
    samples: Samples = field(default_factory=Samples)
    acknowledged: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])  #: in all, by the time
    asked: Counter[str] = field(default_factory=Counter[str])
    answered: Counter[str] = field(default_factory=Counter[str])
    refused: Counter[str] = field(default_factory=Counter[str])
    ingested: int = 0
    interrupted: bool = False

    @property
    def failed(self) -> list[str]:
        """The names of the lines that failed."""
        return [line.name for line in self.lines if line.ok is False]

    @property
    def summary(self) -> str:
        """The verdict in one line."""
        judged = sum(line.ok is not None for line in self.lines)
        verdict = f"failed: {', '.join(self.failed)}" if self.failed else "nothing failed"
        landed = sum(one.landed for one in self.struck)
        return f"{verdict}; {judged} of {len(self.lines)} lines judged, {landed} strikes"

    def as_json(self) -> dict[str, Any]:
        """Return the outcome as plain values, without the measurements."""
        return {
            "ok": not self.failed,
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "interrupted": self.interrupted,
            "acknowledged": self.acknowledged[-1][1] if self.acknowledged else 0,
            "asked": dict(self.asked),
            "answered": dict(self.answered),
            "refused": dict(self.refused),
            "ingested": self.ingested,
            "planned": self.planned,
            "struck": [asdict(one) for one in self.struck],
            "lines": [asdict(line) for line in self.lines],
        }
