"""All the evidence that one promotion takes, and the lane of a family on which it is heard piece by piece."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from nerves.registry import RegistryNerve
from shared.ballots import CLASSES
from shared.codec import encode
from shared.errors import Refusal
from shared.message import Decision, registered
from shared.registry import Family, manifest_of
from shared.registry.family import DECISIONS
from shared.subjects.consensus import Choice, Role, VoteCounted
from shared.subjects.datasets import DatasetVerified
from shared.subjects.energy import PowerWindowDecided
from shared.subjects.evaluation import Evaluated, Metric
from shared.subjects.registry import ModelFacts, PromoteModel, RegisterModel, Target
from shared.subjects.training import RunRecorded
from tests.proposals import place

FAMILY, SUITE = "boundary", "reflexes 1"
MODEL, RECORD, DATASET, OTHER = "b" * 64, "a" * 64, "c" * 64, "e" * 64
SECOND, SECOND_RECORD = "1" * 64, "2" * 64
NOW_MS = 1_767_225_600_000
LEADS: tuple[Role, ...] = ("release_manager", "safety_lead", "infrastructure_lead")
HOUR_MS = 3_600_000


def run(model: str = MODEL, record: str = RECORD, **changed: Any) -> RunRecorded:  # noqa: ANN401 - fields
    """A run that left a model."""
    made = RunRecorded("job-1", FAMILY, record, model, "d" * 64, [DATASET, OTHER], 1_000_000, [5, 1], 1_000, 2)
    return replace(made, **changed)


def facts(record: str = RECORD, version: str = "1", **changed: Any) -> ModelFacts:  # noqa: ANN401 - fields
    """What is said of that model."""
    made = ModelFacts(version, "boundary 1", "job-1", record, [DATASET, OTHER], [], 10, "f" * 64, False, "")  # noqa: FBT003
    return replace(made, **changed)


def verified(dataset: str = DATASET, **changed: Any) -> DatasetVerified:  # noqa: ANN401 - fields
    """A dataset that was read again, whole."""
    made = DatasetVerified(dataset, FAMILY, 1, 10, True, "verified", True, 0, "")  # noqa: FBT003
    return replace(made, **changed)


def evaluated(
    quality: int | None = 960_000,
    bias: int | None = 100_000,
    hallucination: int | None = 50_000,
    model: str = MODEL,
    **changed: Any,  # noqa: ANN401 - fields
) -> Evaluated:
    """What a suite measured; None where it did not."""
    measured = {"quality": quality, "bias": bias, "hallucination": hallucination}
    metrics = [Metric(name, ppm, ppm, ppm, 100, "") for name, ppm in measured.items() if ppm is not None]
    return replace(Evaluated(model, FAMILY, SUITE, OTHER, "9" * 64, metrics, [], 5), **changed)


def power(**changed: Any) -> PowerWindowDecided:  # noqa: ANN401 - fields
    """A site's window, asked for the family a moment ago."""
    made = PowerWindowDecided(
        site="here",
        purpose=FAMILY,
        allowed=True,
        reason="OK",
        scale_ppm=1_000_000,
        delay_s=0,
        throttle_ppm=1_000_000,
        off_peak=False,
        local_minute=720,
        taken_ms=NOW_MS,
        power_kw=240_000,
        soc_ppm=900_000,
        nox_mg_h=900,
        nox_permit_mg_h=1_000,
        turbines=True,
        policy="p" * 64,
        input_digest="q" * 64,
        engine="e",
        source="file",
    )
    return replace(made, **changed)


def accepted(model: str = MODEL, record: str = RECORD, **changed: Any) -> VoteCounted:  # noqa: ANN401 - fields
    """The vote that accepted a proposal of the model."""
    said = ("boundary-2", "ada", "human", "pass", "good", 1, 0, "counted", "", "pass", "pass", "accepted")
    return replace(VoteCounted(*said, FAMILY, model, record, "low"), **changed)


class Lane:
    """One family under the nerve, as its runner keeps it; every decision is made again from its evidence."""

    def __init__(self) -> None:
        self.nerve = RegistryNerve()
        self.state: Family = self.nerve.start()
        self.decided: list[tuple[Any, int]] = []  #: with the index at which each stands
        self.index, self.now_ms = 0, NOW_MS

    def refused(self, message: Any) -> str:  # noqa: ANN401 - as `hear`
        """The code by which a message is refused; "" where it is taken."""
        said = self.hear(message)
        return said.code if isinstance(said, Refusal) else ""

    def hear(self, message: Any) -> Any:  # noqa: ANN401 - of any class that it hears or says
        """Hear one message, evolve, and return what was said last, or the refusal."""
        self.index += 1
        window = self.nerve.placed(self.nerve.empty(), place(self.index))
        evidence = self.nerve.evidence(window, message, bytes(16), self.now_ms)
        _, said = self.nerve.decide(self.state, window, message, self.now_ms)
        if isinstance(said, Refusal):
            assert [] == self.nerve.decide_again(self.state, evidence, registered())
            return said
        decisions = [one for one in said if isinstance(one, Decision)]
        assert [encode(one) for one in decisions] == self.nerve.decide_again(self.state, evidence, registered())
        for decision in decisions:
            assert isinstance(decision, DECISIONS)
            self.state = self.nerve.evolve(self.state, decision)
            self.decided.append((decision, self.index))
        return said[-1] if said else None

    def manifest(self, model: str = MODEL, target: Target = "prod", *, emergency: bool = False) -> str:
        """What is to be signed now."""
        policy = self.nerve.gate.policies.digest
        return manifest_of(FAMILY, self.state, model, target, policy, emergency=emergency).digest

    def word(self, role: Role, voter: str, about: str, choice: Choice = "pass") -> Any:  # noqa: ANN401 - as `hear`
        """Hear a voter's word about a manifest."""
        return self.hear(CLASSES[role](voter, about, choice, "because", "", b"", FAMILY))

    def register(self, model: str = MODEL, record: str = RECORD, version: str = "1", **changed: Any) -> None:  # noqa: ANN401
        """Hear of a run, and register what it left."""
        self.hear(run(model, record))
        self.hear(RegisterModel(FAMILY, model, facts(record, version, **changed)))

    def words(self, model: str = MODEL, target: Target = "prod", signers: tuple[str, ...] = ("sig",)) -> None:
        """Hear everybody whose word a promotion takes."""
        about = self.manifest(model, target)
        for role in LEADS:
            self.word(role, f"the_{role}", about)
        for name in signers:
            self.word("signer", name, about)

    def promote(self, model: str = MODEL, target: Target = "prod", *, emergency: bool = False) -> Any:  # noqa: ANN401
        """Ask for a promotion."""
        return self.hear(PromoteModel(FAMILY, model, target, "ada", emergency, "because"))

    def ready(self, model: str = MODEL, record: str = RECORD, version: str = "1", **changed: Any) -> None:  # noqa: ANN401
        """Hear everything that a promotion to staging takes."""
        self.register(model, record, version, **changed)
        for message in (
            verified(),
            verified(OTHER),
            evaluated(model=model),
            power(taken_ms=self.now_ms),
            accepted(model, record),
        ):
            self.hear(message)
        self.words(model, "staging", ("sig", "nal", "ler"))

    def staged(self, model: str = MODEL, record: str = RECORD, version: str = "1", **changed: Any) -> None:  # noqa: ANN401
        """Have a model at staging, with every word for prod."""
        self.ready(model, record, version, **changed)
        self.promote(model, "staging")
        self.words(model, "prod", ("sig", "nal", "ler"))
