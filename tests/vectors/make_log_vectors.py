"""Writes shared/log/vectors.json: a small log with its tiles, checkpoints and proofs, from fixed seeds and no clock.

    python -m tests.vectors.make_log_vectors

One test makes the vectors again and compares, another reads them with a verifier that knows SPEC.md alone.
"""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from shared.envelope import fingerprint_of, leaf_of
from shared.envelope.keybook import NOTARY_PART
from shared.keys import LocalSigner
from shared.log.checkpoint import Checkpoint, log_keys, origin_of
from shared.log.note import COSIGNATURE, Note, NoteKey, NoteSignature, cosign, sign
from shared.log.proof import ProofFile
from shared.log.store import MemoryTiles
from shared.log.tiles import TileWriter
from shared.log.tree import consistency_proof, inclusion_proof, leaf_hashes, nodes_of, root_from
from shared.subjects.keys import Grant
from tests.forge import ADA, BOB, ENV, PLAIN, START_MS, Log, genesis, introduced, roots, rotated, signer, subject_of

PATH = Path(__file__).parents[2] / "shared" / "log" / "vectors.json"
TILED_SIZE = 600
START_S = START_MS // 1_000
KEYS = ("the notary's", "the notary's second", "a witness's", "another's")
FIRST, SECOND, WITNESS, OTHER = map(signer, KEYS)
WITNESS_NAME = "witness.example/w"


def told() -> Log:
    """A log of nine entries: it is founded, learns the notary's key and a part's, and rotates the notary's."""
    log = Log()
    notary = introduced("the notary's", BOB, NOTARY_PART, [Grant(f"{ENV}.system.notary.event.*.>")])
    for message in (genesis(), notary, introduced("ada's", ADA)):
        log.key_event(message, *roots(ADA, BOB))
    log.say(PLAIN, "one", signer("ada's"))
    log.put(log.entry(subject_of(PLAIN), b"no envelope"))
    log.put(msgspec.structs.replace(log.entries[3], index=log.index, subject=subject_of(PLAIN, "elsewhere")))
    log.key_event(rotated("the notary's", "the notary's second"), FIRST, source=NOTARY_PART)
    log.say(PLAIN, "two", signer("ada's"), entity="two")
    log.say(PLAIN, "three", signer("ada's"), entity="two")
    return log


def of_genesis(log: Log, epoch: int = 1) -> str:
    """The name of this log."""
    return origin_of(ENV, fingerprint_of(bytes(log.verdicts[0].events[0].data)), epoch)


class Told:
    """The log's tree, and what its notary says of it."""

    def __init__(self) -> None:
        self.log = told()
        self.leaves = [leaf_of(entry) for entry in self.log.entries]
        self.hashes = leaf_hashes(self.leaves)
        self.node = nodes_of(self.hashes)
        self.size = len(self.leaves)
        self.origin = of_genesis(self.log)

    def checkpoint(self, size: int) -> Checkpoint:
        """What the log says of its first leaves."""
        return Checkpoint(self.origin, size, root_from(self.node, size))

    def signed(self, size: int, key: LocalSigner | None = None, origin: str | None = None) -> Note:
        """A checkpoint, signed by the key that may sign one of its size unless another is named."""
        checkpoint = replace(self.checkpoint(size), origin=origin or self.origin)
        return checkpoint.signed(key or (FIRST if size <= 6 else SECOND), START_S + size)

    def witnessed(self) -> Note:
        """The newest checkpoint with a witness's line."""
        note = self.signed(self.size)
        return note.with_lines([cosign(WITNESS_NAME, note.text, WITNESS, START_S + 60)])

    def proof(self, index: int, size: int, extra: bytes = b"") -> ProofFile:
        """A proof file."""
        note = self.witnessed() if size == self.size else self.signed(size)
        return ProofFile(index, tuple(inclusion_proof(self.node, index, size)), str(note), extra)


def spoiled(line: NoteSignature) -> NoteSignature:
    """A line with the last bit of its signature changed."""
    return replace(line, signature=line.signature[:-1] + bytes([line.signature[-1] ^ 1]))


def refused_notes(told: Told) -> list[tuple[str, str]]:
    """Notes that are not the log's newest checkpoint, each with why."""
    note, checkpoint = told.signed(told.size), told.checkpoint(told.size)
    plain, timed = note.signatures
    larger = replace(checkpoint, size=told.size + 1)

    def under(text: str) -> str:
        return str(Note(text, (sign(told.origin, text, SECOND), cosign(told.origin, text, SECOND, START_S))))

    return [
        ("signed by a key that ended before this size", str(told.signed(told.size, FIRST))),
        ("signed by a key that begins after this size", str(told.signed(5, SECOND))),
        ("signed by a stranger", str(told.signed(told.size, OTHER))),
        ("signed by the witness alone", str(Note(note.text, told.witnessed().signatures[2:]))),
        ("the line of kind 0x01 is missing", str(Note(note.text, (timed,)))),
        ("one bit of the signature", str(Note(note.text, (spoiled(plain), timed)))),
        ("one bit of the cosignature", str(Note(note.text, (plain, spoiled(timed))))),
        ("right first, wrong behind it", str(Note(note.text, (plain, timed, spoiled(plain))))),
        ("another size under the same signatures", str(Note(larger.text, note.signatures))),
        ("a time beyond the format", str(Note(note.text, (plain, cosign(told.origin, note.text, SECOND, 2**63))))),
        ("another environment", str(told.signed(told.size, origin=told.origin.replace(ENV, "prod")))),
        ("another epoch", str(told.signed(told.size, origin=of_genesis(told.log, 2)))),
        ("a leading zero", under(note.text.replace("\n9\n", "\n09\n"))),
        ("an extension line", under(note.text + "more\n")),
        ("a root of 31 bytes", under(f"{told.origin}\n9\n{b64encode(bytes(31)).decode()}\n")),
        ("base 64 that is not canonical", under(note.text[:-3] + chr(ord(note.text[-3]) + 1) + "=\n")),
        ("no space allowed in the name", under("a " + note.text)),
        ("a carriage return", str(note).replace("\n\n", "\r\n\r\n")),
        ("no empty line", str(note).replace("\n\n", "\n")),
        ("the last line has no end", str(note)[:-1]),
        ("65 lines", str(note) + "— x AAAAAAA=\n" * 63),
    ]


