"""A part that stands for every one whose decisions are evidence for a promotion, and is a signer besides."""

from __future__ import annotations

from typing import ClassVar

from shared.message import Request
from shared.part import Organ
from shared.subjects.consensus import SignerBallot, VoteCounted
from shared.subjects.datasets import DatasetVerified
from shared.subjects.energy import PowerWindowDecided
from shared.subjects.evaluation import Evaluated
from shared.subjects.system import Decided
from shared.subjects.training import RunRecorded
from tests.promotions import FAMILY, OTHER, accepted, evaluated, power, run, verified

Evidence = RunRecorded | DatasetVerified | Evaluated | PowerWindowDecided | VoteCounted | SignerBallot


class SayEvidence(Request, subject="demo.evidence.say.request", reply=Decided):
    """Have one piece of evidence decided."""

    piece: str
    about: str
    at_ms: int


class Witness(Organ):
    """Stands for every part whose decisions are evidence, and is a signer besides."""

    name: ClassVar[str] = "sig"
    version: ClassVar[str] = "1.0.0"

    async def on_say(self, asked: SayEvidence) -> list[Evidence]:
        """Decide one piece of evidence."""
        pieces: dict[str, Evidence] = {
            "run": run(),
            "dataset": verified(),
            "other": verified(OTHER),
            "evaluation": evaluated(),
            "power": power(taken_ms=asked.at_ms),
            "proposal": accepted(),
            "signature": SignerBallot("sig", asked.about, "pass", "because", "", b"", FAMILY),
        }
        return [pieces[asked.piece]]
