"""Datasets: what may teach a model, where it came from, under which licence, and who approved it (ILL-03)."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from shared.message import Decision, Reply, Request
from shared.subjects.anchor import StateName
from shared.subjects.system import Decided

DatasetUse = Literal["train", "evaluate"]
PiiState = Literal["none", "sealed", "in_the_open"]
WEIGHTS: Final = "weights"  #: the kind of a dataset that is weights from elsewhere, to train on from


class Transformation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One step from the sources to this dataset."""

    code: str  #: name and version of what did it
    digest: str  #: BLAKE3 of its parameters, canonical JSON


class DatasetFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is said of a dataset once, when it is registered."""

    name: str
    use: DatasetUse
    kind: str  #: `posts`, `trails`, `pairs`, `suite`, `weights`
    corpus: str  #: the corpus it was taken from; empty where it was derived or uploaded
    sources: list[str]  #: digests of the datasets it was derived from; of weights, also of those they were made from
    transformations: list[Transformation]
    licence: str
    restrictions: list[str]
    pii: PiiState
    records: int


class DatasetRegistered(Decision, subject="lifecycle.datasets.event.{dataset}.registered"):
    """A dataset stands in the store under its digest; it never changes, another version is another dataset."""

    dataset: str  #: BLAKE3 digest of its manifest or content
    sha256: str
    size_bytes: int
    facts: DatasetFacts


class DatasetApproved(Decision, subject="lifecycle.datasets.event.{dataset}.approved"):
    """Whoever may ask the organ says that this dataset may be used in spite of what stands against it.

    `by` is the asker's word for who approved; no signature of that person's stands for it.
    """

    dataset: str
    concerns: list[str]  #: `pii`, `weights`, `licence:NAME`, `restriction:NAME`
    by: str
    reason: str


class DatasetVerified(Decision, subject="lifecycle.datasets.event.{dataset}.verified"):
    """A dataset's content was read again: every batch's root computed anew, every anchor looked at."""

    dataset: str
    purpose: str  #: the model family it was verified for; empty where it was for none
    batches: int
    records: int
    merkle_valid: bool
    anchor: StateName  #: the least of its batches' anchors
    anchored: bool  #: that is enough in this environment
    erased: int  #: of these records, those of persons who were erased since: they can be proved, and not read
    detail: str  #: what does not hold first; empty where all does


class DatasetStated(Reply, subject="lifecycle.datasets.status.reply"):
    """What is known of a dataset; `facts` is None where nobody registered it. `blocked` says why it may not teach."""

    dataset: str
    facts: DatasetFacts | None
    approved: list[str]
    blocked: list[str]
    index: int
    offset: int


class DatasetStatus(Request, subject="lifecycle.datasets.status.request", reply=DatasetStated):
    """Ask what is known of a dataset, and whether it may teach."""

    dataset: str


class RegisterDataset(Request, subject="lifecycle.datasets.register.request", reply=Decided):
    """Register a dataset whose artifact is in the store. Refused D001 where it is known with other facts."""

    dataset: str
    sha256: str
    size_bytes: int
    facts: DatasetFacts


class VerifyDataset(Request, subject="lifecycle.datasets.verify.request", reply=Decided):
    """Have a dataset's content read again, whole. Refused D002 where it is unknown."""

    dataset: str
    purpose: str


class ApproveDataset(Request, subject="lifecycle.datasets.approve.request", reply=Decided):
    """Approve concerns of a dataset by name. Refused D002 where it is unknown, D003 where there is no such concern."""

    dataset: str
    concerns: list[str]
    by: str
    reason: str
