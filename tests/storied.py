"""A model's story to export: everything from a corpus to a promotion that two people signed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from blake3 import blake3
from msgspec.structs import replace

from shared.ballots import ballot_grants, signed_ballot
from shared.bus import Bus, Draft
from shared.exports import Said, Story, told
from shared.keys import LocalSigner
from shared.log.entry import Position
from shared.message import Decision
from shared.registry import Family, evolved, manifest_of
from shared.registry.family import DECISIONS
from shared.subjects.consensus import Choice, ProposalMade, SignerBallot, VoteCounted
from shared.subjects.datasets import DatasetApproved, DatasetFacts, DatasetRegistered, DatasetVerified
from shared.subjects.evaluation import Evaluated, Metric
from shared.subjects.provenance import BatchSealed, CorpusBegun, CorpusFinished, Intake, Tally
from shared.subjects.registry import EvidenceNoted, Judgement, ModelFacts, ModelPromoted, ModelRegistered, Row
from shared.subjects.training import JobSpec, JobSubmitted
from shared.world import new_id
from tests.ground import ENV, Founded, SimGround
from tests.proposals import DATASET, RECORD, recorded
from tests.proposals import facts as proposed

FAMILY, OTHER, NOW_MS = "boundary", "e" * 64, 1_767_225_600_000
LOG = "ab" * 32
WEIGHTS = b"GGUF and what a model weighs"
MODEL = blake3(WEIGHTS).hexdigest()
POLICY = "7" * 64
ADA, BEN, PART = (LocalSigner(bytes([number]) * 32) for number in (1, 2, 3))
ATTESTOR = LocalSigner(b"a" * 32)
SPEC = JobSpec(
    family=FAMILY,
    recipe="boundary 1",
    backend="torch",
    datasets=[DATASET, OTHER],
    base="",
    hyperparameters={"batch": 64},
    seed=1,
    steps=800,
    workers=2,
    heavy=False,
    reason="new",
    proposal="boundary-2",
)


FACTS = ModelFacts(
    version="1",
    code="boundary 1",
    job="job-1",
    record=RECORD,
    datasets=[DATASET, OTHER],
    parents=[],
    size_bytes=len(WEIGHTS),
    sha256=hashlib.sha256(WEIGHTS).hexdigest(),
    high_risk=False,
    watermark="e1" * 32,
)


class Log:
    """Decisions in the order in which they were said, one entry each, a second apart."""

    def __init__(self) -> None:
        self.said: list[Said[Decision]] = []
        self.family = Family()

    def say(self, decision: Decision, signer: LocalSigner = PART) -> None:
        """Say one more."""
        index = len(self.said)
        self.said.append(Said(decision, Position(index), NOW_MS + index * 1_000, signer.public))
        if isinstance(decision, DECISIONS):
            self.family = evolved(self.family, decision)

    def story(self) -> Story:
        """The model's story."""
        return told(self.said, LOG, FAMILY, MODEL)


def measured() -> Evaluated:
    """What a suite measured, hallucination left out."""
    metrics = [
        Metric("quality", 960_000, 950_000, 970_000, 500, ""),
        Metric("bias", 100_000, 90_000, 110_000, 500, "worst: night"),
    ]
    return Evaluated(MODEL, FAMILY, "boundary-1", OTHER, "9" * 64, metrics, [Metric("quality", 1, 0, 2, 500, "")], 5)


def dataset(digest: str = DATASET, name: str = "trails | of the rules") -> DatasetRegistered:
    """A dataset that somebody registered."""
    said = DatasetFacts(name, "train", "trails", "dock", [], [], "CC-BY-4.0", ["no-resale"], "none", 10)
    return DatasetRegistered(digest, "5" * 64, 100, said)


def promoted(log: Log, *voters: str) -> ModelPromoted:
    """A promotion of what the family knows now."""
    manifest = manifest_of(FAMILY, log.family, MODEL, "prod", POLICY, emergency=False)
    rows = [Row("quality", ">= 900000", 960_000, True, ""), Row("bias", "< 150000", 100_000, True, "")]  # noqa: FBT003
    judgement = Judgement(POLICY, "8" * 64, "regorus", True, rows)  # noqa: FBT003
    return ModelPromoted(FAMILY, MODEL, "prod", manifest.digest, list(voters), judgement, "", False, "ada")  # noqa: FBT003


def log_of_a_promotion() -> Log:
    """A log from which everything can be exported."""
    log = Log()
    intake = Intake("trails", "the dock's trails", "CC-BY-4.0", [], "", 1_000_000, "", POLICY)
    log.say(CorpusBegun("dock", intake))
    log.say(BatchSealed("dock", 0, "3" * 64, "4" * 64, "5" * 64, 12, Tally(kept=10, empty=2), 0, 0, 99))
    log.say(CorpusFinished("dock", 1, 12, Tally(kept=10, empty=2), 0, 0, DATASET))
    log.say(dataset())
    log.say(DatasetApproved(DATASET, ["restriction:no-resale"], "cyd", "we do not sell it"))
    log.say(DatasetVerified(DATASET, FAMILY, 1, 10, True, "verified", True, 0, ""))  # noqa: FBT003
    log.say(JobSubmitted("job-1", SPEC, "6" * 64, "ada"))
    log.say(recorded(model=MODEL, datasets=[DATASET, OTHER]))
    log.say(ModelRegistered(FAMILY, MODEL, FACTS))
    log.say(measured())
    log.say(EvidenceNoted(FAMILY, MODEL, "evaluation", "boundary-1", "9" * 64, {"quality": 960_000}, 9, 0, NOW_MS))
    log.say(ProposalMade("boundary-2", proposed(model=MODEL), None))
    log.say(VoteCounted("boundary-2", "ada", "human", "pass", "good", 1, 0, "counted", "", "pass", "pass", "accepted"))
    promotion = promoted(log, "ada", "ben")
    for name, signer, choice in _words():
        log.say(signed_ballot(signer, "signer", name, promotion.manifest, choice, "it is good", family=FAMILY), signer)
    log.say(
        replace(signed_ballot(ADA, "signer", "eve", promotion.manifest, "pass", "me too"), signature=b"x" * 64), ADA
    )
    log.say(promotion)
    return log


async def said_again(ground: SimGround, log: Log) -> Bus:
    """Say all of it on a log with keys of its own, each ballot by its voter, and return a bus that read nothing yet."""
    founded, world = await Founded.on(ground), ground.world
    whole = (f"{ENV}.lifecycle.>", f"{ENV}.provenance.>", f"{ENV}.governance.consensus.>")
    desk = Bus(world, await ground.wire("desk"), "desk", "1", [await founded.introduce("desk", *whole)])
    keys = {"ada": ADA, "ben": BEN}
    for said in log.said:
        decision, bus = said.decision, desk
        if isinstance(decision, SignerBallot):
            signer = keys.get(decision.voter) or LocalSigner(world.entropy(32))
            grants = ballot_grants(ENV, decision.voter, ["signer"])
            await founded.register(decision.voter, signer.key_id, signer.public, *grants)
            bus = Bus(world, await ground.wire(decision.voter), decision.voter, "1", [signer])
        await bus.append(Draft(decision, new_id(world)))
    return Bus(world, await ground.wire("reader"), "reader", "1", [])


def _words() -> Iterator[tuple[str, LocalSigner, Choice]]:
    yield "ada", ADA, "pass"
    yield "ben", BEN, "pass"
    yield "cyd", PART, "fail"
