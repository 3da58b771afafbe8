"""Attestations: in-toto statements about a model, each in a DSSE envelope with one Ed25519 signature.

    provenance     SLSA provenance v1: by which job, from which datasets, in which run
    evaluation     what one suite measured, with its interval; a predicate of our own
    test-result    in-toto test result v0.1: the rows of the promotion's gate, and which of them held
    summary        SLSA verification summary v1: by which policy the promotion was judged

Sources: in-toto attestation framework v1, slsa.dev provenance v1 and verification_summary v1, DSSE protocol 1.0.
"""

from __future__ import annotations

import base64
import json
from typing import Any, Final

import msgspec

from shared.audit.export import STATEMENT
from shared.envelope.envelope import pae, rfc3339
from shared.exports.story import Dataset, Promotion, Said, Story
from shared.keys import Signer
from shared.subjects.evaluation import Evaluated
from shared.version import VERSION

IN_TOTO: Final = "application/vnd.in-toto+json"
PROVENANCE: Final = "https://slsa.dev/provenance/v1"
SUMMARY: Final = "https://slsa.dev/verification_summary/v1"
TEST_RESULT: Final = "https://in-toto.io/attestation/test-result/v0.1"
EVALUATION: Final = "urn:nimmerverse:evaluation:v1"
BUILD_TYPE: Final = "urn:nimmerverse:training:v1"

Json = dict[str, Any]


def plain(document: object) -> bytes:
    """Return JSON with its keys in order and no spaces: one text for one document."""
    return json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def envelope(payload_type: str, payload: bytes, signatures: list[tuple[str, bytes]]) -> Json:
    """Return a DSSE envelope of signatures over its pre-authentication encoding, each with its key's id."""
    given = [{"keyid": key_id, "sig": base64.b64encode(sig).decode()} for key_id, sig in signatures]
    return {"payload": base64.b64encode(payload).decode(), "payloadType": payload_type, "signatures": given}


def signed(statement: Json, signer: Signer) -> Json:
    """Return a statement in its envelope."""
    payload = plain(statement)
    return envelope(IN_TOTO, payload, [(signer.key_id, signer.sign(pae(IN_TOTO, payload)))])


def provenance(story: Story) -> Json:
    """Return how a model came to be. What the log does not hold is left out."""
    facts = story.registered.decision.facts
    definition: Json = {
        "buildType": BUILD_TYPE,
        "externalParameters": {"job": facts.job},
        "internalParameters": {"code": facts.code},
        "resolvedDependencies": [*map(_dependency, story.datasets), *map(_parent, facts.parents)],
    }
    metadata: Json = {"invocationId": facts.job}
    if story.submitted is not None:
        definition["externalParameters"]["spec"] = msgspec.to_builtins(story.submitted.decision.spec)
        metadata["startedOn"] = rfc3339(story.submitted.time_ms)
    byproducts = [{"name": "run record", "digest": {"blake3": facts.record}}]
    if story.run is not None:
        metadata["finishedOn"] = rfc3339(story.run.time_ms)
        byproducts.append({"name": "weights", "digest": {"blake3": story.run.decision.weights}})
    details = {"builder": _builder(story), "metadata": metadata, "byproducts": byproducts}
    return _about(story, PROVENANCE, {"buildDefinition": definition, "runDetails": details})


def evaluation(story: Story, evaluated: Said[Evaluated]) -> Json:
    """Return what one suite measured of a model."""
    said = evaluated.decision
    predicate = {
        "suite": said.suite,
        "dataset": {"blake3": said.dataset},
        "report": {"blake3": said.report},
        "metrics": msgspec.to_builtins(said.metrics),
        "baseline": msgspec.to_builtins(said.baseline),
        "evaluatedOn": rfc3339(evaluated.time_ms),
        "place": evaluated.place,
    }
    return _about(story, EVALUATION, predicate)


def test_result(story: Story, promotion: Promotion) -> Json:
    """Return the gate's rows as tests: those that held and those that did not."""
    judgement = promotion.promoted.decision.judgement
    rows = {holds: [row.name for row in judgement.rows if row.holds is holds] for holds in (True, False)}
    predicate = {
        "result": "PASSED" if judgement.allowed else "FAILED",
        "configuration": [{"name": "policy", "digest": {"blake3": judgement.policy}}],
        "passedTests": rows[True],
        "failedTests": rows[False],
    }
    return _about(story, TEST_RESULT, predicate)


def summary(story: Story, promotion: Promotion) -> Json:
    """Return by which policy and on which input a promotion was judged."""
    said = promotion.promoted.decision
    predicate = {
        "verifier": _builder(story),
        "timeVerified": rfc3339(promotion.promoted.time_ms),
        "resourceUri": f"urn:nimmerverse:model:{story.model}",
        "policy": {"uri": "urn:nimmerverse:policy:promotion", "digest": {"blake3": said.judgement.policy}},
        "inputAttestations": [
            {"uri": "urn:nimmerverse:manifest", "digest": {"blake3": said.manifest}},
            {"uri": "urn:nimmerverse:policy-input", "digest": {"blake3": said.judgement.input_digest}},
        ],
        "verificationResult": "PASSED" if said.judgement.allowed else "FAILED",
        "verifiedLevels": [f"NIMMERVERSE_{said.target.upper()}"],
        "slsaVersion": "1.0",
    }
    return _about(story, SUMMARY, predicate)


def _about(story: Story, kind: str, predicate: Json) -> Json:
    digest = {"sha256": story.registered.decision.facts.sha256, "blake3": story.model}
    subject = [{"name": story.name, "digest": digest}]
    return {"_type": STATEMENT, "subject": subject, "predicateType": kind, "predicate": predicate}


def _builder(story: Story) -> Json:
    return {"id": f"urn:nimmerverse:log:{story.log}", "version": {"nimmerverse": VERSION}}


def _dependency(dataset: Dataset) -> Json:
    digest = {"blake3": dataset.digest}
    found: Json = {"uri": f"urn:nimmerverse:dataset:{dataset.digest}", "digest": digest}
    if dataset.registered is not None:
        said = dataset.registered.decision
        digest["sha256"] = said.sha256
        found["name"] = said.facts.name
        found["annotations"] = {"licence": said.facts.licence, "pii": said.facts.pii, "place": dataset.registered.place}
    return found


def _parent(model: str) -> Json:
    return {"uri": f"urn:nimmerverse:model:{model}", "digest": {"blake3": model}, "name": "base model"}
