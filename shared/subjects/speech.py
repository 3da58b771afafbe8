"""Speech: a text that is spoken, a sound that is heard, and the turns of a conversation.

What a person says is about a person. The sound, and the words in it, travel in confidential messages, which nothing
keeps. Words come into a wave, and so into traces and the log, exactly where whoever sends the sound wants it answered
(`answer`), as a typed question does; else a wave says that somebody spoke, and no more.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from shared.constant import constant
from shared.declaration import MAX_LARGE_BYTES
from shared.message import Decision, MessageId, Ppm, Reply, Request, Signal, Wave
from shared.subjects.body import Count, Habit
from shared.subjects.gates import Outcome

SPEECH = constant("speech", "region", "NIM-17")
TEXT_BYTES = constant(1_000, "bytes", "X-12")  # of a text to speak
WORDS_CHARS = constant(500, "characters", "X-12")  # of a transcript
SPOKEN_BYTES = constant(690_000, "bytes", "X-12")  # of samples: 15 s at 22,050 Hz
SOUND_BYTES = constant(690_000, "bytes", "X-12")  # of a WAV file to hear
HEARD_MS = constant(15_000, "ms", "X-12")
WORDS_A_MINUTE = constant(160, "words/min", "NIM-17")
SLOWEST = constant(80, "words/min", "NIM-17")
FASTEST_SPEECH = constant(450, "words/min", "NIM-17")
VOICE_NAME = r"^([A-Za-z0-9]+([-_][A-Za-z0-9]+)*(\+[A-Za-z0-9]+)?)?$"  #: no path: an engine may look for it as a file

VoiceName = Annotated[str, msgspec.Meta(pattern=VOICE_NAME, max_length=64)]
Pace = Annotated[int, msgspec.Meta(ge=SLOWEST, le=FASTEST_SPEECH)]


class SpeakReply(Reply, subject="organs.voice.speak.reply", confidential=True, max_bytes=MAX_LARGE_BYTES):
    """A text as it is spoken; whoever has a loudspeaker listens here."""

    utterance: MessageId
    audio: bytes  #: a WAV file, 16-bit PCM, one channel
    hertz: int
    duration_ms: int
    engine: str
    voice: str
    cost_ulf: int  #: measured
    latency_ms: int


class SpeakRequest(Request, subject="organs.voice.speak.request", reply=SpeakReply, confidential=True):
    """Speak a text of at most TEXT_BYTES, in no more than SPOKEN_BYTES of samples."""

    utterance: MessageId  #: of the asker's choice; it names what is spoken
    text: str
    voice: VoiceName = ""  #: empty is the engine's own
    words_per_minute: Pace = WORDS_A_MINUTE


class SpokenWave(Wave, subject="organs.voice.speak.wave"):
    """The organism speaks, for so long; never what it says."""

    site: str
    taken_ms: int
    utterance: MessageId
    duration_ms: int


class HearReply(Reply, subject="organs.ears.hear.reply", confidential=True):
    """What was said, as it was understood."""

    utterance: MessageId
    text: str
    confidence_ppm: Ppm  #: 0 where the engine does not say
    command: bool  #: one of the sentences that are listed here
    duration_ms: int  #: of the sound
    engine: str
    model: str
    cost_ulf: int  #: measured
    latency_ms: int


class HearRequest(
    Request, subject="organs.ears.hear.request", reply=HearReply, confidential=True, max_bytes=MAX_LARGE_BYTES
):
    """Understand a sound of at most SOUND_BYTES and HEARD_MS."""

    audio: bytes  #: a WAV file, 16-bit PCM
    answer: bool  #: whether it is said to the organism, and may stand in the log as a typed question does


class HeardWave(Wave, subject="organs.ears.hear.wave"):
    """Somebody spoke; what they said stands in `words` and `content` only where it is to be answered."""

    site: str
    taken_ms: int
    utterance: MessageId
    words: Annotated[str, msgspec.Meta(max_length=WORDS_CHARS)]


# Conversation

Turn = Literal["LISTENING", "PROCESSING", "RESPONDING", "YIELDING"]
TurnReason = Literal[
    "asked", "answered", "unavailable", "no_answer", "said", "unspoken", "interrupted", "quiet",
]  # fmt: skip


class Hushed(Signal, subject="nervous.conversation.hushed.{site}"):
    """Somebody interrupts: whoever plays this utterance stops."""

    site: str
    utterance: MessageId
    at_ms: int


class TurnTaken(Decision, subject="nervous.conversation.event.{site}.turned"):
    """A step in a conversation: whose turn it is, for which reason, and what is asked or said."""

    site: str
    before: Turn
    path: tuple[Turn, ...]  #: the states gone through, the last is where it stands now
    reason: TurnReason
    habit: Habit  #: how long it waits whether a person goes on
    number: Count  #: of this turn
    utterance: MessageId  #: of what is asked, then of what is said
    asked: str
    said: str
    at_ms: int
    outcome: Outcome | None  #: of a turn that is over: failed where it began too early, and was interrupted
    confirmed: Count
    failed: Count
    weight_ppm: Ppm
    cost_ulf: Count
