"""The port to ears: a sound in, words out, or a typed refusal; never a guess in their place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from organs.ears.sound import Samples


@dataclass(frozen=True, slots=True)
class Understood:
    """What was said."""

    text: str
    confidence_ppm: int  #: 0 where the engine does not say
    engine: str
    model: str
    cost_ulf: int = 0  #: processor time of the engine's own process, in microseconds; another machine's is not known
    command: bool = False  #: one of the sentences that are listed


class Hearing(Protocol):
    """Something that understands speech."""

    @property
    def pid(self) -> int | None:
        """The engine's own process, if one runs."""
        ...

    async def hear(self, heard: Samples) -> Understood:
        """Return what is said in a sound on one channel at EAR_HERTZ, which is not silent.

        Refused B011 where there is no engine, H004 where nothing in it is understood, H006 where the engine fails.
        """
        ...

    async def close(self) -> None: ...
