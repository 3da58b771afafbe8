"""The port to models that are measured: a bench loads one and asks it, away from everything that must not die of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Seated(Protocol):
    """A loaded model, ready to be asked until it is closed."""

    @property
    def pid(self) -> int | None:
        """The process that it speaks in, None where it has none of its own."""
        ...

    async def ask(self, questions: Sequence[str]) -> list[str]:
        """Return the answer to each question, as the family writes answers. Refused V002 where there is none."""
        ...

    async def close(self) -> None:
        """Free what it holds."""
        ...


class Bench(Protocol):
    """Whoever can load models of the families that are measured."""

    async def seat(self, family: str, model: bytes | None) -> Seated:
        """Load a model from its whole, verified file; None is what stands in where no model is in force.

        Refused V004 where it is none, B011 where an extra is missing.
        """
        ...
