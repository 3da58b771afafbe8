"""What other tools read of a model: each file is judged by a reader that nobody here wrote, and found out if false."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from google.protobuf.json_format import ParseDict, ParseError
from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance  # pyright: ignore[reportAttributeAccessIssue] - made at run time
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1.statement_pb2 import Statement as StatementPb  # pyright: ignore[reportAttributeAccessIssue] - made at run time
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey  # pyright: ignore[reportPrivateImportUsage] - its documented place

from deploy.commands.model_export import read_story
from shared.errors import Refused
from shared.exports import exported, told
from shared.exports.lineage import run_id
from shared.exports.signature import P256Signer
from shared.subjects.registry import ModelRegistered
from tests.ground import SimGround, play_sim
from tests.proposals import DATASET
from tests.storied import (
    ADA,
    ATTESTOR,
    BEN,
    FAMILY,
    LOG,
    MODEL,
    OTHER,
    POLICY,
    WEIGHTS,
    Log,
    log_of_a_promotion,
    said_again,
)

pytestmark = pytest.mark.spec("ILL-07", "ILL-16")


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """Everything that is exported of the model."""
    return exported(log_of_a_promotion().story(), WEIGHTS, ATTESTOR)


@pytest.fixture
def folder(files: dict[str, bytes], tmp_path: Path) -> Path:
    """The same, on disk."""
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    return tmp_path


def model_signing(folder: Path) -> subprocess.CompletedProcess[str]:
    """What the public verifier says of a folder, called as its users call it."""
    options = ("--signature", str(folder / "model.sig"), "--public_key", str(folder / "model.pub"))
    command = (sys.executable, "-m", "model_signing", "verify", "key", str(folder / "model"), *options)
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def opened(given: object, public: bytes) -> Any:  # noqa: ANN401 - JSON
    """The payload of a DSSE envelope, after securesystemslib verified it by one Ed25519 key."""
    envelope = Envelope.from_dict(json.loads(given if isinstance(given, bytes) else json.dumps(given)))
    [key_id] = envelope.signatures
    key = SSlibKey(key_id, "ed25519", "ed25519", {"public": public.hex()})
    envelope.verify([key], 1)
    return json.loads(envelope.payload)


def run_events(files: dict[str, bytes]) -> list[dict[str, Any]]:
    """The events of the lineage."""
    return [json.loads(line) for line in files["lineage.jsonl"].splitlines()]


# The model's own signature


def test_the_public_verifier_accepts_the_models_signature(folder: Path) -> None:
    """`model_signing verify key` accepts the exported folder."""
    done = model_signing(folder)
    assert 0 == done.returncode, done.stderr
    assert "Verification succeeded" in done.stdout


@pytest.mark.parametrize("what", ["model", "signature", "payload", "added", "missing"])
def test_the_public_verifier_finds_whatever_is_false_about_a_model(folder: Path, what: str) -> None:
    """A byte of the model, of the signature or of its statement, a file more, a file less: each is refused."""
    [model] = (folder / "model").iterdir()
    bundle = json.loads((folder / "model.sig").read_bytes())
    if what == "model":
        model.write_bytes(WEIGHTS[:-1] + bytes([WEIGHTS[-1] ^ 1]))
    elif what == "added":
        (model.parent / "more").write_bytes(b"x")
    elif what == "missing":
        model.unlink()
    else:
        held = bundle["dsseEnvelope"] if what == "payload" else bundle["dsseEnvelope"]["signatures"][0]
        name = "payload" if what == "payload" else "sig"
        raw = bytearray(base64.b64decode(held[name]))
        raw[len(raw) // 2] ^= 1
        held[name] = base64.b64encode(raw).decode()
        (folder / "model.sig").write_text(json.dumps(bundle))
    assert 0 != model_signing(folder).returncode


def test_the_key_of_models_follows_from_the_sealed_key() -> None:
    """The same sealed key gives the same P-256 key and the same signature, another gives another."""
    one, other = P256Signer.beside(ATTESTOR), P256Signer.beside(ADA)
    assert P256Signer.beside(ATTESTOR).public_pem == one.public_pem
    assert P256Signer.beside(ATTESTOR).sign(b"x") == one.sign(b"x")
    assert other.public_pem != one.public_pem


# Statements


def test_provenance_is_a_statement_that_others_read(files: dict[str, bytes]) -> None:
    """securesystemslib verifies the envelope, in-toto's own types hold the statement and SLSA's the predicate."""
    said = opened(files["provenance.json"], ATTESTOR.public)
    Statement.copy_from_pb(ParseDict(said, StatementPb())).validate()
    predicate = ParseDict(said["predicate"], Provenance())
    subject = {"sha256": hashlib.sha256(WEIGHTS).hexdigest(), "blake3": MODEL}
    assert [{"name": "boundary/1", "digest": subject}] == said["subject"]
    assert "https://slsa.dev/provenance/v1" == said["predicateType"]
    assert [DATASET, OTHER] == [one.digest["blake3"] for one in predicate.build_definition.resolved_dependencies]
    assert "job-1" == predicate.run_details.metadata.invocation_id
    assert 800 == predicate.build_definition.external_parameters["spec"]["steps"]


def test_every_attestation_is_signed_by_the_attestor(files: dict[str, bytes]) -> None:
    """Each envelope holds a statement about exactly this model, and its kind is the one that its file's name says."""
    kinds = {
        "provenance": "https://slsa.dev/provenance/v1",
        "evaluation-0": "urn:nimmerverse:evaluation:v1",
        "promotion-0": "https://in-toto.io/attestation/test-result/v0.1",
        "summary-0": "https://slsa.dev/verification_summary/v1",
    }
    for name, kind in kinds.items():
        said = opened(files[f"{name}.json"], ATTESTOR.public)
        Statement.copy_from_pb(ParseDict(said, StatementPb())).validate()
        assert (kind, MODEL) == (said["predicateType"], said["subject"][0]["digest"]["blake3"])


