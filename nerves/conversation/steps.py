"""The rules of taking turns: which step follows from where a conversation stands and what was heard. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from nerves.conversation.state import ConversationWindow, Talking
from shared.constant import constant
from shared.habit import DELIBERATION, WEIGHT_DELTA_PPM, habit_of
from shared.subjects.cognition import Answered, Unavailable
from shared.subjects.gates import Outcome
from shared.subjects.speech import TEXT_BYTES, Turn, TurnReason

ANSWER_MS = constant(15_000, "ms", "NIM-13")  # what cognition may take
PROCESSING_MS = constant(20_000, "ms", "NIM-13")
UNSPOKEN_MS = constant(15_000, "ms", "NIM-13")  # how long a voice may take to begin
YIELDING_MS = constant(2_000, "ms", "NIM-13")
STEP_ULF = constant(500_000, "micro-lifeforce", "NIM-13")

NOTHING = "I remember nothing about that."
NOBODY_ANSWERS = "I have no answer. Nobody gave one in time."
NO_ANSWER = "I cannot answer that."


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a conversation, and what becomes of it."""

    path: tuple[Turn, ...]
    reason: TurnReason
    said: str = ""
    outcome: Outcome | None = None
    cost_ulf: int = STEP_ULF


def next_step(state: Talking, window: ConversationWindow, now_ms: int) -> Step | None:
    """Return the step that is due by now, None where everything stays as it is."""
    since_ms = now_ms - state.at_ms
    match state.turn:
        case "LISTENING" | "YIELDING" if window.pending:
            return _asking(state, window, now_ms)
        case "PROCESSING" if since_ms >= PROCESSING_MS:
            return Step(("RESPONDING",), "no_answer", NOBODY_ANSWERS)
        case "RESPONDING" if window.ends_ms and now_ms >= window.ends_ms:
            return Step(("YIELDING",), "said", outcome="confirmed")
        case "RESPONDING" if not window.ends_ms and since_ms >= UNSPOKEN_MS:
            return Step(("YIELDING",), "unspoken")
        case "YIELDING" if since_ms >= YIELDING_MS:
            return Step(("LISTENING",), "quiet", cost_ulf=0)
        case _:
            return None


def _asking(state: Talking, window: ConversationWindow, now_ms: int) -> Step | None:
    """Wait as long as the habit does whether the person goes on, then ask."""
    wait_ms, cost_ulf = DELIBERATION[habit_of(state.weight_ppm)]
    if now_ms - window.heard_ms < wait_ms:
        return None
    entering: tuple[Turn, ...] = ("LISTENING",) if state.turn == "YIELDING" else ()
    return Step((*entering, "PROCESSING"), "asked", cost_ulf=STEP_ULF + cost_ulf)


def interrupted(state: Talking, window: ConversationWindow, now_ms: int) -> Step | None:
    """Return the step that words force in the middle of a turn: it began too early, or nobody wants to hear it."""
    limit_ms = PROCESSING_MS if state.turn == "PROCESSING" else UNSPOKEN_MS
    lasts = now_ms < window.ends_ms if window.ends_ms else now_ms - state.at_ms < limit_ms
    if state.turn in ("PROCESSING", "RESPONDING") and lasts:
        return Step(("LISTENING",), "interrupted", outcome="failed")
    return None


def answering(said: Answered | Unavailable) -> Step:
    """Return the step that an answer is, or that there is none."""
    if isinstance(said, Unavailable):
        return Step(("RESPONDING",), "unavailable", shortened(f"{NO_ANSWER} {said.reason}"))
    words = said.answer or next((quote.text for quote in said.quotes if quote.text), "")
    return Step(("RESPONDING",), "answered", shortened(words) or NOTHING)


def learned(state: Talking, outcome: Outcome | None) -> tuple[int, int, int]:
    """Return how often turns went well and badly, and the weight, after one more outcome."""
    match outcome:
        case "confirmed":
            return state.confirmed + 1, state.failed, min(1_000_000, state.weight_ppm + WEIGHT_DELTA_PPM)
        case "failed":
            return state.confirmed, state.failed + 1, max(0, state.weight_ppm - WEIGHT_DELTA_PPM)
        case _:
            return state.confirmed, state.failed, state.weight_ppm


def shortened(text: str) -> str:
    """Return as many whole words of a text, from its beginning, as are spoken at once."""
    words = " ".join(text.split())
    cut = words.encode()[:TEXT_BYTES].decode(errors="ignore")
    return words if cut == words else cut.rpartition(" ")[0] or cut
