"""One entry, by itself: found, proven to be under a checkpoint, and that proof checked by whoever is handed it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from shared.audit.report import Report
from shared.audit.source import BadLeaf, read_leaf
from shared.envelope import Event, Sealed, read, read_event
from shared.errors import Exit, Refusal, Refused
from shared.log.checkpoint import Checkpoint, open_checkpoint
from shared.log.entry import Entry, Position
from shared.log.note import ED25519, BadNote, Note, NoteKey
from shared.log.proof import ProofFile
from shared.log.tiles import CHECKPOINT, Tiles, TileStore
from shared.log.tree import BadProof, inclusion_proof, leaf_hash, verify_inclusion

LIMITS = "one entry under one checkpoint; whose key signed that, and that the entry is not void, the whole log tells"


@dataclass(frozen=True, slots=True)
class Evidence:
    """An entry with its leaf, its envelope and the proof that it is under a checkpoint."""

    entry: Entry
    leaf: bytes
    checkpoint: Checkpoint
    proof: ProofFile

    @property
    def sealed(self) -> Sealed:
        """The envelope. Refused R005 where the entry holds none."""
        return read(self.entry.raw)


def signed_tree(store: TileStore) -> tuple[Tiles, Checkpoint, str]:
    """Return the tree of the newest checkpoint, that checkpoint, and its note. Refused B013 where there is none."""
    raw = store.get(CHECKPOINT)
    if raw is None:
        raise Refused(Refusal("B013", "there is no checkpoint: nothing of this log was signed yet"))
    checkpoint = Checkpoint.parse(Note.parse(raw).text)
    return Tiles(store, checkpoint.size), checkpoint, raw.decode()


def evidence_of(store: TileStore, text: str) -> Evidence:
    """Return the evidence of an event, given as index, (index, offset) or id. Refused B013 while it is not signed.

    LogFault where its tiles are missing or do not lead to the checkpoint's root: BadProof.
    """
    tiles, checkpoint, note = signed_tree(store)
    position = Position.parse(text) or _find(tiles, text)
    if position is None or position.index >= checkpoint.size:
        why = f"{text} is not among the {checkpoint.size} entries that the newest checkpoint covers"
        raise Refused(Refusal("B013", why))
    leaf = _leaf(tiles, position.index)
    path = inclusion_proof(tiles.node, position.index, checkpoint.size)
    verify_inclusion(position.index, checkpoint.size, leaf_hash(leaf), path, checkpoint.root)
    entry = read_leaf(position.index, leaf).entry
    if position.offset and position.offset >= len(read(entry.raw).events):
        raise Refused(Refusal("R005", f"entry {position.index} has no event {position.offset}"))
    return Evidence(entry, leaf, checkpoint, ProofFile(position.index, tuple(path), note, leaf))


def check_proof(raw: bytes, name: str, trust: str | None, log_key: str | None) -> Report:
    """Check a proof file by itself; every bad one is BAD_PROOF, and no input makes it raise."""
    rest: list[str] = ["completeness", "freshness", "admission"]
    unasked = dict.fromkeys(rest, "a proof shows one entry alone")
    report = Report(name, "proof", limits=LIMITS, unasked=unasked)
    try:
        proof = ProofFile.parse(raw)
        claim = Checkpoint.parse(Note.parse(proof.note).text)
        verify_inclusion(proof.index, claim.size, leaf_hash(proof.extra), proof.path, claim.root)
        read_leaf(proof.index, proof.extra)
    except (BadProof, BadNote, BadLeaf) as bad:
        report.integrity.object(Exit.BAD_PROOF, str(bad))
        report.unasked["trust"] = "the proof proves nothing"
        return report
    report.origin, report.signed, report.entries, report.root = claim.origin, claim.size, 1, claim.root.hex()
    _whose(report, claim, proof.note, trust, log_key)
    return report


def _whose(report: Report, claim: Checkpoint, note: str, trust: str | None, log_key: str | None) -> None:
    if trust is not None and claim.origin.split("/")[2:3] != [trust[:32]]:
        report.trust.object(Exit.WRONG_SIGNER, f"the proof is of {claim.origin}, you trust {trust}")
    if log_key is None:
        why = "nobody said which key signs this log: `audit verify` on the whole log prints it (--log-key)"
        report.trust.object(Exit.UNKNOWN_SIGNER, why)
        return
    try:
        key = NoteKey.parse(log_key)
        opened = open_checkpoint(note, key.public if key.kind == ED25519 else b"", key.name)
        report.signed_at_s, report.note, report.log_key = opened.time_s, note, str(key)
    except BadNote as bad:
        report.trust.object(Exit.WRONG_SIGNER, str(bad))


def events_of(entry: Entry) -> tuple[Sealed, list[Event]] | None:
    """Return what an entry says, proven or not; None where it holds no envelope or an event cannot be read."""
    try:
        sealed = read(entry.raw)
        return sealed, [read_event(raw) for raw in sealed.events]
    except Refused:
        return None


def entries_of(tiles: Tiles) -> Iterator[Entry]:
    """Yield every entry of a tree that can be read."""
    for index, leaf in enumerate(tiles.leaves()):
        try:
            yield read_leaf(index, leaf).entry
        except BadLeaf:
            continue


def _find(tiles: Tiles, event_id: str) -> Position | None:
    """Return where an event with this id stands first."""
    for entry in entries_of(tiles):
        said = events_of(entry)
        for offset, event in enumerate(said[1] if said is not None else ()):
            if event.id.hex() == event_id:
                return Position(entry.index, offset)
    return None


def _leaf(tiles: Tiles, index: int) -> bytes:
    """Return a leaf, enclosed by itself where the log is a partial bundle."""
    alone = tiles.store.get(f"leaf/{index}")
    return alone if alone is not None else tiles.leaf(index)
