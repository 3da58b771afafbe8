"""As many voters on one checkpoint as one likes: each with a key, each vote signed, all of them really counted.

`python -m tests.voters 550000` counts as many, bad votes among them, and says what a vote costs.
"""

from __future__ import annotations

import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from blake3 import blake3

from shared.keys import LocalSigner
from shared.subjects.training import WorkerVote
from shared.training.votes import Count, Tally, vote

JOB, STEP = "a job", 10
ONE, OTHER = "1" * 64, "2" * 64
KIB = 1_024


@dataclass(frozen=True)
class Counted:
    """What came of a count: its tally, why other votes did not count, and what a vote took."""

    tally: Tally
    void: Counter[str]
    votes: int
    cpu_us: float  #: for a vote, its signature checked; making it is not in that
    peak_bytes: int  #: of this process, its voters' keys included


def signer(number: int) -> LocalSigner:
    """A voter's key, made again from the number whenever it signs."""
    return LocalSigner(blake3(number.to_bytes(8, "big")).digest())


def given(voters: int, silent: int) -> Iterator[WorkerVote]:
    """The votes of so many voters; of each thousand the last `silent` say nothing, and with five something is wrong.

    One is unsigned, one for another digest, one signed with another's key; one votes twice, one brings a stranger.
    """
    for number in range(voters):
        name, place = f"voter-{number}", number % 1_000
        if place >= 1_000 - silent:
            continue
        good = vote(signer(number), JOB, STEP, name, ONE)
        match place:
            case 0:
                yield WorkerVote(name, ONE, b"")
            case 1:
                yield vote(signer(number), JOB, STEP, name, OTHER)
            case 2:
                yield vote(signer(number - 1), JOB, STEP, name, ONE)
            case 3:
                yield from (good, good)
            case 4:
                yield from (good, vote(signer(number), JOB, STEP, f"stranger-{number}", ONE))
            case _:
                yield good


def counted(voters: int, silent: int = 0) -> Counted:
    """Register so many voters, and count what they say."""
    counting = Count(JOB, STEP, {f"voter-{number}": signer(number).public for number in range(voters)})
    void, cpu_s = Counter[str](), 0.0
    for one in given(voters, silent):
        before_s = time.process_time()
        why = counting.take(one)
        cpu_s += time.process_time() - before_s
        void[why] += 1
    votes, _ = void.total(), void.pop("", None)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB
    return Counted(counting.tally(), void, votes, 1e6 * cpu_s / max(votes, 1), peak)


if __name__ == "__main__":
    found = counted(int(sys.argv[1]))
    tally = found.tally
    word = "agreement" if tally.agreed else "no agreement"
    sys.stdout.write(
        f"{found.votes} votes of {tally.registered} voters: {tally.agreeing} agree, {tally.fraction_ppm / 10_000:.2f} %"
        f": {word}; {dict(sorted(found.void.items()))} did not count\n"
        f"{found.cpu_us:.0f} µs of one core for a vote; {found.peak_bytes / 1e6:.0f} MB at most\n"
    )
