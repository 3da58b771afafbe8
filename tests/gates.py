"""Waves for gates, and a gate under a clock of the test's own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nerves.gate import GateNerve
from nerves.gate.nerve import GateTrust
from nerves.gate.window import Window
from shared.codec import decode, encode
from shared.errors import Refusal
from shared.message import Decision, Message
from shared.part.declare import declaration
from shared.part.nerve import Evidence
from shared.subjects.gates import OutcomeJudged, ReflexGranted
from shared.subjects.meaning import Candidate, WaveFelt
from shared.subjects.system import Tick

START_MS = 1_767_225_600_000
MATH = bytes([127] * 96 + [0] * 288)


def vector(*hot: int) -> bytes:
    """An embedding with weight in some of eight blocks, so that a test chooses who is alike."""
    return b"".join(bytes([100 if block in hot else 0] * 48) for block in range(8))


def felt(  # noqa: PLR0913 - a wave has as many facts as it has
    number: int,
    source: str = "a",
    confidence_ppm: int = 600_000,
    *,
    region: str = "math",
    similarity_ppm: int = 1_000_000,
    polarity: int = 1,
    taken_ms: int = START_MS,
    meaning: bytes = MATH,
    ambiguous: bool = False,
) -> WaveFelt:
    """One wave, as the organ `meaning` hands it on."""
    near = (Candidate(region, similarity_ppm), Candidate("other", similarity_ppm if ambiguous else 0))
    return WaveFelt(
        region=region,
        source=f"nervous.cells.{source}",
        wave_id=number.to_bytes(16, "big"),
        taken_ms=taken_ms,
        confidence_ppm=confidence_ppm,
        similarity_ppm=similarity_ppm,
        declared=not ambiguous,
        polarity=polarity,  # pyright: ignore[reportArgumentType] - tests draw it
        direction_cdeg=None,
        content=source,
        cost_ulf=1,
        candidates=near,
        vector=meaning,
        catalogue="0" * 32,
    )


@dataclass
class Gate:
    """A gate that decides as under its runner; every decision is made again from its evidence."""

    trust: GateTrust = field(default_factory=GateTrust)
    window: Window = field(default_factory=Window)
    now_ms: int = START_MS
    said: list[Any] = field(default_factory=list[Any])

    def __post_init__(self) -> None:
        self.nerve = GateNerve()
        self.heard = {cls.template: cls for cls in declaration(self.nerve).hears}

    def hear(self, message: Message, after_ms: int = 0) -> list[Any]:
        """Let time pass, decide about a message, evolve, and return what it said."""
        self.now_ms += after_ms
        before, window = self.trust, self.window
        self.window, said = self.nerve.decide(self.trust, self.window, message, self.now_ms)  # pyright: ignore[reportArgumentType]
        if isinstance(said, Refusal):
            return [said]
        decisions = [each for each in said if isinstance(each, Decision)]
        for decision in decisions:
            self.trust = self.nerve.evolve(self.trust, decision)  # pyright: ignore[reportArgumentType]
        evidence = self.nerve.evidence(window, message, bytes(16), self.now_ms)
        assert [encode(each) for each in decisions] == self.nerve.decide_again(before, evidence, self.heard)
        assert decode(Evidence, evidence).now_ms == self.now_ms
        assert -1_000_000 <= self.window.state_ppm <= 1_000_000
        self.said += said
        return list(said)

    def tick(self, after_ms: int) -> list[Any]:
        """Let time pass, then beat."""
        return self.hear(Tick("gate", "0" * 16, 1, self.now_ms + after_ms), after_ms)

    def judge(self, signal: bytes, outcome: str, domain: str = "math") -> list[Any]:
        """Say what became of a signal."""
        judged = OutcomeJudged(domain, signal, outcome, 0, 0, 0, "", 0)  # pyright: ignore[reportArgumentType]
        return self.hear(judged, 1)

    def all_of(self, cls: type[Any]) -> list[Any]:
        """Everything of one class that it said."""
        return [each for each in self.said if isinstance(each, cls)]


def reflexive(domain: str = "danger", weight_ppm: int = 900_000) -> Gate:
    """A gate that holds a standing grant."""
    gate = Gate(GateTrust(weight_ppm, START_MS))
    granted = ReflexGranted(domain, granted=True, weight_ppm=weight_ppm, reason="")
    gate.trust = gate.nerve.evolve(gate.trust, granted)
    return gate
