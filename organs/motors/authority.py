"""Who may move the body: commands are judged by their number, their age, their rank and the motors' limits."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import get_args

from shared.constant import constant
from shared.envelope.admission import CLOCK_SKEW_MS
from shared.errors import Refusal
from shared.subjects.body import Commander, MotorRequest

FASTEST_MM_S = constant(300, "mm/s", "NIM-12")
FASTEST_CDEG_S = constant(18_000, "cdeg/s", "NIM-12")
REFLEX_HOLD_MS = constant(300, "ms", "NIM-06")  # for so long after a reflex nobody but the collision nerve moves it
REFLEXES = constant(1_000, "reflexes", "X-12")
RANKS: tuple[Commander, ...] = get_args(Commander)  #: the highest first


@dataclass(frozen=True, slots=True)
class Motion:
    """What the motors shall do, and until when; at rest by itself from then on."""

    speed_mm_s: int
    rate_cdeg_s: int
    until_ms: int


REST = Motion(0, 0, 0)


@dataclass
class Authority:
    """Judges commands in the order they come; what it holds is forgotten in a restart, which moves nothing."""

    site: str
    numbers: dict[Commander, int] = field(default_factory=dict[Commander, int])
    holder: Commander = "exploration"
    held_until_ms: int = 0
    evading: bool = False  #: the holder is turning away from an obstacle
    reflexes: OrderedDict[bytes, None] = field(default_factory=OrderedDict[bytes, None])

    def judge(self, request: MotorRequest, now_ms: int) -> Motion | Refusal:
        """Return the motion that a command means, or why it is not obeyed. A stop always is."""
        if request.site != self.site:
            return Refusal("B012", f"these are the motors of {self.site!r}, not of {request.site!r}")
        until_ms = min(request.issued_ms, now_ms) + request.hold_ms  # a clock that is ahead holds no longer
        if request.action != "stop":
            no = self._objection(request, until_ms, now_ms)
            if no is not None:
                return no
        self._take(request, until_ms, now_ms)
        match request.action:
            case "stop":
                return REST
            case "turn":
                return Motion(0, request.rate_cdeg_s, until_ms)
            case "forward":
                return Motion(request.speed_mm_s, 0, until_ms)

    def _objection(self, request: MotorRequest, until_ms: int, now_ms: int) -> Refusal | None:
        """Return why a command to move is not obeyed."""
        if until_ms <= now_ms or request.issued_ms > now_ms + CLOCK_SKEW_MS:
            return Refusal("B010", f"the command is for {request.issued_ms} to {until_ms} ms, it is {now_ms} ms")
        last = self.numbers.get(request.commander, 0)
        if request.number < last:
            return Refusal("M001", f"{request.commander} commanded number {last} before; this is {request.number}")
        if abs(request.speed_mm_s) > FASTEST_MM_S or abs(request.rate_cdeg_s) > FASTEST_CDEG_S:
            found = f"{request.speed_mm_s} mm/s and {request.rate_cdeg_s} cdeg/s"
            return Refusal("M003", f"{found}; at most {FASTEST_MM_S} and {FASTEST_CDEG_S} are possible")
        if now_ms < self.held_until_ms and _rank(request.commander) > _rank(self.holder):
            return Refusal("M002", f"{self.holder} holds the motors for {self.held_until_ms - now_ms} ms more")
        return None

    def reflex(self, wave_id: bytes, now_ms: int) -> bool:
        """Take the motors for a reflex; False where this wave has stopped the body before, or it is evading already.

        Turning on the spot runs into nothing, and to stop it would leave the body before its obstacle for ever.
        """
        if wave_id in self.reflexes or (self.evading and now_ms < self.held_until_ms):
            return False
        self.reflexes[wave_id] = None
        while len(self.reflexes) > REFLEXES:
            self.reflexes.popitem(last=False)
        self.holder, self.held_until_ms, self.evading = "collision", now_ms + REFLEX_HOLD_MS, False
        return True

    def _take(self, request: MotorRequest, until_ms: int, now_ms: int) -> None:
        """Note a command that is obeyed; one of a lower rank takes nothing from a higher one that holds."""
        self.numbers[request.commander] = max(request.number, self.numbers.get(request.commander, 0))
        held = now_ms < self.held_until_ms and _rank(request.commander) > _rank(self.holder)
        if not held and until_ms > now_ms:
            self.holder, self.held_until_ms = request.commander, until_ms
            self.evading = request.commander == "collision" and request.action == "turn"


def _rank(commander: Commander) -> int:
    return RANKS.index(commander)
