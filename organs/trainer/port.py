"""The port to worker processes: a crew starts a team for one attempt of one job, and hears what its workers say."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

from organs.trainer.frames import Said
from shared.errors import Fault
from shared.subjects.training import JobSpec

P = ParamSpec("P")
T = TypeVar("T")


class CrewFailed(Fault):
    """Worker processes could not be started: no memory, too many open files, a program that may not be run."""

    retry = True


@dataclass(frozen=True, slots=True)
class Begun:
    """The checkpoint that an attempt goes on from."""

    path: Path
    digest: str
    step: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a job: what is trained, from where, and where each worker's folder lies."""

    job: str
    number: int
    spec: JobSpec
    data: Path
    place: Path
    begun: Begun | None
    pace_ppm: int


@dataclass(frozen=True, slots=True)
class Ended:
    """A worker's process is over, and this is how."""

    how: str
    well: bool


Word = tuple[str, Said | Ended]  #: which worker, and what


class Team(Protocol):
    """The workers of one attempt."""

    @property
    def keys(self) -> Mapping[str, bytes]:
        """The public key of each worker, by its name."""
        ...

    @property
    def pids(self) -> Collection[int]: ...

    async def hear(self) -> Word:
        """Return the next word of any worker; the last one of each is Ended. One caller at a time."""
        ...

    async def pace(self, ppm: int) -> None:
        """Have all of them compute for this share of the time; 0 has them hold still."""
        ...

    async def agreed(self, step: int) -> None:
        """Tell all of them that a checkpoint was agreed on."""
        ...

    async def stop(self) -> None:
        """Ask all of them to stop at their next checkpoint."""
        ...

    async def end(self) -> None:
        """End whatever of them is left, at once."""
        ...


class Crew(Protocol):
    """Whoever can start teams."""

    def missing(self, backend: str) -> str:
        """Return how to install a backend that is not here, nothing where it is."""
        ...

    async def aside(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what some blocking work returns, without holding up everything else where that is possible."""
        ...

    async def start(self, attempt: Attempt) -> Team:
        """Start a team, all of it or nothing; each worker has a folder of its own, empty.

        Raises StorageFault, CrewFailed.
        """
        ...
