"""A CycloneDX 1.6 bill of materials: the model as a component with its card, and the datasets that taught it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from shared.envelope.envelope import rfc3339
from shared.exports.attest import Json
from shared.exports.lineage import run_id
from shared.exports.story import Dataset, Said, Story
from shared.subjects.evaluation import Evaluated
from shared.version import VERSION

SPEC_VERSION: Final = "1.6"
PPM: Final = 1_000_000


def bill(story: Story) -> Json:
    """Return the bill; serial number and time follow from the story, so that the same story gives the same bytes."""
    model = _model(story)
    datasets = [_dataset(dataset) for dataset in story.datasets]
    parents = [_parent(digest) for digest in story.registered.decision.facts.parents]
    components = [*datasets, *parents]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "serialNumber": f"urn:uuid:{run_id('bill', f'{story.log} {story.model} {story.last_ms}')}",
        "version": 1,
        "metadata": {
            "timestamp": rfc3339(story.last_ms),
            "tools": {"components": [{"type": "application", "name": "nimmerverse", "version": VERSION}]},
            "component": model,
        },
        "components": components,
        "dependencies": [{"ref": model["bom-ref"], "dependsOn": [one["bom-ref"] for one in components]}],
    }


def _model(story: Story) -> Json:
    facts = story.registered.decision.facts
    card: Json = {"modelParameters": {"datasets": [{"ref": _ref("dataset", one.digest)} for one in story.datasets]}}
    metrics = [metric for evaluated in story.evaluations for metric in _metrics(evaluated)]
    if metrics:
        card["quantitativeAnalysis"] = {"performanceMetrics": metrics}
    return {
        "type": "machine-learning-model",
        "bom-ref": _ref("model", story.model),
        "name": story.family,
        "version": facts.version,
        "hashes": _hashes(story.model, facts.sha256),
        "modelCard": card,
        "properties": _properties(
            {
                "claimed_mark": facts.watermark,  # nobody checked it: that takes the owner's key
                "code": facts.code,
                "high_risk": "true" if facts.high_risk else "false",
                "job": facts.job,
                "place": story.registered.place,
                "record": facts.record,
                "status": story.status,
            }
        ),
    }


def _metrics(evaluated: Said[Evaluated]) -> Iterator[Json]:
    for metric in evaluated.decision.metrics:
        yield {
            "type": metric.name,
            "value": _share(metric.ppm),
            "slice": evaluated.decision.suite,
            "confidenceInterval": {"lowerBound": _share(metric.low_ppm), "upperBound": _share(metric.high_ppm)},
        }


def _dataset(dataset: Dataset) -> Json:
    found: Json = {"type": "data", "bom-ref": _ref("dataset", dataset.digest), "name": dataset.digest}
    said = dataset.registered.decision if dataset.registered is not None else None
    found["hashes"] = _hashes(dataset.digest, said.sha256 if said is not None else "")
    if said is None:
        return found
    facts = said.facts
    found["name"] = facts.name
    found["licenses"] = [{"license": {"name": facts.licence}}]
    found["data"] = [{"type": "dataset", "name": facts.name, "classification": f"personal data: {facts.pii}"}]
    told = {"kind": facts.kind, "records": str(facts.records), "restrictions": ", ".join(facts.restrictions)}
    found["properties"] = _properties(told)
    return found


def _parent(digest: str) -> Json:
    kind = "machine-learning-model"
    return {"type": kind, "bom-ref": _ref("model", digest), "name": digest, "hashes": _hashes(digest, "")}


def _hashes(blake3: str, sha256: str) -> list[Json]:
    found = [{"alg": "BLAKE3", "content": blake3}]
    return [*found, {"alg": "SHA-256", "content": sha256}] if sha256 else found


def _properties(told: dict[str, str]) -> list[Json]:
    return [{"name": f"nimmerverse:{name}", "value": value} for name, value in sorted(told.items()) if value]


def _ref(kind: str, digest: str) -> str:
    return f"{kind}-{digest}"


def _share(ppm: int) -> str:
    """Return a share as a decimal, exactly."""
    return f"{ppm // PPM}.{ppm % PPM:06d}"
