"""Other people's programs read the log: tlog-scales its tiles and proofs, openssl its signature; and we read theirs."""

from __future__ import annotations

import subprocess
import sys
from base64 import b64decode
from pathlib import Path
from random import Random

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tlog_scales import cli
from tlog_scales.backend import LocalBackend
from tlog_scales.reader import TilesReader
from tlog_scales.signing import PlainEd25519Signer, Vkey, VkeySet
from tlog_scales.tiles import leaf_hash as their_leaf_hash
from tlog_scales.tlog import Checkpoint as TheirCheckpoint
from tlog_scales.tlog import InclusionProofInvalid
from tlog_scales.writer import TilesWriter

from shared.envelope import entry_of, leaf_of
from shared.log.checkpoint import Checkpoint, log_keys, open_checkpoint, origin_of
from shared.log.note import NoteKey
from shared.log.proof import ProofFile
from shared.log.store import FolderTiles
from shared.log.tiles import CHECKPOINT, Tiles, TileWriter
from shared.log.tree import (
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_from,
    verify_consistency,
    verify_inclusion,
)
from tests.forge import founded, signer

pytestmark = pytest.mark.spec("X-04")

LOG = signer("the log's")
ORIGIN = origin_of("dev", "0123456789abcdef" * 4, 1)
TIME_S = 1_767_225_600
ENTRIES = founded().entries
SIZES = [1, 255, 256, 257, 1000, 66_000]
SPKI = bytes.fromhex("302a300506032b6570032100")  #: RFC 8410: what stands before an Ed25519 key's 32 bytes


def leaves(size: int) -> list[bytes]:
    """Leaves of real entries first, then many small ones."""
    return [*map(leaf_of, ENTRIES), *(n.to_bytes(4, "big") for n in range(size))][:size]


