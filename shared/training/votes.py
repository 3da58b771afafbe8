"""Votes on a checkpoint: who saw which digest, by signatures of registered workers alone (COL-09).

A vote counts once, for one worker that was registered, if that worker's key signed exactly this job, step and digest.
Whoever is absent is registered nevertheless, so silence is never agreement. What a count remembers is bounded by the
registered workers, however many votes come in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from shared.codec import encode
from shared.constant import constant
from shared.keys import Signer, verify
from shared.subjects.training import WorkerVote

AGREEMENT_PPM = constant(990_000, "ppm", "COL-09")
VOTING_S = constant(300.0, "s", "COL-09")  #: who has not voted by then is absent
PPM = 1_000_000
MAX_DIGESTS = constant(1_000, "digests", "X-12")  #: that are told apart; more than agreement needs


class Ballot(msgspec.Struct, frozen=True):
    """What a vote's signature is over; as canonical MessagePack no two ballots have the same bytes."""

    about: str
    job: str
    step: int
    worker: str
    digest: str


@dataclass(frozen=True, slots=True)
class Tally:
    """What a count found."""

    registered: int
    digest: str  #: that most voted for, the first by name where two are equal; empty where nobody voted
    agreeing: int

    @property
    def fraction_ppm(self) -> int:
        """The share of the registered workers that agree, rounded down: 98.9999 % is less than 99 %."""
        return self.agreeing * PPM // self.registered if self.registered else 0

    @property
    def agreed(self) -> bool:
        """Whether that is agreement; of nobody it never is."""
        return self.registered > 0 and self.agreeing * PPM >= AGREEMENT_PPM * self.registered


def ballot_bytes(job: str, step: int, worker: str, digest: str) -> bytes:
    """Return what a worker signs."""
    return encode(Ballot("nimmerverse checkpoint vote v1", job, step, worker, digest))


def vote(signer: Signer, job: str, step: int, worker: str, digest: str) -> WorkerVote:
    """Return a worker's signed vote."""
    return WorkerVote(worker, digest, signer.sign(ballot_bytes(job, step, worker, digest)))


class Count:
    """Counts votes as they come in. Owns what it has seen."""

    def __init__(self, job: str, step: int, keys: Mapping[str, bytes]) -> None:
        self.job, self.step, self.keys = job, step, keys
        self.voted: dict[str, str] = {}  #: digest by worker, of the votes that count
        self._by_digest: dict[str, int] = {}

    def take(self, given: WorkerVote) -> str:
        """Count one vote; return why it does not count, nothing where it does."""
        key = self.keys.get(given.worker)
        if key is None:
            return "unregistered"
        if not given.signature:
            return "unsigned"
        if not verify(key, ballot_bytes(self.job, self.step, given.worker, given.digest), given.signature):
            return "signed by no key of this worker, or over something else"
        if given.worker in self.voted:
            return "voted already"
        if given.digest not in self._by_digest and len(self._by_digest) == MAX_DIGESTS:
            return "one digest too many"
        self.voted[given.worker] = given.digest
        self._by_digest[given.digest] = self._by_digest.get(given.digest, 0) + 1
        return ""

    def tally(self) -> Tally:
        """Return what was found so far."""
        digest, agreeing = max(self._by_digest.items(), key=_most, default=("", 0))
        return Tally(len(self.keys), digest, agreeing)


def count(job: str, step: int, keys: Mapping[str, bytes], votes: Iterable[WorkerVote]) -> tuple[Count, list[str]]:
    """Return the count of some votes, and each vote that does not count as `worker: reason`."""
    counting, void = Count(job, step, keys), list[str]()
    for given in votes:
        why = counting.take(given)
        void += [f"{given.worker}: {why}"] if why else []
    return counting, void


def _most(found: tuple[str, int]) -> tuple[int, list[int]]:
    """Order digests by how many voted for them; of equal ones the first by name is the greatest."""
    digest, votes = found
    return votes, [-ord(letter) for letter in digest]
