"""Cosignatures, ML-DSA-44 second signatures among them: made here and judged by another implementation, and back."""

from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey
from hypothesis import given
from hypothesis import strategies as st
from tlog_scales.signing import MLDSA44CosignatureSigner, MLDSA44CosignatureVerifier, Vkey, VkeySet
from tlog_scales.tlog import Checkpoint as TheirCheckpoint

from organs.notary import MemoryShelf, Notary
from organs.witness import MemoryMemory, Witness
from shared.envelope import KeyBook
from shared.envelope.keybook import Key
from shared.keys import LocalSigner
from shared.log.checkpoint import Checkpoint, log_keys, open_checkpoint
from shared.log.entry import Entry
from shared.log.note import BadNote, Note, NoteKey, read_line
from shared.log.subtree import second_holds, second_key, sign_second
from tests.trees import Tree

LOG = LocalSigner(bytes([1]) * 32)
TIME_S = 1_767_225_600
CHECKPOINT = Checkpoint("nimmerverse/dev/trial", 812, bytes(range(32)))


class Second:
    """An ML-DSA-44 key of the library `cryptography`."""

    def __init__(self, seed: bytes) -> None:
        self.key = MLDSA44PrivateKey.from_seed_bytes(seed)
        self.public = self.key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """Sign."""
        return self.key.sign(message)


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Verify with the same library."""
    try:
        MLDSA44PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True


SECOND = Second(bytes([5]) * 32)
VKEY = second_key(CHECKPOINT.origin, SECOND.public)


@pytest.mark.spec("X-04")
def test_a_verifier_key_is_read_by_others() -> None:
    """The vkey line of a second key names the same id and key to another implementation, and to ours."""
    read = Vkey.from_string(str(VKEY))
    assert (VKEY.name, VKEY.public) == (read.name, read.pubkey)
    assert isinstance(read.get_verifier(), MLDSA44CosignatureVerifier)
    assert VKEY == NoteKey.parse(str(VKEY))
    with pytest.raises(BadNote, match="has 1311 bytes, 1312 are expected"):
        second_key("a", SECOND.public[1:])


@pytest.mark.spec("X-04")
def test_others_verify_what_the_notary_signs() -> None:
    """A notary with a second key publishes a checkpoint whose every line an independent verifier accepts."""
    book = KeyBook()
    book.fingerprint = "f" * 64
    book.keys[LOG.key_id] = Key(LOG.key_id, LOG.public, "notary", "host", (), 0)
    notary = Notary(MemoryShelf(), LOG, "dev", second=SECOND)
    notary.take([Entry(n, "dev.trial.desk.event.a.noted", n, b"entry") for n in range(300)])
    signed = notary.sign(book, TIME_S)
    assert signed is not None
    note = Note.parse(notary.note)
    assert open_checkpoint(notary.note, LOG.public).checkpoint == signed
    key = second_key(signed.origin, SECOND.public)
    keys = [*log_keys(signed.origin, LOG.public), key]
    known = VkeySet(*(Vkey.from_string(str(one)) for one in keys))
    seen = TheirCheckpoint.from_text(notary.note)
    assert 3 == len(known.verify(seen.signatures, seen)) == len(note.signatures)
    grown = TheirCheckpoint(seen.origin, seen.size + 1, seen.root_hash, seen.signatures)
    assert set() == known.verify(grown.signatures, grown)
    [line] = [line for line in note.signatures if line.is_by(key)]
    assert second_holds(key, signed, line, verify)


@pytest.mark.spec("X-04")
def test_others_verify_what_the_witness_cosigns() -> None:
    """An independent verifier accepts a witness's line, and not for another tree."""
    tree = Tree(LOG, 5)
    witness = Witness("witness.test", LocalSigner(bytes([3]) * 32), (tree.key,), MemoryMemory(), lambda: TIME_S)
    answer = witness.add_checkpoint(tree.ask(0))
    known = VkeySet(Vkey.from_string(str(witness.key)))
    seen = TheirCheckpoint.from_text(str(Note.parse(tree.note).with_lines(answer.lines())))
    assert 1 == len(known.verify(seen.signatures, seen))
    grown = TheirCheckpoint(seen.origin, seen.size + 1, seen.root_hash, seen.signatures)
    assert set() == known.verify(grown.signatures, grown)


@pytest.mark.spec("X-04")
def test_what_others_sign_holds_here() -> None:
    """A line that another implementation made holds, and only under its own name."""
    cp = TheirCheckpoint(CHECKPOINT.origin, CHECKPOINT.size, CHECKPOINT.root, [])
    theirs = MLDSA44CosignatureSigner("witness.test", SECOND.key).sign(cp)
    line = read_line(theirs.serialize())
    assert second_holds(second_key("witness.test", SECOND.public), CHECKPOINT, line, verify)
    assert not second_holds(VKEY, CHECKPOINT, line, verify)


@pytest.mark.spec("X-04", "X-12")
@given(at=st.integers(0, 8 + 2420 - 1), bit=st.integers(0, 7))
def test_no_bit_may_change(at: int, bit: int) -> None:
    """A signature with one bit changed, its time included, does not hold; nor does it for another root or name."""
    line = sign_second(CHECKPOINT.origin, CHECKPOINT, SECOND, TIME_S)
    assert second_holds(VKEY, CHECKPOINT, line, verify)
    raw = bytearray(line.signature)
    raw[at] ^= 1 << bit
    assert not second_holds(VKEY, CHECKPOINT, type(line)(line.name, line.key_id, bytes(raw)), verify)
    assert not second_holds(VKEY, Checkpoint(CHECKPOINT.origin, 812, bytes(32)), line, verify)
    assert not second_holds(VKEY, CHECKPOINT, type(line)(line.name, line.key_id, line.signature[:-1]), verify)
