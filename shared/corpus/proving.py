"""Proof that a post stands in a dataset: a file that anybody can check who knows the root from the signed log."""

from __future__ import annotations

from typing import Literal

import msgspec

from shared.artifacts import ArtifactStore
from shared.corpus.batches import Line, batch_of, read_batch
from shared.corpus.manifest import read_manifest
from shared.errors import BadProof, Refusal, Refused
from shared.log.batch import SALT_BYTES, InclusionProof, record_leaf, verify_inclusion
from shared.subjects.provenance import Fate
from shared.vault import Erased, People


class Proved(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a post stands, and the way from its leaf to the root. Salt and record are empty of an erased person."""

    format: Literal["nimmerverse-inclusion-1"]
    dataset: str
    corpus: str
    post: str
    fate: Fate
    batch: int
    root: str
    size: int
    index: int
    leaf: str
    path: list[str]
    salt: str
    record: str  #: what the leaf commits to, byte for byte; a person's text in it is sealed
    erased: str  #: where the log says that its person was erased; empty where nobody was


async def prove(store: ArtifactStore, dataset: str, post: str, people: People | None) -> Proved:
    """Return the proof of the first post with this id. Refused C008 where there is none; S002, D005; Damaged."""
    manifest = await read_manifest(store, dataset)
    for listed in manifest.batches:
        lines = await read_batch(store, listed.records)
        index = next((place for place, line in enumerate(lines) if line.id == post), None)
        if index is None:
            continue
        batch, line = batch_of(lines), lines[index]
        salt, erased = await _salt(line, people)
        proved = Proved(
            format="nimmerverse-inclusion-1",
            dataset=dataset,
            corpus=manifest.corpus,
            post=post,
            fate=line.fate,
            batch=listed.number,
            root=listed.root,
            size=len(lines),
            index=index,
            leaf=line.leaf,
            path=[sibling.hex() for sibling in batch.prove(index).path],
            salt=salt,
            record="" if erased else bytes(line.record).decode(),
            erased=erased,
        )
        check_proved(proved)
        return proved
    raise Refused(Refusal("C008", f"{post[:80]!r} is in none of {len(manifest.batches)} batches of {dataset[:16]}…"))


def check_proved(proved: Proved) -> None:
    """Hold that a proof proves what it says; BadProof. The root must be compared with the one in the signed log."""
    try:
        leaf, root, salt = (bytes.fromhex(text) for text in (proved.leaf, proved.root, proved.salt))
        path = tuple(bytes.fromhex(text) for text in proved.path)
    except ValueError as error:
        raise BadProof(f"a digest in the proof is none ({error})") from None
    verify_inclusion(root, proved.size, proved.index, leaf, InclusionProof(proved.index, proved.size, path))
    if proved.erased:
        if proved.salt or proved.record:
            raise BadProof("the person was erased, and yet a record is shown")
        return
    if len(salt) != SALT_BYTES or record_leaf(salt, proved.record.encode()) != leaf:
        raise BadProof("the record that is shown is not what the leaf stands for")


async def _salt(line: Line, people: People | None) -> tuple[str, str]:
    """Return a line's salt in hexadecimal digits, or what the vault says of its person's erasure."""
    if line.person is None:
        return line.salt or "", ""
    if people is None:
        raise Refused(Refusal("P002", f"{line.person[:4]}… is not known here"))
    try:
        return (await people.salt(bytes.fromhex(line.person), line.id.encode())).hex(), ""
    except Erased as gone:
        return "", gone.refusal.detail
