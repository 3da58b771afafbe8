"""The conversation nerve: hears words, asks cognition, has the answer spoken, and gives the turn back.

LISTENING → PROCESSING → RESPONDING → YIELDING. Before it asks it waits whether the person goes on; the more of its
turns were heard to their end, the shorter. Whoever speaks while it thinks or speaks has the turn, and it hushes. It is
told only words that are meant for it (`HeardWave`), and what it decides holds them, as the log holds a typed question.
"""

from __future__ import annotations

from typing import ClassVar, TypeAlias

from msgspec.structs import replace

from nerves.conversation.state import ConversationWindow, Talking, evolved, remember
from nerves.conversation.steps import ANSWER_MS, Step, answering, interrupted, learned, next_step
from shared.constant import constant
from shared.envelope.admission import CLOCK_SKEW_MS
from shared.errors import Refusal
from shared.habit import habit_of
from shared.part import Garden, SiteNerve
from shared.subjects.cognition import Answered, CognitiveRequest, Unavailable
from shared.subjects.speech import SPEECH, HeardWave, Hushed, SpeakRequest, SpokenWave, TurnTaken
from shared.subjects.system import Tick

THINKING_ULF = constant(20_000_000, "micro-lifeforce", "NIM-07")
LATE_WORDS_MS = constant(10_000, "ms", "NIM-13")  # words older than this are no turn any more

Heard: TypeAlias = HeardWave | Answered | Unavailable | SpokenWave | Tick
Said: TypeAlias = TurnTaken | CognitiveRequest | SpeakRequest | Hushed


class ConversationNerve(SiteNerve[Talking, ConversationWindow]):
    """Words and answers in; turns, questions and what to speak out. One conversation, at its own site."""

    name: ClassVar[str] = "conversation"
    version: ClassVar[str] = "1.0.0"
    garden: ClassVar[Garden] = "real"  #: somebody hears what it says
    cost_ulf: ClassVar[int] = constant(2_000_000, "micro-lifeforce", "NIM-07")

    def entity(self, message: Heard) -> str | None:
        match message:
            case Tick():
                return None
            case HeardWave() | SpokenWave():
                return self.site if message.site == self.site else None
            case _:
                return self.site if message.domain == SPEECH else None

    def evolve(self, state: Talking, decision: TurnTaken) -> Talking:
        return evolved(decision)

    def decide(
        self, state: Talking, window: ConversationWindow, message: Heard, now_ms: int
    ) -> tuple[ConversationWindow, list[Said] | Refusal]:
        step: Step | None = None
        match message:
            case HeardWave():
                if not _is_new(state, window, message, now_ms):
                    return window, []
                step = interrupted(state, window, now_ms)
                goes_on = state.asked if step is not None and state.turn == "PROCESSING" else window.pending
                window = remember(message, goes_on, now_ms)
            case Answered() | Unavailable():
                if state.turn == "PROCESSING" and message.content == state.asked:
                    step = answering(message)
            case SpokenWave():
                if state.turn == "RESPONDING" and message.utterance == state.utterance and not window.ends_ms:
                    window = replace(window, site=self.site, ends_ms=now_ms + message.duration_ms)
            case Tick():
                pass
        step = step or next_step(state, window, now_ms)
        if step is None:
            return window, []
        return _after(window, step, self.site), _said(state, window, step, self.site, now_ms)


def _is_new(state: Talking, window: ConversationWindow, heard: HeardWave, now_ms: int) -> bool:
    """Say whether these are words for this conversation that came in time, and the first time."""
    in_time = -CLOCK_SKEW_MS <= now_ms - heard.taken_ms <= LATE_WORDS_MS
    return bool(heard.words) and in_time and heard.utterance not in (window.utterance, state.utterance)


def _after(window: ConversationWindow, step: Step, site: str) -> ConversationWindow:
    """Return the window after a step: what was asked is used up, a quiet conversation is forgotten."""
    match step.reason:
        case "quiet":
            return ConversationWindow()
        case "asked":
            return ConversationWindow(site)
        case _:
            return replace(window, site=site, ends_ms=0)


def _said(state: Talking, window: ConversationWindow, step: Step, site: str, now_ms: int) -> list[Said]:
    asks, hushes = step.path[-1] == "PROCESSING", step.reason == "interrupted" and state.turn == "RESPONDING"
    utterance = window.utterance if asks else state.utterance
    asked = window.pending if asks else state.asked
    confirmed, failed, weight_ppm = learned(state, step.outcome)
    said: list[Said] = [
        TurnTaken(
            site,
            state.turn,
            step.path,
            step.reason,
            habit_of(state.weight_ppm),
            state.number + asks,
            utterance,
            asked,
            step.said,
            now_ms,
            step.outcome,
            confirmed,
            failed,
            weight_ppm,
            step.cost_ulf,
        )
    ]
    if asks:
        about = (utterance.hex(), "question", SPEECH, window.confidence_ppm)
        said.append(CognitiveRequest(*about, asked, (), THINKING_ULF, ANSWER_MS, "any", "", personal=False))
    if step.said:
        said.append(SpeakRequest(utterance, step.said))
    if hushes:
        said.append(Hushed(site, utterance, now_ms))
    return said
