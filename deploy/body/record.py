"""What a crawl showed: counted from decisions and waves as they come, and from the arena at the end."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, get_args

from deploy.body.arena import AREA_MM, CAPACITY_UJ, Arena, Contact
from organs.motors.organ import STOPPING
from shared.constant import constant
from shared.habit import BEGIN_PPM, habit_of
from shared.message import Decision, Wave
from shared.subjects.body import (
    EVIDENCE_MS,
    BoxedInWave,
    ChargingDecided,
    CollisionDecided,
    ExplorationDecided,
    Habit,
    MotorWave,
)
from shared.subjects.gates import OutcomeJudged, ReflexFired, ReflexGranted, SignalVerified, WeightChanged

SURVIVED_ULF = constant(5_000_000, "micro-lifeforce", "NIM-10")  # for every minute
HABITS: tuple[Habit, ...] = get_args(Habit)
AREA_ULF = constant(3_000_000, "micro-lifeforce", "NIM-10")  # for every new square of ground


@dataclass(frozen=True, slots=True)
class Evasion:
    """One evasion from its first notice to its outcome."""

    at_ms: int
    habit: str
    took_ms: int
    cost_ulf: int
    outcome: str
    weight_ppm: int


@dataclass(frozen=True, slots=True)
class Crawl:
    """What one or several crawls of one body showed, how each arena was left, and the log they made."""

    records: list[Record]
    arenas: list[Arena]
    digest: str = ""  #: of the log; empty where there was no bus
    entries: int = 0
    crashes: int = 0


@dataclass(frozen=True, slots=True)
class Gate:
    """What one gate earned: how far it is trusted, and whether the log holds its grant to act at once."""

    weight_ppm: int
    granted: bool = False


@dataclass
class Weights:
    """How much evasions are trusted: by the collision nerve's own count, and by each gate that stops the body."""

    own_ppm: int = BEGIN_PPM
    gates: dict[str, Gate] = field(default_factory=dict[str, Gate])  #: by domain; replaced, never changed

    def take(self, decision: Decision) -> None:
        """Fold one decision of the log."""
        match decision:
            case CollisionDecided():
                self.own_ppm = decision.weight_ppm
            case WeightChanged() if decision.domain in STOPPING:
                before = self.gates.get(decision.domain)
                self._put(decision.domain, Gate(decision.after_ppm, before is not None and before.granted))
            case ReflexGranted() if decision.domain in STOPPING:
                self._put(decision.domain, Gate(decision.weight_ppm, decision.granted))
            case _:
                pass

    def _put(self, domain: str, gate: Gate) -> None:
        self.gates = dict(sorted({**self.gates, domain: gate}.items()))

    @property
    def reflex(self) -> bool:
        """Whether the nerve itself evades an obstacle at once."""
        return habit_of(self.own_ppm) == "reflex"


