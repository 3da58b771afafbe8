"""The evaluator organ: measures a model by a suite, keeps every single answer, and decides what was found.

A model is loaded from its verified bytes, in a process of its own. Nothing is decided of a measurement that did not
come to its end, and what a suite could not measure is not among its metrics: it is absent, and absent is denied.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import ClassVar, cast

import msgspec

from organs.evaluator.bench import EngineBench
from organs.evaluator.families import FAMILIES
from organs.evaluator.known import Last, Ledger, note
from organs.evaluator.port import Bench, Seated
from organs.evaluator.recommending import recommended
from organs.evaluator.simulated import SimBench
from organs.evaluator.sitting import BIAS, HALLUCINATION, Family, Measured
from organs.evaluator.suites import Suite, Suites
from shared.artifacts import CHUNK_BYTES, ArtifactStore, MemoryStore, read, store_of
from shared.config import Settings
from shared.constant import constant
from shared.errors import Damaged, Refusal, Refused
from shared.message import Request
from shared.part import Garden
from shared.part.metrics import Declared, Readings
from shared.part.organ import Organ, OwnLog
from shared.part.runner import Runner
from shared.policy import Policies
from shared.shares import MICRO
from shared.subjects.artifacts import RegisterArtifact
from shared.subjects.datasets import DatasetStatus, RegisterDataset
from shared.subjects.evaluation import Evaluated, EvaluateModel, EvaluationDone, Recommended
from shared.vault import People, people_of
from shared.world import SimWorld, World

MAX_MEASURED_BYTES = constant(4_000_000_000, "bytes", "ILL-06")
QUESTIONS_AT_ONCE = constant(128, "questions", "ILL-06")
MEDIA_TYPE = "application/x-ndjson"
FORMAT = "nimmerverse-evaluation-1"
_encode = msgspec.json.Encoder(order="deterministic").encode


def _last(name: str) -> Callable[[Runner], Readings]:
    """Return what reads a metric's last value of each family off the evaluator's runner."""

    def readings(runner: Runner) -> Readings:
        last = cast("EvaluatorOrgan", runner.part).last
        return {(family,): ppm / MICRO for (metric, family), ppm in tuple(last.items()) if metric == name}

    return readings


class EvaluatorOrgan(Organ):
    """Measures models. Owns the one that it measures now."""

    name: ClassVar[str] = "evaluator"
    version: ClassVar[str] = "1.0.0"
    garden: ClassVar[Garden] = "real"
    cost_ulf: ClassVar[int] = constant(10_000_000, "micro-lifeforce", "ILL-06")
    asks: ClassVar[tuple[type[Request], ...]] = (RegisterArtifact, RegisterDataset, DatasetStatus)
    metrics: ClassVar[tuple[Declared, ...]] = (
        Declared(
            "grok5_hallucination_rate",
            "gauge",
            ("part", "family"),
            "Hallucination as last measured of a model of the family, 0 to 1; no sample where it never was.",
            "COL-13",
            _last(HALLUCINATION),
        ),
        Declared(
            "grok5_bias_score",
            "gauge",
            ("part", "family"),
            "Bias as last measured of a model of the family, 0 to 1; no sample where it never was.",
            "COL-13",
            _last(BIAS),
        ),
    )

    def __init__(
        self,
        world: World,
        store: ArtifactStore,
        people: People | None,
        bench: Bench,
        families: Mapping[str, Family] = FAMILIES,
    ) -> None:
        self.world, self.store, self.people, self.bench, self.families = world, store, people, bench, families
        self.policies = Policies.shipped()
        self.last: Last = {}
        self._seated: Seated | None = None

    @classmethod
    def build(cls, settings: Settings, world: World) -> EvaluatorOrgan:
        return cls(world, store_of(settings, world), people_of(settings, world), EngineBench())

    @classmethod
    def simulate(cls, world: SimWorld) -> EvaluatorOrgan:
        return cls(world, MemoryStore(), None, SimBench())

    def again(self, world: SimWorld) -> EvaluatorOrgan:
        return EvaluatorOrgan(world, self.store, self.people, self.bench, self.families)

    def workers(self) -> Collection[int]:
        pid = None if self._seated is None else self._seated.pid
        return () if pid is None else (pid,)

    async def open(self, log: OwnLog) -> None:
        await self.store.prepare()
        self.log, self.ledger = log, Ledger(log, self.last)
        self.suites = Suites(self.store, self.people, self._ask, self.families)
        await self.ledger.read_on()

    async def close(self) -> None:
        await self._rise()
        await self.store.close()

    async def on_evaluate(self, request: EvaluateModel) -> list[Evaluated | Recommended | EvaluationDone]:
        """Measure a model, keep the answers, and decide. Measured by these bytes of a suite before, it is not again.

        Refused V001 to V004, B011; nothing is decided then.
        """
        suite = await self.suites.find(request.family, request.suite)
        await self.ledger.read_on()
        known = self.ledger.evaluated.get((request.model, suite.dataset))
        if known is not None:
            return [EvaluationDone(known.model, known.suite, known.metrics, known.report)]
        began_s = self.world.elapsed_s()
        measured = await self._measure(request, suite)
        report = await self._keep(request, suite, measured)
        found = Evaluated(
            model=request.model,
            family=request.family,
            suite=suite.name,
            dataset=suite.dataset,
            report=report,
            metrics=measured.metrics,
            baseline=measured.baseline,
            elapsed_ms=round(1_000 * (self.world.elapsed_s() - began_s)),
            default=tuple(measured.default),
        )
        note(self.last, found)
        in_force = self.ledger.in_force.get(request.family, "")
        said = recommended(found, in_force, self.ledger.evaluated.get((in_force, suite.dataset)), self.policies)
        return [found, said, EvaluationDone(found.model, found.suite, found.metrics, report)]

    async def _measure(self, request: EvaluateModel, suite: Suite) -> Measured:
        sitting = self.families[request.family].read(suite.lines)
        try:
            model = await read(self.store, request.model, MAX_MEASURED_BYTES)
        except (Refused, Damaged) as trouble:
            raise Refused(Refusal("V004", f"{request.model[:80]}: {trouble}")) from None
        measured = sitting.judge(await self._answers(request.family, model, sitting.questions))
        if request.family not in self.policies.with_default:
            return measured
        return measured.beside(sitting.judge(await self._answers(request.family, None, sitting.questions)))

    async def _answers(self, family: str, model: bytes | None, questions: Sequence[str]) -> list[str]:
        self._seated, answers = await self.bench.seat(family, model), list[str]()
        try:
            for start in range(0, len(questions), QUESTIONS_AT_ONCE):
                answers += await self._seated.ask(questions[start : start + QUESTIONS_AT_ONCE])
        finally:
            await self._rise()
        return answers

    async def _keep(self, request: EvaluateModel, suite: Suite, measured: Measured) -> str:
        """Put every single answer into the store, and have it registered; return its digest."""
        head = {
            "format": FORMAT,
            "model": request.model,
            "family": request.family,
            "suite": suite.name,
            "dataset": suite.dataset,
            "by": f"{self.name} {self.version}",
            "metrics": measured.metrics,
            "baseline": measured.baseline,
            "default": measured.default,
        }
        raw = b"".join(_encode(line) + b"\n" for line in [head, *measured.answers])
        kept = await self.store.put(_pieces(raw), MEDIA_TYPE)
        name = f"{request.family} by {suite.name}"
        by = f"{self.name} {self.version}"
        await self._ask(RegisterArtifact(kept.blake3, "evaluation", name, by, [request.model, suite.dataset]))
        return kept.blake3

    async def _rise(self) -> None:
        seated, self._seated = self._seated, None
        if seated is not None:
            await seated.close()

    async def _ask(self, request: Request) -> object:
        answer = await self.log.request(request)
        if isinstance(answer, Refusal):
            raise Refused(answer)
        return answer


async def _pieces(raw: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(raw), CHUNK_BYTES):
        yield raw[start : start + CHUNK_BYTES]
