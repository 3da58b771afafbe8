"""Reading a dataset that may hold people's records, each batch proved before it is believed; and proving one post.

It lies with the vault, because it opens what people's keys sealed; what a dataset is without keys, shared/corpus says.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from shared.artifacts import ArtifactStore
from shared.corpus.batches import Content, Line, batch_of, changed, read_batch
from shared.corpus.manifest import Listed, read_manifest
from shared.corpus.proving import Proved, check_proved
from shared.errors import Refusal, Refused
from shared.log.batch import SALT_BYTES, record_leaf
from shared.subjects.provenance import Fate
from shared.vault.many import ManyPeople
from shared.vault.people import People
from shared.vault.port import Erased, Unknown


@dataclass(frozen=True, slots=True)
class Record:
    """One post of a dataset as a reader may have it."""

    id: str
    fate: Fate
    score_ppm: int | None
    lang: str | None
    created_at: str | None
    author: str | None  #: a pseudonym
    label: str | None
    text: str | None  #: None where the person was erased
    erased: str  #: what the vault says of the erasure; empty where there was none
    batch: int
    index: int  #: of its leaf in the batch


@dataclass(frozen=True, slots=True)
class Checked:
    """One batch, every leaf computed anew that can be, under the root that it was sealed with."""

    lines: list[Line]
    records: list[Record]

    @property
    def erased(self) -> int:
        """How many of the kept records are of persons who were erased since."""
        return sum(bool(record.erased) for record in self.records if record.fate == "kept")


async def check_batch(store: ArtifactStore, listed: Listed, people: People | None) -> Checked:
    """Return a batch of a dataset, with the texts that can be read. Refused S002, D005; Damaged, KeyFault.

    A record of a person is opened with that person's key; `people` may be None where nobody has one here, and then it
    is Refused P002.
    """
    lines = await read_batch(store, listed.records)
    if len(lines) != listed.posts or sum(line.fate == "kept" for line in lines) != listed.kept:
        raise changed(f"batch {listed.number} holds {len(lines)} records, expected {listed.posts}")
    if batch_of(lines).root.hex() != listed.root:
        raise changed(f"the leaves of batch {listed.number} are not those that {listed.root[:16]}… stands for")
    if not any(line.person for line in lines):
        return Checked(lines, [_record(line, listed.number, place, None) for place, line in enumerate(lines)])
    if people is None:
        raise Unknown(f"whoever wrote in batch {listed.number}")
    many = ManyPeople(await people.store(), people.entropy)
    with many.held():
        return Checked(lines, [_record(line, listed.number, place, many) for place, line in enumerate(lines)])


async def records(store: ArtifactStore, dataset: str, people: People | None) -> AsyncIterator[Record]:
    """Yield every record of a dataset in its order, whatever became of it."""
    for listed in (await read_manifest(store, dataset)).batches:
        for record in (await check_batch(store, listed, people)).records:
            yield record


async def kept_records(store: ArtifactStore, dataset: str, people: People | None) -> AsyncIterator[Record]:
    """Yield what may be learned from: kept, and of nobody who was erased."""
    async for record in records(store, dataset, people):
        if record.fate == "kept" and not record.erased:
            yield record


def _record(line: Line, batch: int, index: int, many: ManyPeople | None) -> Record:
    """Return one record, its leaf computed anew unless its salt is gone with a person's key."""
    content = line.content()
    text, erased = content.text, ""
    if content.author is None:
        _check_leaf(line, bytes.fromhex(line.salt or ""))
    else:
        assert many is not None, "somebody's record is read with keys"
        text, erased = _opened(line, content, many)
    about = (content.lang, content.created_at, content.author, content.label)
    return Record(content.id, content.fate, content.score_ppm, *about, text, erased, batch, index)


def _opened(line: Line, content: Content, many: ManyPeople) -> tuple[str | None, str]:
    """Return a person's text, or why nobody has it any more."""
    try:
        keys = many.person(bytes.fromhex(content.author or ""))
    except Erased as gone:
        return None, gone.refusal.detail
    _check_leaf(line, keys.salt(content.id.encode()))
    return keys.open(content.sealed or []), ""


def _check_leaf(line: Line, salt: bytes) -> None:
    if len(salt) != SALT_BYTES or record_leaf(salt, bytes(line.record)).hex() != line.leaf:
        raise changed(f"the record of {line.id[:80]!r} is not what its leaf stands for")


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
