"""Reading a dataset again, whole: every leaf and root anew, every anchor looked at, everybody erased counted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

import msgspec

from shared.artifacts import ArtifactStore, check
from shared.codec import MAX_REASON_CHARS
from shared.corpus import CORPORA, Manifest, read_manifest
from shared.errors import Damaged, Refusal, Refused
from shared.subjects.anchor import AnchorStatus, StateName
from shared.subjects.datasets import DatasetFacts, DatasetRegistered
from shared.vault import People
from shared.vault.records import check_batch

#: The least first, as organs/anchor/state.py has them.
WORTH: tuple[StateName, ...] = ("none", "pending_local", "pending", "bitcoin_unchecked", "verified")
#: What says that content is not there, or not what it was: found, and recorded, not refused.
BROKEN = frozenset({"D005", "D006", "S001", "S002", "S003"})

AskAnchor = Callable[[str], Awaitable[AnchorStatus]]  #: how the SHA-256 of something is anchored


class Found(msgspec.Struct, frozen=True):
    """What reading a dataset again found."""

    batches: int
    records: int
    erased: int
    wrong: str  #: what does not hold first; empty where all does
    anchor: StateName
    anchored: bool


async def check_facts(store: ArtifactStore, dataset: str, facts: DatasetFacts) -> None:
    """Hold what is said of a dataset against its own manifest. Refused D006, D005, S002; Damaged."""
    if facts.kind not in CORPORA:
        return
    manifest = await read_manifest(store, dataset)
    intake = manifest.intake
    said = (facts.kind, facts.corpus, facts.licence, sorted(facts.restrictions), facts.records)
    stands = (manifest.kind, manifest.corpus, intake.licence, sorted(intake.restrictions), manifest.kept)
    if said != stands:
        names = ("kind", "corpus", "licence", "restrictions", "records")
        wrong = [
            f"{name} {one!r}, its manifest {other!r}"
            for name, one, other in zip(names, said, stands, strict=True)
            if one != other
        ]
        raise Refused(Refusal("D006", f"it is said of {dataset[:16]}…: {'; '.join(wrong)}"[:MAX_REASON_CHARS]))
    if intake.reader == "dataset" and intake.source not in facts.sources:
        raise Refused(Refusal("D006", f"{dataset[:16]}… was derived from {intake.source[:64]}, which is not named"))


async def look_again(
    store: ArtifactStore, registered: DatasetRegistered, people: People | None, ask: AskAnchor
) -> Found:
    """Return what a registered dataset holds now. Refused by whoever knows anchors; KeyFault, StorageFault."""
    try:
        await _check_whole(store, registered)
        anchor = await ask(registered.sha256)
        await check_facts(store, registered.dataset, registered.facts)
        if registered.facts.kind not in CORPORA:
            return _found(1, registered.facts.records, 0, [anchor], anchor)
        return await _check_batches(store, registered, people, anchor, ask)
    except Damaged as fault:
        wrong = f"D005 {fault}"
    except Refused as no:
        if no.refusal.code not in BROKEN:
            raise
        wrong = str(no)
    return Found(0, 0, 0, wrong[:MAX_REASON_CHARS], "none", anchored=False)


async def _check_whole(store: ArtifactStore, registered: DatasetRegistered) -> None:
    """Hold a content's own digests against the registered ones. Refused S002, D005; Damaged."""
    known = await check(store, registered.dataset)
    if (known.sha256, known.size) != (registered.sha256, registered.size_bytes):
        found = f"{known.size} bytes with SHA-256 {known.sha256}"
        raise Refused(Refusal("D005", f"found {found}, registered {registered.size_bytes} with {registered.sha256}"))


async def _check_batches(
    store: ArtifactStore, registered: DatasetRegistered, people: People | None, anchor: AnchorStatus, ask: AskAnchor
) -> Found:
    """Check batch after batch in bounded memory."""
    manifest: Manifest = await read_manifest(store, registered.dataset)
    kept, erased, anchors = 0, 0, list[AnchorStatus]()
    for listed in manifest.batches:
        checked = await check_batch(store, listed, people)
        kept += sum(line.fate == "kept" for line in checked.lines)
        erased += checked.erased
        if registered.facts.pii == "none" and any(line.person for line in checked.lines):
            raise Refused(Refusal("D006", f"batch {listed.number} holds posts of persons, registered was no PII"))
        anchors.append(await ask((await store.stat(listed.records)).sha256))
    return _found(len(manifest.batches), kept, erased, anchors, anchor)


def _found(batches: int, records: int, erased: int, anchors: Iterable[AnchorStatus], whole: AnchorStatus) -> Found:
    """Return what was found. The anchor of the whole commits to every batch, so none is worth less than that."""
    each = [max(one, whole, key=_worth) for one in anchors] or [whole]
    least = min(each, key=_worth)
    return Found(batches, records, erased, "", least.state, all(one.enough for one in each))


def _worth(status: AnchorStatus) -> int:
    return WORTH.index(status.state)
