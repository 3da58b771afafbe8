"""The real adapter of the sentence model: loaded once, asked one thread at a time; what it said is remembered."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from blake3 import blake3

from organs.meaning.minilm import MINILM_SHA256, MiniLM, installed
from organs.meaning.port import NOWHERE, shown
from organs.meaning.vector import quantised
from shared.constant import constant
from shared.part.meter import in_thread

REMEMBERED_TEXTS = constant(4_096, "texts", "NIM-04")  # about 2 MB


class MiniLMEmbedder:
    """all-MiniLM-L6-v2 in this process, off the event loop. `folder` is the installed model unless one is given."""

    digest: str = MINILM_SHA256

    def __init__(self, folder: Path | None = None, remembered: int = REMEMBERED_TEXTS) -> None:
        self.folder, self.remembered = folder, remembered
        self.computed = 0  #: texts that were not remembered
        self._model: MiniLM | None = None
        self._known: OrderedDict[bytes, bytes] = OrderedDict()
        self._turn = asyncio.Lock()

    async def load(self) -> None:
        async with self._turn:
            await self._loaded()

    async def vectors(self, texts: Sequence[str]) -> list[bytes]:
        read = [shown(text) for text in texts]
        keys = [blake3(text.encode()).digest() for text in read]
        found = {key: self._known[key] for key in keys if key in self._known}
        new = {key: text for key, text in zip(keys, read, strict=True) if text and key not in found}
        if new:
            async with self._turn:
                model = await self._loaded()
                self.computed += len(new)
                found |= zip(new, await in_thread(partial(_embedded, model, list(new.values()))), strict=True)
        self._remember({key: found[key] for key in keys if key in found})
        return [found.get(key, NOWHERE) for key in keys]

    async def close(self) -> None:
        async with self._turn:
            self._model = None
        self._known.clear()

    async def _loaded(self) -> MiniLM:
        if self._model is None:
            self._model = await in_thread(lambda: MiniLM(self.folder or installed()))
        return self._model

    def _remember(self, found: dict[bytes, bytes]) -> None:
        """Keep vectors as the most recently asked; the ones that nobody asked for longest go first."""
        for key, vector in found.items():
            self._known[key] = vector
            self._known.move_to_end(key)
        while len(self._known) > self.remembered:
            self._known.popitem(last=False)


def _embedded(model: MiniLM, texts: Sequence[str]) -> list[bytes]:
    return [quantised(embedding) for embedding in model.embed(texts)]
