"""What can be asked of the models here, whoever asks: over HTTP or over the bus."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from math import sqrt
from typing import Any

from organs.organd import answers
from organs.organd.ports import BadRequest, Held, ModelFault, Models, NotOffered
from organs.organd.posts import ChatPost, EmbeddingsPost, EmbedPost, GeneratePost
from organs.organd.supervisor import Supervisor
from shared.errors import Fault
from shared.world import World, now_ms


class Service:
    """Answers posts as Ollama does, as plain data."""

    def __init__(self, supervisor: Supervisor, models: Models, world: World) -> None:
        self.supervisor, self.models, self.world = supervisor, models, world

    async def say(self, post: GeneratePost | ChatPost) -> AsyncGenerator[dict[str, Any]]:
        """Yield the pieces of an answer, the last one `done`. Raises ModelFault."""
        chat = isinstance(post, ChatPost)
        held = await self._able(post.model, embeds=False)
        if not (post.messages if isinstance(post, ChatPost) else post.prompt or post.system):
            yield answers.touched(post.model, self._now(), await self._touch(post), chat=chat)
            return
        started_s = self.world.elapsed_s()
        async with self.supervisor.use(held.name, post.keep_ms()) as use:
            asked = post.completion(use.held, use.worker.context)
            async with aclosing(use.worker.complete(asked)) as pieces:
                async for piece in pieces:
                    whole = answers.said(post.model, self._now(), piece.text, chat=chat)
                    if piece.done_reason:
                        total_ns = round((self.world.elapsed_s() - started_s) * 1e9)
                        whole |= answers.finished(piece.done_reason, piece, total_ns, use.load_ns)
                    yield whole

    async def say_whole(self, post: GeneratePost | ChatPost) -> dict[str, Any]:
        """Return an answer in one piece. Raises ModelFault."""
        texts, last = list[str](), dict[str, Any]()
        async with aclosing(self.say(post)) as pieces:
            async for last in pieces:
                texts.append(last["message"]["content"] if "message" in last else last["response"])
        whole = "".join(texts)
        return {
            **last,
            **({"message": {**last["message"], "content": whole}} if "message" in last else {"response": whole}),
        }

    async def embed(self, post: EmbedPost) -> dict[str, Any]:
        """Return embeddings. Raises ModelFault."""
        started_s = self.world.elapsed_s()
        held = await self._able(post.model, embeds=True)
        texts = post.texts()
        async with self.supervisor.use(held.name, post.keep_ms()) as use:
            found = await use.worker.embed(texts, truncate=post.truncate) if texts else None
        vectors: list[list[float]] = found.vectors if found else []
        if post.dimensions is not None:
            vectors = [_shortened(vector, post.dimensions) for vector in vectors]
        total_ns = round((self.world.elapsed_s() - started_s) * 1e9)
        return answers.embedded(post.model, vectors, found.prompt_tokens if found else 0, total_ns, use.load_ns)

    async def embeddings(self, post: EmbeddingsPost) -> dict[str, Any]:
        """Return one embedding, in the older form. Raises ModelFault."""
        newer = EmbedPost(model=post.model, keep_alive=post.keep_alive, options=post.options, input=post.prompt)
        if not post.prompt:
            return {"embedding": []}
        return {"embedding": (await self.embed(newer))["embeddings"][0]}

    async def tags(self) -> dict[str, Any]:
        """Return every model that is held; one whose manifest is damaged is left out, and refused when it is asked."""
        rows = list[dict[str, Any]]()
        for name in self.models.names():
            try:
                rows.append(answers.listed(await self.models.look(name)))
            except Fault:
                continue
        return {"models": rows}

    def running(self) -> dict[str, Any]:
        """Return every model that is loaded."""
        return {"models": [answers.running(slot, self._now()) for slot in self.supervisor.loaded()]}

    async def show(self, name: str) -> dict[str, Any]:
        """Return what a model is. Raises NoSuchModel."""
        return answers.shown(await self.models.look(name))

    def not_offered(self, what: str) -> ModelFault:
        """Return the refusal of what would change the models here: that is done with files, on this machine."""
        return NotOffered(f"{what} is not offered here: use `nimmerverse models add FILE NAME` or `models rm NAME`")

    async def _able(self, name: str, *, embeds: bool) -> Held:
        held = await self.models.look(name)
        if held.facts.embeds != embeds:
            raise BadRequest(f'"{name}" does not support {"embeddings" if embeds else "generate"}')
        return held

    async def _touch(self, post: GeneratePost | ChatPost) -> str:
        """Load a model, or unload it where it is to stay no longer; return which."""
        keep_ms = post.keep_ms()
        if keep_ms == 0:
            await self.supervisor.unload(post.model)
            return "unload"
        async with self.supervisor.use(post.model, keep_ms):
            return "load"

    def _now(self) -> int:
        return now_ms(self.world)


def _shortened(vector: list[float], dimensions: int) -> list[float]:
    """Return a vector's first numbers, of length 1 again."""
    first = vector[:dimensions]
    length = sqrt(sum(number * number for number in first))
    return [number / length for number in first] if length else first
