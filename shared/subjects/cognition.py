"""Cognition: a question, its answer with the passages it quotes, or why there is none; each of them a decision."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from shared.constant import constant
from shared.message import Decision, Ppm, Reply, Request
from shared.subjects.memory import Origin

QUESTION_BYTES = constant(8_192, "bytes", "X-12")
ANSWER_BYTES = constant(16_384, "bytes", "X-12")
SCHEMA_BYTES = constant(8_192, "bytes", "X-12")
SUGGESTED = constant(16, "actions", "X-12")

#: What an answer is: passages of memory word for word, a model's words, a model's words in a given shape, the function
#: call that the boundary decided for a state, or that memory holds nothing near enough.
Answer = Literal["quoted", "generated", "structured", "decided", "nothing_held"]
#: How to answer: with a language model where one is configured, else by having the boundary decide what is a state and
#: quoting memory about everything else; or one of the three.
Reasoning = Literal["any", "quote", "generate", "decide"]
AskedBy = Literal["request", "escalation"]


class Quote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A passage of memory, word for word, and where it stands."""

    id: str
    text: str
    origin: Origin
    similarity_ppm: Ppm


class SuggestedAction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What whoever asks would do, and how sure of it they are."""

    action: str
    confidence_ppm: Ppm


class DownstreamCommand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an answer asks others to do."""

    target: str
    command: str
    payload: str


class CognitiveResponse(Reply, subject="cognitive.nyx.response", confidential=True):
    """What cognition answers, and on what it rests (NIM-17)."""

    request_id: str
    decision: Answer
    answer: str
    confidence_ppm: Ppm
    reasoning_mode: Reasoning
    quotes: tuple[Quote, ...]
    downstream_commands: tuple[DownstreamCommand, ...]
    engine: str
    model: str  #: the digest or name of the model that spoke; empty where none did
    lifeforce_spent_ulf: int  #: measured
    processing_time_ms: int


class CognitiveRequest(Request, subject="cognitive.nyx.request", reply=CognitiveResponse, confidential=True):
    """A question to cognition. What is `personal` is answered and never kept."""

    request_id: Annotated[str, msgspec.Meta(max_length=128)]
    event_type: Annotated[str, msgspec.Meta(max_length=128)]
    domain: Annotated[str, msgspec.Meta(max_length=128)]
    confidence_ppm: Ppm
    structured_input: str  #: the question: words, or a state as a JSON object of whole numbers
    suggested_actions: Annotated[tuple[SuggestedAction, ...], msgspec.Meta(max_length=SUGGESTED)]
    processing_budget_ulf: int
    response_timeout_ms: Annotated[int, msgspec.Meta(ge=1, le=600_000)]
    reasoning_mode: Reasoning
    json_schema: str  #: the shape of the answer as a JSON schema; empty for words
    personal: bool


class Answered(Decision, subject="cognitive.nyx.event.{question}.answered"):
    """Cognition answered: what was asked, who spoke, what was quoted, what it cost."""

    question: str  #: BLAKE3 of what was asked, 32 hexadecimal digits; drawn at random where that is personal
    asked_by: AskedBy
    signal: bytes  #: of an escalation: what it is about
    domain: str
    content: str  #: what was asked; empty where that is personal
    decision: Answer
    answer: str  #: empty where the question is personal, or where the quotes say it all
    confidence_ppm: int
    quotes: tuple[Quote, ...]
    engine: str
    model: str
    declared_ulf: int
    cost_ulf: int  #: measured
    latency_ms: int


class Unavailable(Decision, subject="cognitive.nyx.event.{question}.unavailable"):
    """Cognition could not answer, and this is why (fail closed: nothing is invented in its place)."""

    question: str
    asked_by: AskedBy
    signal: bytes
    domain: str
    content: str
    code: str  #: of the refusal
    reason: str
    engine: str
    cost_ulf: int
    latency_ms: int
