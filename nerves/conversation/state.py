"""What the conversation nerve knows: its state, the fold of its own decisions, and what it lately heard."""

from __future__ import annotations

import msgspec

from shared.constant import constant
from shared.habit import BEGIN_PPM
from shared.message import MESSAGE_ID_BYTES
from shared.subjects.speech import HeardWave, Turn, TurnTaken

PENDING_CHARS = constant(1_000, "characters", "X-12")
NOBODY = bytes(MESSAGE_ID_BYTES)


class Talking(msgspec.Struct, frozen=True):
    """Where one conversation stands, and what its turns taught it."""

    turn: Turn = "LISTENING"
    number: int = 0
    utterance: bytes = NOBODY
    asked: str = ""
    at_ms: int = 0  #: when the last step was taken
    confirmed: int = 0
    failed: int = 0
    weight_ppm: int = BEGIN_PPM


class ConversationWindow(msgspec.Struct, frozen=True):
    """What was lately heard at one site."""

    site: str = ""
    pending: str = ""  #: what a person said and nobody asked yet
    utterance: bytes = NOBODY
    confidence_ppm: int = 0
    heard_ms: int = 0
    ends_ms: int = 0  #: when what is being said is over; 0 where nobody knows


def evolved(decision: TurnTaken) -> Talking:
    """Return the state after one step, which says all of it."""
    return Talking(
        turn=decision.path[-1] if decision.path else decision.before,
        number=decision.number,
        utterance=decision.utterance,
        asked=decision.asked,
        at_ms=decision.at_ms,
        confirmed=decision.confirmed,
        failed=decision.failed,
        weight_ppm=decision.weight_ppm,
    )


def remember(heard: HeardWave, before: str, now_ms: int) -> ConversationWindow:
    """Return the window with what a person said, after what they said `before`."""
    words = f"{before} {heard.words}".strip()[-PENDING_CHARS:]
    return ConversationWindow(heard.site, words, heard.utterance, heard.confidence_ppm, now_ms)