def our_log(folder: Path, size: int) -> str:
    """A log folder that we wrote in two steps, each with its checkpoint; the last checkpoint's note."""
    tiles, note = FolderTiles(folder), ""
    writer = TileWriter(tiles)
    for step in (size // 2, size - size // 2):
        writer.extend(leaves(size)[writer.size : writer.size + step])
        obsolete = writer.seal()
        note = str(Checkpoint(ORIGIN, writer.size, writer.root()).signed(LOG, TIME_S))
        tiles.put(CHECKPOINT, note.encode())
        for path in obsolete:
            tiles.remove(path)
    return note


def their_proof(folder: Path, index: int, capsys: pytest.CaptureFixture[str]) -> str:
    """The proof file that tlog-scales' own command prints."""
    options = cli.build_parser().parse_args(["gen-proof", str(folder), str(index)])
    capsys.readouterr()
    options.func(options)
    return capsys.readouterr().out


@pytest.mark.parametrize("size", SIZES)
def test_tlog_scales_reads_our_log(size: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another implementation finds our root, both signatures, our entries, and proofs that are ours byte for byte."""
    note = our_log(tmp_path, size)
    reader = TilesReader(LocalBackend(tmp_path))
    checkpoint = reader.get_checkpoint()
    assert (ORIGIN, size, note) == (checkpoint.origin, checkpoint.size, checkpoint.serialize())
    assert reader.calculate_root_hash() == checkpoint.root_hash
    for key in log_keys(ORIGIN, LOG.public):
        theirs = Vkey.from_string(str(key))
        checkpoint.verify(theirs)
        assert str(key) == theirs.serialize()
    verified = VkeySet(*(Vkey.from_string(str(key)) for key in log_keys(ORIGIN, LOG.public)))
    assert 2 == len(verified.verify(checkpoint.signatures, checkpoint))
    ours = Tiles(FolderTiles(tmp_path), size)
    for index in {0, size - 1, size // 2, *Random(size).sample(range(size), min(size, 10))}:
        leaf = reader.get_entry(index)
        assert leaves(size)[index] == leaf
        reader.get_inclusion_proof(index, size).check(their_leaf_hash(leaf), checkpoint.root_hash)
        path = inclusion_proof(ours.node, index, size)
        assert str(ProofFile(index, tuple(path), note)) == their_proof(tmp_path, index, capsys)


def test_entries_come_back_through_them(tmp_path: Path) -> None:
    """Entries read from our tiles by another implementation are the entries that were stored."""
    our_log(tmp_path, len(ENTRIES))
    reader = TilesReader(LocalBackend(tmp_path))
    reader.get_checkpoint()
    assert ENTRIES == [entry_of(index, reader.get_entry(index)) for index in range(len(ENTRIES))]


def test_their_verdict_can_be_no(tmp_path: Path) -> None:
    """The other implementation refuses another key, another size, and a tile that was changed."""
    note = our_log(tmp_path, 300)
    checkpoint = TheirCheckpoint.from_text(note)
    stranger = NoteKey(ORIGIN, 1, signer("another's").public)
    with pytest.raises(RuntimeError, match="no signature matched"):
        checkpoint.verify(Vkey.from_string(str(stranger)))
    for key in log_keys(ORIGIN, LOG.public):
        with pytest.raises(InvalidSignature):
            TheirCheckpoint.from_text(note.replace("\n300\n", "\n301\n")).verify(Vkey.from_string(str(key)))
    tile = tmp_path / "tile/0/000"
    tile.write_bytes(bytes([tile.read_bytes()[0] ^ 1]) + tile.read_bytes()[1:])
    reader = TilesReader(LocalBackend(tmp_path))
    reader.get_checkpoint()
    with pytest.raises(InclusionProofInvalid):
        reader.get_inclusion_proof(1, 300).check(their_leaf_hash(reader.get_entry(1)), checkpoint.root_hash)
    tile = tmp_path / "tile/1/000.p/1"
    tile.write_bytes(bytes([tile.read_bytes()[0] ^ 1]) + tile.read_bytes()[1:])
    reader = TilesReader(LocalBackend(tmp_path))
    reader.get_checkpoint()
    assert reader.calculate_root_hash() != checkpoint.root_hash


@pytest.mark.parametrize("size", SIZES)
def test_we_read_their_log(size: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A log that another implementation wrote and signed opens here, with its entries, proofs and growth."""
    folder, olds, key = tmp_path / "log", [1, max(1, size // 3), size], Ed25519PrivateKey.from_private_bytes(LOG.seed())
    writer, notes = TilesWriter.create(folder, "example.com/theirs"), dict[int, str]()
    for old in olds:
        for leaf in leaves(size)[writer.size : old]:
            writer.add_leaf(leaf)
        writer.commit([PlainEd25519Signer("example.com/theirs", key)])
        notes[old] = (folder / CHECKPOINT).read_text()
    found = open_checkpoint(notes[size], LOG.public, "example.com/theirs")
    tiles, root = Tiles(FolderTiles(folder), size), found.checkpoint.root
    assert (size, None) == (found.checkpoint.size, found.time_s)
    assert root == root_from(tiles.node, size)
    assert leaves(size) == list(tiles.leaves())
    for old in olds:
        before = open_checkpoint(notes[old], LOG.public).checkpoint
        verify_consistency(old, size, consistency_proof(tiles.node, old, size), before.root, root)
        verify_consistency(old, size, writer.reader.get_consistency_proof(old, size).node_hashes, before.root, root)
        proof = ProofFile.parse(their_proof(folder, old - 1, capsys))
        assert (old - 1, notes[size]) == (proof.index, proof.note)
        verify_inclusion(proof.index, size, leaf_hash(leaves(size)[old - 1]), proof.path, root)


@pytest.mark.parametrize("size", SIZES)
def test_both_write_the_same_tiles(size: int, tmp_path: Path) -> None:
    """The tiles we write are, name by name and byte by byte, those that another implementation writes."""
    our_log(tmp_path / "ours", size)
    key = Ed25519PrivateKey.from_private_bytes(LOG.seed())
    writer = TilesWriter.create(tmp_path / "theirs", ORIGIN)
    for step in (size // 2, size):
        for leaf in leaves(size)[writer.size : step]:
            writer.add_leaf(leaf)
        writer.commit([PlainEd25519Signer(ORIGIN, key)])
    ours, theirs = (
        {str(path.relative_to(folder)): path.read_bytes() for path in (folder / "tile").rglob("*") if path.is_file()}
        for folder in (tmp_path / "ours", tmp_path / "theirs")
    )
    assert theirs == ours


def openssl(folder: Path, public: bytes, text: bytes, signature: bytes) -> int:
    """The exit status of openssl's verification of an Ed25519 signature over a file's bytes."""
    for name, data in (("key.der", SPKI + public), ("text", text), ("signature", signature)):
        (folder / name).write_bytes(data)
    command = "openssl pkeyutl -verify -rawin -pubin -keyform DER -inkey key.der -in text -sigfile signature"
    return subprocess.run(command.split(), cwd=folder, stdout=sys.stderr, check=False).returncode


def test_openssl_verifies_both_signatures(tmp_path: Path) -> None:
    """openssl, given the key and bytes written down by hand, accepts both signatures of a checkpoint and no others."""
    note = our_log(tmp_path / "log", 1000)
    text = "".join(line + "\n" for line in note.split("\n")[:3])
    plain, timed = (line.split(" ")[2] for line in note.split("\n")[4:6])
    plain_raw, timed_raw = (b64decode(blob)[4:] for blob in (plain, timed))
    timed_text = f"cosignature/v1\ntime {int.from_bytes(timed_raw[:8], 'big')}\n{text}"
    assert 0 == openssl(tmp_path, LOG.public, text.encode(), plain_raw)
    assert 0 == openssl(tmp_path, LOG.public, timed_text.encode(), timed_raw[8:])
    assert 0 != openssl(tmp_path, LOG.public, text.replace("1000", "1001").encode(), plain_raw)
    assert 0 != openssl(tmp_path, LOG.public, timed_text.replace("time 1", "time 2").encode(), timed_raw[8:])
    assert 0 != openssl(tmp_path, signer("another's").public, text.encode(), plain_raw)
