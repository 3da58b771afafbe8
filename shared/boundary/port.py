"""The port to whatever makes a function call of a prompt, and the port to the files that it is loaded from."""

from __future__ import annotations

from typing import Protocol

import msgspec

from shared.errors import Fault
from shared.subjects.boundary import Failing


class BoundaryFailed(Fault):
    """A model said no call.

    `length`: it was stopped before its end. `engine`: the engine failed or refused the question. `not_a_call`: what it
    said is not one of the task's calls, byte for byte. `not_loaded`: it is not ready to be asked.
    """

    def __init__(self, failing: Failing, detail: str) -> None:
        super().__init__(f"{failing}: {detail}")
        self.failing: Failing = failing
        self.detail = detail


class BoundaryModel(Protocol):
    """A loaded model, ready to be asked until it is closed. One question at a time."""

    async def complete(self, prompt: str, attempt: int) -> str:
        """Return the text of one whole call, by its grammar and nothing else; BoundaryFailed.

        The same attempt at the same prompt says the same; a later attempt may say something else.
        """
        ...

    async def close(self) -> None:
        """Free what it holds; asked afterwards, it fails as `not_loaded`."""
        ...


class ModelFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a model's file says of itself: its size, and the digests of its task and of the plan it was trained by."""

    size_bytes: int
    task: str
    plan: str


class ModelShelf(Protocol):
    """Where model files lie, each under its digest, and how one becomes a model that can be asked."""

    async def look(self, digest: str) -> ModelFile:
        """Read a file whole and return what it says of itself. Refused F002 if it is another, S002 if there is none."""
        ...

    async def load(self, digest: str) -> BoundaryModel:
        """Read a file whole once more and load exactly these bytes. Refused F002, S002; BoundaryFailed."""
        ...
