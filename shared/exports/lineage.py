"""OpenLineage run events (specification 2-0-2): when each step of a model's story began and ended, and on what.

    corpus ── dataset ──▶ training ── model ──▶ evaluation ── report
                                        └─────▶ promotion ── family@target

Every run's root is the training, so that one trace spans submission, run, model and promotions (ILL-16).
A dataset is named by its digest and a model by its own; the facet `nimmerverse` says where in the log a step stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from blake3 import blake3

from shared.envelope.envelope import rfc3339
from shared.exports.attest import Json
from shared.exports.story import Corpus, Dataset, Promotion, Said, Story
from shared.subjects.evaluation import Evaluated
from shared.version import VERSION

PRODUCER: Final = f"urn:nimmerverse:version:{VERSION}"
_SPEC: Final = "https://openlineage.io/spec"
RUN_EVENT: Final = f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent"
PARENT: Final = f"{_SPEC}/facets/1-1-0/ParentRunFacet.json#/$defs/ParentRunFacet"
JOB_TYPE: Final = f"{_SPEC}/facets/2-0-3/JobTypeJobFacet.json#/$defs/JobTypeJobFacet"
DATASET_VERSION: Final = f"{_SPEC}/facets/1-0-1/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet"
STATISTICS: Final = (
    f"{_SPEC}/facets/1-0-2/OutputStatisticsOutputDatasetFacet.json#/$defs/OutputStatisticsOutputDatasetFacet"
)
_OWN: Final = f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/RunFacet"
_VERSION_8: Final = 8  #: of a UUID whose bits are its maker's own (RFC 9562)


def run_events(story: Story) -> list[Json]:
    """Return the events of a story in the order in which they happened."""
    found = [*_corpora(story), *_training(story)]
    for evaluated in story.evaluations:
        found += _evaluation(story, evaluated)
    for promotion in story.promotions:
        found += _promotion(story, promotion)
    return sorted(found, key=lambda event: (event["eventTime"], event["eventType"] != "START"))


def run_id(kind: str, name: str) -> str:
    """Return a run's id: the same for the same step, whoever writes it."""
    drawn = bytearray(blake3(f"openlineage {kind} {name}".encode()).digest(16))
    drawn[6] = drawn[6] & 0x0F | _VERSION_8 << 4
    drawn[8] = drawn[8] & 0x3F | 0x80
    text = drawn.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _corpora(story: Story) -> Iterator[Json]:
    for dataset in story.datasets:
        if dataset.corpus is not None:
            yield from _corpus(story, dataset, dataset.corpus)


def _corpus(story: Story, dataset: Dataset, corpus: Corpus) -> Iterator[Json]:
    begun, finished = corpus.begun.decision, corpus.finished.decision
    step = _Step(story, "ingest", begun.corpus, begun.corpus)
    sources = [step.thing(begun.intake.source, version="")]
    made = step.thing(dataset.digest, version=dataset.digest)
    counted = {"_producer": PRODUCER, "_schemaURL": STATISTICS, "rowCount": finished.tally.kept}
    made["outputFacets"] = {"outputStatistics": counted}
    yield step.event("START", corpus.begun.time_ms, corpus.begun.place, sources, [])
    yield step.event("COMPLETE", corpus.finished.time_ms, corpus.finished.place, sources, [made])


def _training(story: Story) -> Iterator[Json]:
    step = _Step(story, "train", story.family, _trace(story))
    inputs = [step.thing(one.digest, version=one.digest) for one in story.datasets]
    inputs += [step.thing(model, version=model) for model in story.registered.decision.facts.parents]
    if story.submitted is not None:
        yield step.event("START", story.submitted.time_ms, story.submitted.place, inputs, [])
    if story.run is not None:
        made = [step.thing(story.model, version=story.model)]
        yield step.event("COMPLETE", story.run.time_ms, story.run.place, inputs, made)


def _evaluation(story: Story, evaluated: Said[Evaluated]) -> Iterator[Json]:
    said = evaluated.decision
    step = _Step(story, "evaluate", said.suite, f"{said.model} {said.report}")
    inputs = [step.thing(digest, version=digest) for digest in (said.model, said.dataset)]
    made = [step.thing(said.report, version=said.report)]
    yield step.event("START", evaluated.time_ms - said.elapsed_ms, evaluated.place, inputs, [])
    yield step.event("COMPLETE", evaluated.time_ms, evaluated.place, inputs, made)


def _promotion(story: Story, promotion: Promotion) -> Iterator[Json]:
    said = promotion.promoted.decision
    step = _Step(story, "promote", f"{said.family}.{said.target}", f"{said.model} {promotion.promoted.place}")
    inputs = [step.thing(said.model, version=said.model)]
    made = [step.thing(f"{said.family}@{said.target}", version=said.model)]
    time_ms, place = promotion.promoted.time_ms, promotion.promoted.place
    yield step.event("START", time_ms, place, inputs, [])
    yield step.event("COMPLETE", time_ms, place, inputs, made)


def _trace(story: Story) -> str:
    return story.registered.decision.facts.job


class _Step:
    """One run: which job it is of, and which trace it belongs to."""

    def __init__(self, story: Story, kind: str, job: str, name: str) -> None:
        self.namespace = f"nimmerverse:{story.log}"
        self.job, self.run = f"{kind}.{job}", run_id(kind, name)
        self.root_job, self.root_run = f"train.{story.family}", run_id("train", _trace(story))

    def thing(self, name: str, version: str) -> Json:
        """Return something that goes in or out."""
        facet = {"_producer": PRODUCER, "_schemaURL": DATASET_VERSION, "datasetVersion": version}
        return {"namespace": self.namespace, "name": name, "facets": {"version": facet} if version else {}}

    def event(self, kind: str, time_ms: int, place: str, inputs: Sequence[Json], outputs: Sequence[Json]) -> Json:
        """Return one event of the run."""
        facets: Json = {"nimmerverse": {"_producer": PRODUCER, "_schemaURL": _OWN, "place": place}}
        if self.run != self.root_run:
            root = {"run": {"runId": self.root_run}, "job": {"namespace": self.namespace, "name": self.root_job}}
            facets["parent"] = {"_producer": PRODUCER, "_schemaURL": PARENT, **root, "root": root}
        typed = {"_producer": PRODUCER, "_schemaURL": JOB_TYPE, "processingType": "BATCH", "integration": "NIMMERVERSE"}
        return {
            "eventType": kind,
            "eventTime": rfc3339(time_ms),
            "run": {"runId": self.run, "facets": facets},
            "job": {"namespace": self.namespace, "name": self.job, "facets": {"jobType": typed}},
            "inputs": list(inputs),
            "outputs": list(outputs),
            "producer": PRODUCER,
            "schemaURL": RUN_EVENT,
        }