@pytest.mark.parametrize("name", ["provenance", "evaluation-0", "promotion-0", "summary-0"])
def test_a_flipped_byte_of_a_statement_is_found(files: dict[str, bytes], name: str) -> None:
    """Whatever byte of a statement's payload is another, the envelope no longer verifies."""
    envelope = json.loads(files[f"{name}.json"])
    raw = base64.b64decode(envelope["payload"])
    for place in range(0, len(raw), max(len(raw) // 40, 1)):
        changed = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        envelope["payload"] = base64.b64encode(changed).decode()
        with pytest.raises(VerificationError):
            opened(envelope, ATTESTOR.public)


def test_predicates_that_are_none_are_found_out(files: dict[str, bytes]) -> None:
    """The readers that judge here refuse a field that SLSA does not know."""
    said = opened(files["provenance.json"], ATTESTOR.public)
    with pytest.raises(ParseError):
        ParseDict(said["predicate"] | {"more": 1}, Provenance())


# The manifest


def test_a_manifest_carries_each_signers_own_signature(files: dict[str, bytes]) -> None:
    """The text has the digest that was promoted, and every word about it verifies by its voter's own key alone."""
    said = json.loads(files["manifest-0.json"])
    assert blake3(said["text"].encode()).hexdigest() == said["manifest"]
    manifest = json.loads(said["text"])
    assert (MODEL, "prod", POLICY, ["9" * 64]) == tuple(
        manifest[name] for name in ("model", "target", "policy", "evaluations")
    )
    assert [("ada", True), ("ben", True)] == [(one["voter"], one["counted"]) for one in said["signatures"]]
    for one, signer in zip(said["signatures"], (ADA, BEN), strict=True):
        payload = opened(one["dsse"], signer.public)
        assert (said["manifest"], "pass", "signer", one["voter"]) == tuple(
            payload[name] for name in ("about", "choice", "role", "voter")
        )
        assert signer.public.hex() == one["public"]
        with pytest.raises(VerificationError):
            opened(one["dsse"], ATTESTOR.public)


def test_a_manifest_that_the_log_no_longer_gives_has_no_text() -> None:
    """Where evidence is missing from what is read, the digest stands alone; no other text is passed off as signed."""
    log = log_of_a_promotion()
    log.said = [one for one in log.said if not hasattr(one.decision, "evidence") or hasattr(one.decision, "voter")]
    said = json.loads(exported(log.story(), WEIGHTS, ATTESTOR)["manifest-0.json"])
    assert "" == said["text"]
    assert 2 == len(said["signatures"])


# Lineage


def test_each_run_begins_and_ends_in_one_trace(files: dict[str, bytes]) -> None:
    """Each run has one START and one COMPLETE, and the training is the root of all others."""
    events = run_events(files)
    runs: dict[str, list[str]] = {}
    for event in events:
        runs.setdefault(event["run"]["runId"], []).append(event["eventType"])
    assert 4 * [["START", "COMPLETE"]] == list(runs.values())
    root = run_id("train", "job-1")
    parents = {event["run"]["runId"]: event["run"]["facets"].get("parent") for event in events}
    assert parents.pop(root) is None
    assert 3 * [root] == [parent["root"]["run"]["runId"] for parent in parents.values() if parent]


def test_lineage_is_walked_from_what_is_in_force_back_to_its_source(files: dict[str, bytes]) -> None:
    """What a run gave is what the next one took, by name, from the target back to the source of the posts."""
    made = {out["name"]: event for event in run_events(files) for out in event["outputs"]}
    walked, name = [f"{FAMILY}@prod"], f"{FAMILY}@prod"
    while name in made:
        name = made[name]["inputs"][0]["name"]
        walked.append(name)
    assert [f"{FAMILY}@prod", MODEL, DATASET, "the dock's trails"] == walked


def test_events_have_what_the_specification_requires(files: dict[str, bytes]) -> None:
    """Every event and every facet says who made it and by which schema."""

    def facets(found: object) -> list[dict[str, Any]]:
        if isinstance(found, list):
            return [one for each in found for one in facets(each)]
        if not isinstance(found, dict):
            return []
        own = [one for name, held in found.items() if name.endswith("acets") for one in held.values()]
        return own + [one for held in found.values() for one in facets(held)]

    for event in run_events(files):
        assert {"eventType", "eventTime", "run", "job", "inputs", "outputs", "producer", "schemaURL"} == set(event)
        assert event["schemaURL"].startswith("https://openlineage.io/spec/2-0-2/OpenLineage.json")
        for facet in facets(event):
            assert {"_producer", "_schemaURL"} <= set(facet)


# The bill of materials and the card


def test_the_bill_names_the_model_and_what_taught_it(files: dict[str, bytes]) -> None:
    """The model with its hashes and metrics, each dataset with its licence, and every reference leads somewhere."""
    bill = json.loads(files["bom.cdx.json"])
    model = bill["metadata"]["component"]
    assert ("CycloneDX", "1.6", "machine-learning-model") == (bill["bomFormat"], bill["specVersion"], model["type"])
    sha256 = hashlib.sha256(WEIGHTS).hexdigest()
    assert [("BLAKE3", MODEL), ("SHA-256", sha256)] == [(one["alg"], one["content"]) for one in model["hashes"]]
    told = {one["name"]: one["value"] for one in model["properties"]}
    assert ("e1" * 32, False) == (told["nimmerverse:claimed_mark"], "nimmerverse:watermark" in told)
    metrics = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert [("quality", "0.960000"), ("bias", "0.100000")] == [(one["type"], one["value"]) for one in metrics]
    assert "CC-BY-4.0" == bill["components"][0]["licenses"][0]["license"]["name"]
    refs = {one["bom-ref"] for one in [model, *bill["components"]]}
    assert {one["ref"] for one in model["modelCard"]["modelParameters"]["datasets"]} <= refs
    assert {ref for one in bill["dependencies"] for ref in [one["ref"], *one["dependsOn"]]} == refs


def test_the_card_says_what_is_known_and_what_is_missing(files: dict[str, bytes]) -> None:
    """What no suite measured is named so; words of others stay words in the Markdown."""
    card, text = json.loads(files["card.json"]), files["card.md"].decode()
    assert (["hallucination"], "prod", "e1" * 32) == (card["missing"], card["status"], card["facts"]["watermark"])
    assert "**hallucination was not measured**" in text
    assert f"* owner's mark, claimed when it was registered and not checked: `{'e1' * 32}`" in text
    assert "| boundary-1 | quality | 96.00 % | 95.00 % to 97.00 % | 500 | 0.00 % | 9,0 |" in text
    assert r"trails \| of the rules" in text
    assert f"`{OTHER}`: the log does not register it" in text


# The whole


def test_the_same_story_gives_the_same_bytes(files: dict[str, bytes]) -> None:
    """Nothing that is exported depends on when or where it is written."""
    assert files == exported(log_of_a_promotion().story(), WEIGHTS, ATTESTOR)


def test_a_story_is_read_from_a_log(files: dict[str, bytes]) -> None:
    """Out of a log with keys of its own come the same files, with the places and the voters' keys that it knows."""

    async def body(ground: SimGround) -> None:
        reader = await said_again(ground, log_of_a_promotion())
        story = await read_story(reader, FAMILY, MODEL)
        read = exported(story, WEIGHTS, ATTESTOR)
        assert files.keys() == read.keys()
        assert (await reader.keys_until(0)).fingerprint == story.log
        manifest = json.loads(read["manifest-0.json"])
        assert blake3(manifest["text"].encode()).hexdigest() == manifest["manifest"]
        assert [ADA.public.hex(), BEN.public.hex()] == [one["public"] for one in manifest["signatures"]]
        with pytest.raises(Refused, match="N004"):
            await read_story(reader, FAMILY, "0" * 64)

    play_sim(body)


def test_a_model_that_nobody_registered_has_no_story() -> None:
    """An unknown family is N001, an unknown model of a known family N004."""
    for said, code in (([], "N001"), (log_of_a_promotion().said, "N004")):
        with pytest.raises(Refused) as refused:
            told(said, LOG, FAMILY, "0" * 64)
        assert code == refused.value.refusal.code


def test_a_draft_is_exported_with_what_there_is() -> None:
    """A model of which only the registration is known has provenance and card, and no promotion."""
    log = Log()
    log.said = [one for one in log_of_a_promotion().said if isinstance(one.decision, ModelRegistered)]
    files = exported(log.story(), WEIGHTS, ATTESTOR)
    assert [] == [name for name in files if name.startswith(("promotion", "summary", "manifest", "evaluation"))]
    assert ["quality", "bias", "hallucination"] == json.loads(files["card.json"])["missing"]
    assert b"" == files["lineage.jsonl"]
