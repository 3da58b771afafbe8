"""The model registry: what a model is, on which evidence it was promoted, what was in force when (ILL-01, ILL-07).

A family is one lane, so that its versions, its evidence and what is in force are one fold of the log.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from shared.message import Decision, Reply, Request
from shared.subjects.system import Decided

Target = Literal["staging", "prod"]
ModelStatus = Literal["draft", "staging", "prod", "deprecated"]
Digest = Annotated[str, msgspec.Meta(max_length=64)]  #: BLAKE3, 64 hexadecimal digits
Name = Annotated[str, msgspec.Meta(max_length=256)]
Digests = Annotated[list[Digest], msgspec.Meta(max_length=64)]
EvidenceKind = Literal[
    "run", "dataset", "evaluation", "power", "proposal", "approval", "signature", "override", "ratification"
]


class ModelFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is said of a version once; a correction is another version."""

    version: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    code: Name  #: name and version of the code that made it
    job: Name
    record: Digest  #: of the run
    datasets: Digests
    parents: Digests  #: the weights that its run went on from
    size_bytes: int
    sha256: Digest
    high_risk: bool
    watermark: Digest  #: digest of the mark that its owner claims is in it; empty where none is claimed


class ModelRegistered(Decision, subject="lifecycle.registry.event.{family}.registered"):
    """A model is known: a draft, immutable."""

    family: str
    model: Digest
    facts: ModelFacts


class EvidenceNoted(Decision, subject="lifecycle.registry.event.{family}.noted"):
    """A decision elsewhere in the log is evidence about a model of this family: what it says, and where it stands."""

    family: str
    model: Digest
    evidence: EvidenceKind
    name: Name  #: job, suite, site, proposal, or role and voter
    digest: Digest  #: of what it names: report, run record, manifest
    values: Annotated[dict[Name, int], msgspec.Meta(max_length=40)]  #: measured shares in millionths, or 0 and 1
    index: int
    offset: int
    at_ms: int  #: when it was noted: a power reading ages
    parts: Annotated[
        tuple[Digest, ...], msgspec.Meta(max_length=64)
    ] = ()  #: what it was made of, in order: the datasets of a run
    base: Digest = ""  #: the weights that a run went on from


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row of the gate's table: what was demanded, what was found, and whether that holds."""

    name: str
    demanded: str  #: `< 150000`, `>= 990000`, `true`
    found: int | None  #: None where it was not measured
    holds: bool
    reason: str  #: empty where it holds; MISSING_… where nothing was found


class Judgement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A policy's word, so exactly that anyone can evaluate it again."""

    policy: Digest
    input_digest: Digest
    engine: str  #: name and version
    allowed: bool
    rows: list[Row]


class ModelPromoted(Decision, subject="lifecycle.registry.event.{family}.promoted"):
    """A model is in force at a target from here on; whatever was there is deprecated."""

    family: str
    model: Digest
    target: Target
    manifest: Digest  #: of the artifact {model, run record, evaluations, policy, target, emergency} that signers signed
    signatures: list[str]  #: voters whose signature counted
    judgement: Judgement
    replaces: Digest
    emergency: bool  #: break-glass: rolls back unless ratified in time
    by: str
    reason: str = ""
    at_ms: int = 0
    ratify_by_ms: int = 0  #: until when an emergency has to be ratified; 0 where it is none
    ratify_signatures: int = 0  #: and by how many signers of the manifest


class PromotionBlocked(Decision, subject="lifecycle.registry.event.{family}.blocked"):
    """A promotion was asked for and refused, with every row that did not hold."""

    family: str
    model: Digest
    target: Target
    judgement: Judgement
    by: str
    manifest: Digest = ""  #: what signers would have had to sign
    at_ms: int = 0


class ModelRolledBack(Decision, subject="lifecycle.registry.event.{family}.rolled_back"):
    """What was promoted is in force no more; `restores` is what was there before, empty where nothing was."""

    family: str
    model: Digest
    target: Target
    restores: Digest
    reason: str
    by: str
    at_ms: int = 0


class ModelStated(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One version and where it stands."""

    model: Digest
    facts: ModelFacts
    status: ModelStatus
    evidence: list[str]


class FamilyStated(Reply, subject="lifecycle.registry.status.reply", max_bytes=700_000):
    """A family's versions, newest first, and what is in force."""

    family: str
    models: list[ModelStated]
    staging: Digest
    prod: Digest


class FamilyStatus(Request, subject="lifecycle.registry.status.request", reply=FamilyStated):
    """Ask for a family. Refused N001 where it has no model."""

    family: str


class RegisterModel(Request, subject="lifecycle.registry.register.request", reply=Decided):
    """Register a model whose run is recorded. Refused N002: the version is taken, N003: the run is unknown."""

    family: str
    model: Digest
    facts: ModelFacts


class ManifestStated(Reply, subject="lifecycle.registry.manifest.reply"):
    """What a promotion's signers sign now, as canonical JSON, and its digest; and what the gate would say."""

    family: str
    model: Digest
    target: Target
    manifest: Digest
    text: str
    judgement: Judgement


class StateManifest(Request, subject="lifecycle.registry.manifest.request", reply=ManifestStated):
    """Ask what there is to sign, and what stands against it; nothing is decided. Refused N004."""

    family: str
    model: Digest
    target: Target
    emergency: bool


class PromoteModel(Request, subject="lifecycle.registry.promote.request", reply=Decided):
    """Promote a model; both outcomes are decided. Refused N004: no such model, N008: an emergency where it stands."""

    family: str
    model: Digest
    target: Target
    by: str
    emergency: bool
    reason: str


class RollBackModel(Request, subject="lifecycle.registry.roll_back.request", reply=Decided):
    """Take back what is in force. Refused N005 where nothing is."""

    family: str
    target: Target
    reason: str
    by: str
