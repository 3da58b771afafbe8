"""The simulated adapters: models that speak as a translator would, and fail when they are told to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shared.boundary.port import BoundaryFailed, BoundaryModel, ModelFile
from shared.boundary.task import Task, write_call
from shared.boundary.translator import RULES, Rules, translate
from shared.errors import Refusal, Refused
from shared.models import checked_digest
from shared.subjects.boundary import Failing


class MemoryModel:
    """Reads the state back out of the prompt and answers it by the rules; `failings` come first, one per attempt."""

    def __init__(self, task: Task, failings: Sequence[Failing] = (), rules: Rules = RULES) -> None:
        self.task, self.failings, self.rules, self.open = task, list(failings), rules, True

    async def complete(self, prompt: str, attempt: int) -> str:
        if not self.open:
            raise BoundaryFailed("not_loaded", "the model was closed")
        if self.failings:
            raise BoundaryFailed(self.failings.pop(0), f"as told, at attempt {attempt}")
        state = {name: int(value) for name, _, value in (part.partition("=") for part in prompt.split())}
        return write_call(translate(state, self.rules))

    async def close(self) -> None:
        self.open = False


class MemoryShelf:
    """Models by their digests, which speak by `rules`; those in `failing` fail as it says."""

    def __init__(
        self,
        task: Task,
        digests: Sequence[str] = (),
        failing: Mapping[str, Sequence[Failing]] | None = None,
        rules: Rules = RULES,
    ) -> None:
        self.task, self.digests, self.failing, self.rules = task, list(digests), dict(failing or {}), rules

    async def look(self, digest: str) -> ModelFile:
        checked_digest(digest)
        if digest not in self.digests:
            raise Refused(Refusal("S002", f"there is no model {digest} here"))
        return ModelFile(0, self.task.digest, "")

    async def load(self, digest: str) -> BoundaryModel:
        await self.look(digest)
        return MemoryModel(self.task, self.failing.get(digest, ()), self.rules)
