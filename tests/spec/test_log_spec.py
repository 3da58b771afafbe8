"""SPEC.md of the log is enough: a verifier that knows it alone reads our vectors, and judges as the product does."""

from __future__ import annotations

import json
from functools import cache
from hashlib import sha256
from typing import Any

import pytest

from shared.log.checkpoint import log_keys, open_checkpoint
from shared.log.note import BadNote, NoteKey
from shared.log.proof import ProofFile
from shared.log.tree import BadProof, leaf_hash, verify_consistency, verify_inclusion
from tests.spec.stand_alone_log import Bad, Verifier, both, climbed, read_note, root, times
from tests.spec.stand_alone_log import leaf_hash as their_leaf_hash
from tests.vectors.make_log_vectors import PATH, make

pytestmark = pytest.mark.spec("X-04")


@cache
def vectors() -> dict[str, Any]:
    """Our own vectors."""
    return json.loads(PATH.read_text(encoding="utf-8"))


def leaves() -> list[bytes]:
    """The leaves of the vectors' log."""
    return [bytes.fromhex(leaf) for leaf in vectors()["log"]["leaves"]]


def roots() -> list[bytes]:
    """The root of each size."""
    return [bytes.fromhex(one) for one in vectors()["log"]["roots"]]


@cache
def stranger() -> Verifier:
    """A verifier that knows SPEC.md, the leaves and the fingerprint."""
    return Verifier(vectors()["env"], vectors()["genesis_fingerprint"], leaves())


def newest() -> bytes:
    """The public key that signs the newest checkpoint."""
    return bytes.fromhex(vectors()["keys"]["the notary's second"]["public"])


def judged(file: str) -> tuple[int, int]:
    """What the product says of a proof file of this log: the index and size that are proven."""
    proof = ProofFile.parse(file)
    ours = [bytes.fromhex(vectors()["keys"][name]["public"]) for name in ("the notary's", "the notary's second")]
    size = int(proof.note.split("\n")[1])
    checkpoint = open_checkpoint(proof.note, ours[size > 6], vectors()["origins"]["1"]).checkpoint
    leaf = proof.extra or leaves()[min(proof.index, len(leaves()) - 1)]
    verify_inclusion(proof.index, checkpoint.size, leaf_hash(leaf), proof.path, checkpoint.root)
    return proof.index, checkpoint.size


def test_the_vectors_are_ours() -> None:
    """The published vectors are what the code makes today."""
    assert PATH.read_text(encoding="utf-8") == make()


def test_a_stranger_reads_the_tree() -> None:
    """A verifier that knows the text alone finds every root, every leaf's path and every earlier tree."""
    hashes, size = [their_leaf_hash(leaf) for leaf in leaves()], len(leaves())
    assert vectors()["log"]["hashes"] == [one.hex() for one in hashes]
    assert roots() == [root(hashes[:n]) for n in range(size + 1)]
    for index, path in enumerate(vectors()["log"]["inclusion"]):
        proof = [bytes.fromhex(one) for one in path]
        assert roots()[size] == climbed(index, size, hashes[index], proof)
        verify_inclusion(index, size, hashes[index], proof, roots()[size])
    for old, path in enumerate(vectors()["log"]["consistency"], start=1):
        proof = [bytes.fromhex(one) for one in path]
        assert (roots()[old], roots()[size]) == both(old, size, proof, roots()[old])
        verify_consistency(old, size, proof, roots()[old], roots()[size])


def test_a_stranger_verifies_the_checkpoints() -> None:
    """From leaves and fingerprint alone, the key that may sign is found, and every checkpoint and time verifies."""
    assert vectors()["log"]["refusals"] == stranger().refusals
    assert [None, "R005", "R008"] == stranger().refusals[3:6]
    for one in vectors()["checkpoints"]:
        found, time = stranger().checkpoint(one["note"])
        public = bytes.fromhex(vectors()["keys"][one["key"]]["public"])
        ours = open_checkpoint(one["note"], public, vectors()["origins"]["1"])
        assert [public] == stranger().public(one["size"])
        assert (one["size"], ours.checkpoint.root, ours.time_s) == (found.size, found.root, time)
    witness = bytes.fromhex(vectors()["keys"]["a witness's"]["public"])
    note = read_note(vectors()["checkpoints"][-1]["note"])
    (cosigned,) = times(note, "witness.example/w", 4, witness)
    assert cosigned
    assert f"cosignature/v1\ntime {vectors()['cosigned']['time']}\n{note.text}" == vectors()["cosigned"]["message"]


def test_a_stranger_makes_the_tiles() -> None:
    """Every tile of the vectors is what the text says of its path, and the obsolete ones have their full tile."""
    tiled = vectors()["tiles"]
    hashes = [their_leaf_hash(n.to_bytes(2, "big")) for n in range(tiled["size"])]
    assert tiled["root"] == root(hashes).hex()
    for path, expected in tiled["files"].items():
        _, level, place, *width = path.split("/")
        first, count = 256 * int(place.removesuffix(".p")), int(width[0]) if width else 256
        if level == "entries":
            data = b"".join(b"\0\2" + n.to_bytes(2, "big") for n in range(first, first + count))
        else:
            span = 256 ** int(level)
            data = b"".join(root(hashes[n * span : (n + 1) * span]) for n in range(first, first + count))
        assert expected == sha256(data).hexdigest(), path
    assert ["tile/0/000.p", "tile/0/001.p", "tile/entries/000.p", "tile/entries/001.p"] == sorted(tiled["obsolete"])
    assert all(path.removesuffix(".p") in tiled["files"] for path in tiled["obsolete"])


def test_the_verifier_keys() -> None:
    """The written verifier keys are those of the log's newest key and of the witness."""
    written = vectors()["verifier_keys"]
    assert written["log"] == [str(key) for key in log_keys(vectors()["origins"]["1"], newest())]
    witnessed = open_checkpoint(
        vectors()["checkpoints"][-1]["note"], newest(), None, (NoteKey.parse(written["witness"]),)
    )
    assert 1 == len(witnessed.witnesses)


def test_a_stranger_verifies_the_proofs() -> None:
    """Every proof file is proven, by the text and by the product."""
    for one in vectors()["proofs"]:
        index, found = stranger().proof(one["file"], leaves().__getitem__)
        assert (one["index"], one["size"]) == (index, found.size) == judged(one["file"])


@pytest.mark.parametrize("case", vectors()["refused"]["notes"], ids=lambda case: case["why"])
def test_notes_that_must_be_refused(case: dict[str, str]) -> None:
    """A note that is not the log's is refused by the text and by the product."""
    with pytest.raises(Bad):
        stranger().checkpoint(case["note"])
    with pytest.raises(BadNote):
        open_checkpoint(case["note"], bytes.fromhex(vectors()["keys"][rightful(case["note"])]["public"]), origin())


def rightful(note: str) -> str:
    """The key that may sign a note of its size."""
    return "the notary's" if "\n5\n" in note else "the notary's second"


def origin() -> str:
    """The log's name."""
    return vectors()["origins"]["1"]


@pytest.mark.parametrize("case", vectors()["refused"]["proofs"], ids=lambda case: case["why"])
def test_proofs_that_must_be_refused(case: dict[str, str]) -> None:
    """A proof that does not prove its leaf is refused by the text and by the product."""
    with pytest.raises(Bad):
        stranger().proof(case["file"], leaves().__getitem__)
    with pytest.raises((BadProof, BadNote)):
        judged(case["file"])
