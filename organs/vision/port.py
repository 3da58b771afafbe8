"""The port to whatever sees: a picture in, what is in it out, or a typed refusal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from organs.vision.picture import Picture
from shared.subjects.vision import MOST_SEEN, Seen


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen in one picture, the surest first, and what seeing cost, measured where it was done."""

    seen: tuple[Seen, ...]
    cost_ulf: int


class Eyes(Protocol):
    """Something that sees."""

    @property
    def engine(self) -> str:
        """What sees: `onnx`, `ollama`, or `sim`."""
        ...

    @property
    def model(self) -> str:
        """The digest or the name of the model."""
        ...

    @property
    def pid(self) -> int | None:
        """The process of its own that sees, if one runs."""
        ...

    async def look(self, picture: Picture, least_ppm: int) -> Sight:
        """Return what is in a picture and at least so sure. Each box lies in the picture and has an area.

        Refused B011 where it cannot see as things are, and what to configure; E001 for a picture that cannot be
        decoded; S002, F002 for a model's file that is not here, or another; L003 where a model does not answer as
        asked. Faults of a model's server or process, those worth a retry among them. It can be asked again after each.
        """
        ...

    async def close(self) -> None:
        """Let go of what it holds; asked again, it takes hold of it again."""
        ...


def surest(seen: list[Seen], least_ppm: int) -> tuple[Seen, ...]:
    """Return the things that are sure enough, the surest first, as many as an answer holds."""
    order = sorted(seen, key=lambda one: (-one.confidence_ppm, one.label, one.left, one.top, one.right, one.bottom))
    return tuple(one for one in order if one.confidence_ppm >= least_ppm)[:MOST_SEEN]
