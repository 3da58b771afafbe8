"""What the log says of datasets: the fold of this organ's own decisions, read on to the end before each answer."""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.constant import constant
from shared.decisions import decisions_in
from shared.envelope import Verdict
from shared.errors import Refusal, Refused
from shared.part.organ import JudgedLog
from shared.subjects.datasets import DatasetApproved, DatasetRegistered, DatasetVerified
from shared.subjects.system import Decided

DATASETS_AT_ONCE = constant(500, "entries", "ILL-03")


@dataclass(slots=True)
class Known:
    """One dataset as the log knows it."""

    registered: DatasetRegistered
    decided: Decided  #: where that stands
    approved: list[str] = field(default_factory=list[str])
    verified: DatasetVerified | None = None  #: the newest


class Ledger:
    """Every dataset in the log. Owns how far it has read."""

    def __init__(self, log: JudgedLog) -> None:
        self.log = log
        self.datasets: dict[str, Known] = {}
        self._next = 0

    async def read_on(self) -> None:
        """Fold what the log holds by now."""
        while verdicts := await self.log.judged(self._next, DATASETS_AT_ONCE):
            for verdict in verdicts:
                self._fold(verdict)
                self._next = verdict.entry.index + 1

    def find(self, dataset: str) -> Known:
        """Return a registered dataset; Refused D002."""
        known = self.datasets.get(dataset)
        if known is None:
            raise Refused(Refusal("D002", f"nobody registered {dataset[:80]!r}; see `nimmerverse dataset list`"))
        return known

    def _fold(self, verdict: Verdict) -> None:
        ids = {offset: event.id.hex() for offset, event in verdict.admitted()}
        for said, at in decisions_in(verdict, DatasetRegistered, DatasetApproved, DatasetVerified):
            known = self.datasets.get(said.dataset)
            match said:
                case DatasetRegistered() if known is None:
                    stands = Decided(
                        verdict.entry.subject, ids[at.offset], at.index, at.offset, duplicate=True, proof="pending"
                    )
                    self.datasets[said.dataset] = Known(said, stands)
                case DatasetApproved() if known is not None:
                    known.approved += [one for one in said.concerns if one not in known.approved]
                case DatasetVerified() if known is not None:
                    known.verified = said
                case _:
                    pass
