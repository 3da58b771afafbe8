"""The outcome nerve: says in the real garden what became of a signal, from what was expected and what was found."""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec

from shared.constant import constant
from shared.errors import Refusal
from shared.part import Garden, Nerve
from shared.subjects.gates import Outcome, OutcomeJudged, OutcomeRequest
from shared.subjects.meaning import CONTENT_CHARS

PARTIAL_TOLERANCES = constant(3, "tolerances", "NIM-08")
JUDGED = constant(256, "signals", "X-12")
CONFIRMED_ULF = constant(8_000_000, "micro-lifeforce", "NIM-10")
FAILED_ULF = constant(-5_000_000, "micro-lifeforce", "NIM-10")

REWARDS: Final[dict[Outcome, int]] = {"confirmed": CONFIRMED_ULF, "partial": 0, "failed": FAILED_ULF}


class Verdicts(msgspec.Struct, frozen=True):
    """The signals that were judged last; the fold of its own decisions."""

    judged: tuple[bytes, ...] = ()


class Nothing(msgspec.Struct, frozen=True):
    """No working memory: a report says all that counts."""


class OutcomeNerve(Nerve[Verdicts, Nothing]):
    """A report in; confirmed, failed or partial out, once for each signal."""

    name: ClassVar[str] = "outcome"
    version: ClassVar[str] = "1.0.0"
    garden: ClassVar[Garden] = "real"
    cost_ulf: ClassVar[int] = constant(100_000, "micro-lifeforce", "NIM-10")

    def entity(self, message: OutcomeRequest) -> str | None:
        return message.domain

    def evolve(self, state: Verdicts, decision: OutcomeJudged) -> Verdicts:
        return Verdicts((*state.judged, decision.signal)[-JUDGED:])

    def decide(
        self, state: Verdicts, window: Nothing, message: OutcomeRequest, now_ms: int
    ) -> tuple[Nothing, list[OutcomeJudged] | Refusal]:
        if message.tolerance < 0:
            return window, Refusal("B002", f"a tolerance is no less than 0, found {message.tolerance}")
        if message.signal in state.judged:
            return window, Refusal("R006", f"what became of {message.signal.hex()} was judged already")
        difference = abs(message.expected - message.found)
        outcome = outcome_of(difference, message.tolerance)
        judged = OutcomeJudged(
            message.domain,
            message.signal,
            outcome,
            message.expected,
            message.found,
            min(difference, 2**63 - 1),
            message.content[:CONTENT_CHARS],
            REWARDS[outcome],
        )
        return window, [judged]


def outcome_of(difference: int, tolerance: int) -> Outcome:
    """Return what a difference means: within the tolerance confirmed, within three of it partial, beyond it failed."""
    if difference <= tolerance:
        return "confirmed"
    return "partial" if difference <= PARTIAL_TOLERANCES * tolerance else "failed"
