"""An organ of the tests that says what texts mean by their spelling alone: honest, tiny, and no model of meaning."""

from __future__ import annotations

from typing import ClassVar

from organs.memory.embedder import gram_vector
from shared.part import Organ
from shared.subjects.meaning import MeaningReply, MeaningRequest


class GramsOrgan(Organ):
    """Answers with vectors of spelling."""

    name: ClassVar[str] = "grams"
    version: ClassVar[str] = "1.0.0"

    async def on_meaning(self, request: MeaningRequest) -> list[MeaningReply]:
        return [MeaningReply("unknown", (), gram_vector(request.text), "grams")]