@dataclass
class Record:
    """Counts of one crawl; `finish` adds what the arena knows."""

    weights: Weights = field(default_factory=Weights)
    evasions: list[Evasion] = field(default_factory=list[Evasion])
    reasons: dict[str, int] = field(default_factory=dict[str, int])
    decisions: list[Decision] = field(default_factory=list[Decision])
    waves: int = 0
    feeling_ulf: int = 0
    deciding_ulf: int = 0
    earned_ulf: int = 0
    moving_ulf: int = 0
    false_alarms: int = 0
    contradictions: int = 0
    boxed_in: int = 0
    calls_for_help: int = 0
    contacts: list[Contact] = field(default_factory=list[Contact])
    noticed_ms: int | None = None  #: when it was first decided that the battery is running out
    empty_ms: int | None = None
    travelled_mm: int = 0
    squares: int = 0
    energy_mj: int = 0
    absent: list[str] = field(default_factory=list[str])  #: parts of the body that could not start, and why
    refusals: dict[str, int] = field(default_factory=dict[str, int])  #: by part, how many messages it refused by name
    refusal: str = ""  #: the last of them
    _cost_ulf: int = 0  #: of the evasion under way

    def wave(self, wave: Wave) -> None:
        """Count a wave and what feeling it cost."""
        self.waves += 1
        self.feeling_ulf += wave.cost_ulf
        if isinstance(wave, MotorWave):
            self.moving_ulf = wave.spent_ulf
        self.calls_for_help += isinstance(wave, BoxedInWave)

    def refused(self, part: str, why: str) -> None:
        """Count a message that a part refused."""
        self.refusals[part] = self.refusals.get(part, 0) + 1
        self.refusal = f"{part}: {why}"

    def decided(self, decision: Decision, at_ms: int) -> None:
        """Count a decision of the body's nerves, and what the gates that stop it made of them."""
        self.weights.take(decision)
        match decision:
            case SignalVerified() if decision.domain in STOPPING:
                self._count(f"gate of {decision.domain}: opened")
            case ReflexFired() if decision.domain in STOPPING:
                self._count(f"gate of {decision.domain}: reflex")
            case OutcomeJudged() if decision.domain in STOPPING:
                self._count(f"gate of {decision.domain}: {decision.outcome}")
            case CollisionDecided() | ExplorationDecided() | ChargingDecided():
                self._body(decision, at_ms)
            case _:
                pass

    def _count(self, what: str) -> None:
        self.reasons[what] = self.reasons.get(what, 0) + 1

    def _body(self, decision: CollisionDecided | ExplorationDecided | ChargingDecided, at_ms: int) -> None:
        self.decisions.append(decision)
        self._count(f"{type(decision).__name__.removesuffix('Decided').lower()}: {decision.reason}")
        self.deciding_ulf += decision.cost_ulf
        if isinstance(decision, CollisionDecided):
            self._evasion(decision, at_ms)
        if isinstance(decision, ChargingDecided):
            self.earned_ulf += decision.earned_ulf
            if decision.reason in ("low", "critical") and self.noticed_ms is None:
                self.noticed_ms = at_ms

    def _evasion(self, decision: CollisionDecided, at_ms: int) -> None:
        self.earned_ulf += decision.earned_ulf
        self.false_alarms += decision.reason == "false_alarm"
        self.contradictions += decision.reason == "contradiction" and "DETECT" in decision.path
        self.boxed_in += decision.reason == "boxed_in"
        self._cost_ulf = decision.cost_ulf + (0 if "DETECT" in decision.path else self._cost_ulf)
        if decision.outcome is not None:
            self.evasions.append(
                Evasion(
                    at_ms,
                    decision.habit,
                    decision.at_ms - decision.since_ms,
                    self._cost_ulf,
                    decision.outcome,
                    decision.weight_ppm,
                )
            )

    def finish(self, arena: Arena) -> None:
        """Add what the arena knows of the time since the body was placed there."""
        arena.advance()
        self.contacts += arena.contacts
        self.empty_ms = self.empty_ms or arena.empty_ms
        self.travelled_mm += arena.travelled_um // 1_000
        self.squares += len(arena.explored)
        self.energy_mj = arena.energy_uj // 1_000
        minutes = (arena.at_ms - arena.began_ms) // 60_000
        self.earned_ulf += minutes * SURVIVED_ULF + len(arena.explored) * AREA_ULF

    def _counted(self, habit: str) -> int:
        return sum(evasion.habit == habit for evasion in self.evasions)

    @property
    def avoidable(self) -> int:
        """Collisions that the first sure reading left room to avoid. The claim is that there are none."""
        return sum(contact.avoidable for contact in self.contacts)

    @property
    def unnoticed(self) -> bool:
        """Whether the battery ran empty without a decision before it that said so."""
        return self.empty_ms is not None and (self.noticed_ms is None or self.noticed_ms > self.empty_ms)

    @property
    def lifeless(self) -> str:
        """Why this was no life, and so shows nothing; empty where the whole body was there, decided and moved."""
        if self.absent:
            return "; ".join(self.absent)
        lacks = [what for what, there in (("moved", self.moving_ulf), ("decided", self.decisions)) if not there]
        if not lacks:
            return ""
        why = f"what its nerves heard was no evidence, which lasts {EVIDENCE_MS} ms"
        if self.refusals:
            why = f"{sum(self.refusals.values())} messages were refused, the last by {self.refusal}"
        return f"nothing was {' and nothing was '.join(lacks)}: {why}"

    def summary(self) -> dict[str, Any]:
        """Return the counts as plain data."""
        costs = [evasion.cost_ulf for evasion in self.evasions]
        return {
            "distance_mm": self.travelled_mm,
            "explored_cm2": self.squares * AREA_MM * AREA_MM // 100,
            "evasions": len(self.evasions),
            "habits": {habit: count for habit in HABITS if (count := self._counted(habit))},
            "weight_ppm": self.weights.own_ppm,
            "reflex": self.weights.reflex,
            "gates": {domain: asdict(gate) for domain, gate in self.weights.gates.items()},
            "confirmed": sum(evasion.outcome == "confirmed" for evasion in self.evasions),
            "mean_evasion_ulf": sum(costs) // max(len(costs), 1),
            "mean_evasion_ms": sum(evasion.took_ms for evasion in self.evasions) // max(len(costs), 1),
            "false_alarms": self.false_alarms,
            "contradictions": self.contradictions,
            "boxed_in": self.boxed_in,
            "calls_for_help": self.calls_for_help,
            "collisions": len(self.contacts),
            "collisions_avoidable": self.avoidable,
            "energy_ppm": self.energy_mj * 1_000_000 // (CAPACITY_UJ // 1_000),
            "empty": self.empty_ms is not None,
            "empty_unnoticed": self.unnoticed,
            "lifeless": self.lifeless,
            "waves": self.waves,
            "decisions": len(self.decisions),
            "feeling_ulf": self.feeling_ulf,
            "deciding_ulf": self.deciding_ulf,
            "moving_ulf": self.moving_ulf,
            "earned_ulf": self.earned_ulf,
            "reasons": dict(sorted(self.reasons.items())),
            "contacts": [asdict(contact) for contact in self.contacts],
        }