def refused_proofs(told: Told) -> list[tuple[str, str]]:
    """Proof files that do not prove their leaf, each with why."""
    proof = told.proof(3, told.size, told.leaves[3])
    bent = bytes([proof.path[0][0] ^ 1]) + proof.path[0][1:]
    return [
        ("another index", str(replace(proof, index=2))),
        ("an index beyond the tree", str(replace(proof, index=told.size))),
        ("another leaf", str(replace(proof, extra=told.leaves[2]))),
        ("one bit of a hash", str(replace(proof, path=(bent, *proof.path[1:])))),
        ("a hash too few", str(replace(proof, path=proof.path[:-1]))),
        ("a hash too many", str(replace(proof, path=(*proof.path, bytes(32))))),
        ("an older checkpoint", str(replace(proof, note=str(told.signed(5))))),
        ("a leading zero", str(proof).replace("index 3\n", "index 03\n")),
        ("a hash of 31 bytes", str(replace(proof, path=(bytes(31),)))),
        ("an empty extra line", str(replace(proof, extra=b"")).replace("index", "extra \nindex")),
        ("another format", str(proof).replace("@v1", "@v2")),
    ]


def tiled() -> dict[str, Any]:
    """The tiles of many small leaves, each file by its digest, and what the log may drop."""
    tiles, leaves = MemoryTiles(), [n.to_bytes(2, "big") for n in range(TILED_SIZE)]
    writer = TileWriter(tiles)
    obsolete: list[str] = []
    for size in (200, 300, TILED_SIZE):
        writer.extend(leaves[writer.size : size])
        obsolete += writer.seal()
    return {
        "about": "leaf n is n as u16; sealed at 200, 300 and 600 leaves; files by their SHA-256",
        "size": TILED_SIZE,
        "root": writer.root().hex(),
        "files": {path: sha256(data).hexdigest() for path, data in sorted(tiles.files.items())},
        "obsolete": obsolete,
    }


def make() -> str:
    """The vectors as JSON text."""
    told = Told()
    proofs = [(3, told.size, told.leaves[3]), (8, told.size, b""), (0, told.size, b""), (4, 5, told.leaves[4])]
    whole = {
        "about": "A log and what is signed of it, from these seeds; SPEC.md has the grammar. Bytes in hexadecimal.",
        "env": ENV,
        "genesis_fingerprint": fingerprint_of(bytes(told.log.verdicts[0].events[0].data)),
        "keys": {
            name: {
                "seed": signer(name).seed().hex(),
                "public": signer(name).public.hex(),
                "key_id": signer(name).key_id,
            }
            for name in KEYS
        },
        "origins": {str(epoch): of_genesis(told.log, epoch) for epoch in (1, 2)},
        "verifier_keys": {
            "log": [str(key) for key in log_keys(told.origin, SECOND.public)],
            "witness": str(NoteKey(WITNESS_NAME, COSIGNATURE, WITNESS.public)),
        },
        "log": {
            "leaves": [leaf.hex() for leaf in told.leaves],
            "hashes": [one.hex() for one in told.hashes],
            "roots": [root_from(told.node, size).hex() for size in range(told.size + 1)],
            "refusals": [verdict.refusal.code if verdict.refusal else None for verdict in told.log.verdicts],
            "inclusion": [[one.hex() for one in inclusion_proof(told.node, i, told.size)] for i in range(told.size)],
            "consistency": [
                [one.hex() for one in consistency_proof(told.node, old, told.size)] for old in range(1, told.size + 1)
            ],
        },
        "tiles": tiled(),
        "checkpoints": [
            {"size": size, "key": "the notary's" if size <= 6 else "the notary's second", "note": str(note)}
            for size, note in [*((n, told.signed(n)) for n in (2, 6, 7)), (told.size, told.witnessed())]
        ],
        "cosigned": {
            "time": START_S + told.size,
            "message": f"cosignature/v1\ntime {START_S + told.size}\n{told.checkpoint(told.size).text}",
        },
        "proofs": [{"index": i, "size": size, "file": str(told.proof(i, size, leaf))} for i, size, leaf in proofs],
        "refused": {
            "notes": [{"why": why, "note": note} for why, note in refused_notes(told)],
            "proofs": [{"why": why, "file": file} for why, file in refused_proofs(told)],
        },
    }
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PATH.write_text(make(), encoding="utf-8")
