"""The port to language: a question with what memory holds about it in, an answer out, or a typed refusal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from shared.subjects.cognition import Answer, Quote, Reasoning
from shared.subjects.memory import Recalled

Role = Literal["system", "user", "assistant"]
Turn = tuple[Role, str]  #: who says it, and what


@dataclass(frozen=True, slots=True)
class Asked:
    """One question, and the passages of memory that are nearest to it, the nearest first."""

    question: str
    passages: tuple[Recalled, ...]
    reasoning: Reasoning = "any"
    json_schema: str = ""  #: the shape that the answer must have; empty: words


@dataclass(frozen=True, slots=True)
class Said:
    """One answer, and on what it rests."""

    decision: Answer
    answer: str
    confidence_ppm: int  #: how near the nearest quote is; 0 where nobody can say
    quotes: tuple[Quote, ...] = ()
    model: str = ""
    model_ms: int = 0  #: how long the model's own server worked


class Language(Protocol):
    """Something that answers."""

    @property
    def engine(self) -> str:
        """What answers: `memory`, `ollama` or `openai`."""
        ...

    @property
    def declared_ulf(self) -> int:
        """What an answer of this engine costs by declaration."""
        ...

    async def answer(self, asked: Asked) -> Said:
        """Return the answer; it waits as long as the model does, so whoever asks sets the deadline.

        Refused B011 where it takes a model and there is none, L002 for a schema that is none, L003 where the model
        does not give what was asked for. Faults of the model's server, those worth a retry among them.
        """
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Spoken:
    """What a model said; not `whole` where it was cut short."""

    text: str
    whole: bool
    model: str  #: the name, or better the digest, by which its server calls it
    took_ms: int  #: by the server's clock where it has one; else 0


class Speaker(Protocol):
    """A server of language models, in whatever protocol it speaks."""

    @property
    def engine(self) -> str: ...

    async def say(self, turns: Sequence[Turn], schema: dict[str, object] | None) -> Spoken:
        """Return the model's next turn, of the shape of a JSON schema where one is given.

        Raises Unreachable, Busy, ModelMissing, ModelFailed, NotAccepted, BadAnswer.
        """
        ...

    async def close(self) -> None: ...
