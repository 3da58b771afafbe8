"""A speaker of Ollama's protocol: a real Ollama, or this product's own supervisor of models."""

from __future__ import annotations

from collections.abc import Sequence

from organs.cognition.port import Spoken, Turn
from shared.ollama import OllamaClient


class OllamaSpeaker:
    """Asks one model of one server."""

    engine = "ollama"

    def __init__(self, url: str, model: str) -> None:
        self.client, self.model = OllamaClient(url), model

    async def say(self, turns: Sequence[Turn], schema: dict[str, object] | None) -> Spoken:
        said = await self.client.chat(
            self.model,
            [{"role": role, "content": content} for role, content in turns],
            format=schema,
            options={"temperature": 0},
        )
        return Spoken(said.text, said.whole, self.model, said.took_ms)

    async def close(self) -> None:
        await self.client.close()
