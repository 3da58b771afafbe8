"""What stands behind weights that a training goes on from: the datasets that taught them, as far as the log says.

A base is what a recorded run left, or weights from elsewhere that were registered as a dataset of the kind `weights`:
these are a concern of their own, and name what else they were made from as their sources.
"""

from __future__ import annotations

from typing import Final, TypeAlias, cast, get_args

from shared.decisions import decisions_in
from shared.envelope import Verdict
from shared.errors import Refusal, Refused
from shared.subjects.datasets import WEIGHTS, DatasetFacts, DatasetRegistered
from shared.subjects.registry import Digest
from shared.subjects.training import RunRecorded

Heard: TypeAlias = DatasetRegistered | RunRecorded
HEARD: Final = cast("tuple[type[Heard], ...]", get_args(Heard))


class Origins:
    """Which datasets taught which weights. Fed with judged entries, in order."""

    def __init__(self) -> None:
        self._runs: dict[Digest, dict[Digest, None]] = {}  #: by what they left: model and weights
        self._datasets: dict[Digest, DatasetFacts] = {}

    def take(self, verdict: Verdict) -> None:
        """Take in what an entry's admitted decisions say."""
        for decision, _ in decisions_in(verdict, *HEARD):
            self.hear(decision)

    def hear(self, decision: Heard) -> None:
        """Take in one decision. What a run learned from holds what its own base learned from."""
        if isinstance(decision, DatasetRegistered):
            self._datasets.setdefault(decision.dataset, decision.facts)
            return
        for left in (decision.model, decision.weights):
            self._runs.setdefault(left, {}).update(dict.fromkeys(decision.datasets))

    def behind(self, base: Digest) -> list[Digest]:
        """Return every dataset that taught a base; nothing for no base. Refused T013 where the log does not say."""
        found, left, seen = dict[Digest, None](), [base] if base else [], set[Digest]()
        while left:
            one = left.pop(0)
            if one in seen:
                continue
            seen.add(one)
            facts = self._datasets.get(one)
            if one in self._runs:
                found |= self._runs[one]
            elif facts is not None and facts.kind == WEIGHTS:
                found[one] = None
                left += facts.sources
            elif facts is not None and one != base:
                found[one] = None
            else:
                raise Refused(Refusal("T013", _unknown(base, one, facts)))
        return [*found]


def _unknown(base: Digest, one: Digest, facts: DatasetFacts | None) -> str:
    what = f"{base} comes from {one}, which" if one != base else base
    if facts is not None:
        return f"{what} is a dataset of {facts.kind}, expected weights"
    return (
        f"{what} is nothing that a recorded run left, and no registered weights; "
        f"`nimmerverse dataset register FILE --kind {WEIGHTS}` says where they come from"
    )
