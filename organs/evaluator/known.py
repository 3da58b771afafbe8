"""What the log says of evaluations and of what is in force: folded to its end before each answer."""

from __future__ import annotations

from organs.evaluator.sitting import BIAS, HALLUCINATION
from shared.constant import constant
from shared.decisions import decisions_in
from shared.envelope import Verdict
from shared.part.organ import JudgedLog
from shared.subjects.evaluation import Evaluated
from shared.subjects.registry import ModelPromoted, ModelRolledBack

EVALUATIONS_AT_ONCE = constant(500, "entries", "ILL-06")
TARGET = "prod"


Last = dict[tuple[str, str], int]  #: what was measured last, in millionths, by metric and family


def note(last: Last, found: Evaluated) -> None:
    """Take what was measured of a family's faults; what a suite does not measure stays as it was."""
    last.update({(one.name, found.family): one.ppm for one in found.metrics if one.name in {BIAS, HALLUCINATION}})


class Ledger:
    """Evaluations by model and suite, and the model of each family in prod. Owns how far it has read."""

    def __init__(self, log: JudgedLog, last: Last) -> None:
        self.log, self.last = log, last
        self.evaluated: dict[tuple[str, str], Evaluated] = {}  #: by model and the suite's dataset, the newest
        self.in_force: dict[str, str] = {}
        self._next = 0

    async def read_on(self) -> None:
        """Fold what the log holds by now."""
        while verdicts := await self.log.judged(self._next, EVALUATIONS_AT_ONCE):
            for verdict in verdicts:
                self._fold(verdict)
                self._next = verdict.entry.index + 1

    def _fold(self, verdict: Verdict) -> None:
        for said, _ in decisions_in(verdict, Evaluated, ModelPromoted, ModelRolledBack):
            match said:
                case Evaluated():
                    self.evaluated[said.model, said.dataset] = said
                    note(self.last, said)
                case ModelPromoted():
                    if said.target == TARGET:
                        self.in_force[said.family] = said.model
                case ModelRolledBack():
                    if said.target == TARGET:
                        self.in_force[said.family] = said.restores
