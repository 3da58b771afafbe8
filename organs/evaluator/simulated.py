"""The simulated bench: what rules and the lexicon would say, in this process, whatever model is seated."""

from __future__ import annotations

from collections.abc import Sequence

from shared.boundary.memory import MemoryModel
from shared.boundary.task import TASK
from shared.errors import Refusal, Refused
from shared.toxicity.lexicon import lexicon

MODEL = b"by the rules"  #: the one content that is a model here


class SimBench:
    """Seats `MODEL` of two families and the default of toxicity, which are the same, and nothing else."""

    async def seat(self, family: str, model: bytes | None) -> SimSeated:
        if model not in (MODEL, None) or family not in ("boundary", "toxicity"):
            raise Refused(Refusal("V004", f"this is no model of {family}"))
        return SimSeated(family)


class SimSeated:
    """A model that answers as it should."""

    pid = None

    def __init__(self, family: str) -> None:
        self.family, self.open = family, True

    async def ask(self, questions: Sequence[str]) -> list[str]:
        if not self.open:
            raise Refused(Refusal("V002", "the model was closed"))
        if self.family == "toxicity":
            return [str(score) for score in lexicon().scores(questions)]
        model = MemoryModel(TASK)
        return [await model.complete(question, 1) for question in questions]

    async def close(self) -> None:
        self.open = False
