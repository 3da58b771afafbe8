"""The artifacts: what stands in the store under its digest, registered as decisions, one lane per digest."""

from __future__ import annotations

from typing import Literal

from shared.message import Decision, Reply, Request
from shared.subjects.system import Decided

Holds = Literal["checkpoint", "model", "log", "dataset", "evaluation", "other"]
ArtifactState = Literal["stored", "archived", "missing", "damaged"]


class ArtifactRegistered(Decision, subject="organs.artifacts.event.{digest}.registered"):
    """An artifact stands in the store, every byte of it read and found to be what its digest names.

    Registered again, for instance under another name, it has one more event on its lane.
    """

    digest: str  #: BLAKE3 of the content, 64 hexadecimal digits
    sha256: str  #: the same for readers that know SHA-256 alone
    size_bytes: int
    media_type: str
    holds: Holds
    name: str
    made_by: str  #: what or who made it: a part, a job, a person
    parents: list[str]  #: digests of the artifacts it was made from


class ArtifactArchived(Decision, subject="organs.artifacts.event.{digest}.archived"):
    """An artifact was verified once more and taken out of use; what it was remains provable by its digests."""

    digest: str
    sha256: str
    size_bytes: int
    reason: str


class RegisterArtifact(Request, subject="organs.artifacts.register.request", reply=Decided):
    """Register content that was put into the store before; it is read whole, so a large one takes its time."""

    digest: str
    holds: Holds
    name: str
    made_by: str
    parents: list[str]


class ArchiveArtifact(Request, subject="organs.artifacts.archive.request", reply=Decided):
    """Take an artifact out of use, for a reason that the log keeps."""

    digest: str
    reason: str


class ArtifactStated(Reply, subject="organs.artifacts.status.reply"):
    """What the store says of a digest; `detail` is the reason of an archiving, or what is damaged."""

    digest: str
    state: ArtifactState
    sha256: str
    size_bytes: int
    media_type: str
    detail: str


class ArtifactStatus(Request, subject="organs.artifacts.status.request", reply=ArtifactStated):
    """Ask what the store holds under a digest; `whole` has every byte of it read."""

    digest: str
    whole: bool
