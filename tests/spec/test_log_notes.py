"""Signed notes, checkpoints and proof files: one spelling each, known keys must have signed, and odd input is named."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.log.checkpoint import Checkpoint, log_keys, open_checkpoint, origin_of
from shared.log.note import (
    COSIGNATURE,
    ED25519,
    MAX_NAME_BYTES,
    MAX_NOTE_BYTES,
    MAX_NOTE_SIGNATURES,
    ML_DSA_44,
    BadNote,
    Note,
    NoteKey,
    NoteSignature,
    cosign,
    sign,
    time_of,
)
from shared.log.proof import HEADER, MAX_PROOF_FILE_BYTES, ProofFile
from shared.log.tree import MAX_PROOF_HASHES, BadProof, inclusion_proof, leaf_hashes, nodes_of, root_of_hashes
from tests.forge import signer

pytestmark = pytest.mark.spec("X-04")

LOG, WITNESS, OTHER = signer("the log's"), signer("a witness's"), signer("another's")
ORIGIN = origin_of("dev", "0123456789abcdef" * 4, 1)
TIME_S = 1_767_225_600
HASHES = leaf_hashes([bytes([n]) for n in range(11)])
CHECKPOINT = Checkpoint(ORIGIN, 11, root_of_hashes(HASHES))
SIGNED = CHECKPOINT.signed(LOG, TIME_S)
WITNESS_KEY = NoteKey("witness.example/w", COSIGNATURE, WITNESS.public)
PROOF = ProofFile(4, tuple(inclusion_proof(nodes_of(HASHES), 4, 11)), str(SIGNED), b"\x04")


def bad(call: Callable[[], object]) -> str:
    """The sentence of the BadNote that a call ends in."""
    with pytest.raises(BadNote) as caught:
        call()
    return str(caught.value)


def opened(note: object, witnesses: tuple[NoteKey, ...] = ()) -> str:
    """The sentence with which a note is refused as the log's checkpoint."""
    return bad(lambda: open_checkpoint(str(note), LOG.public, ORIGIN, witnesses))


def under(text: str) -> str:
    """A text with the log's right signature under it, whatever the text is."""
    return str(Note(text, (sign(ORIGIN, text, LOG), cosign(ORIGIN, text, LOG, TIME_S))))


# Notes


def test_a_signed_checkpoint_opens() -> None:
    """What the log signs opens under its key, says its time, and names the witnesses that cosigned, and no others."""
    found = open_checkpoint(str(SIGNED), LOG.public, ORIGIN)
    assert (CHECKPOINT, SIGNED, TIME_S, ()) == (found.checkpoint, found.note, found.time_s, found.witnesses)
    note = SIGNED.with_lines([cosign(WITNESS_KEY.name, SIGNED.text, WITNESS, TIME_S + 9)])
    absent = NoteKey("absent.example/w", COSIGNATURE, OTHER.public)
    found = open_checkpoint(str(note).encode(), LOG.public, witnesses=(absent, WITNESS_KEY))
    assert ((WITNESS_KEY,), TIME_S) == (found.witnesses, found.time_s)
    assert note == note.with_lines(note.signatures)


@given(
    st.text(), st.lists(st.tuples(st.sampled_from(["a", "b/c", "é"]), st.binary(min_size=1, max_size=90)), max_size=4)
)
def test_notes_come_back(text: str, lines: list[tuple[str, bytes]]) -> None:
    """A note that can be read prints back byte for byte, and nothing else is ever raised than BadNote."""
    note = Note(text + "\n", tuple(NoteSignature(name, b"\1\2\3\4", blob) for name, blob in lines))
    try:
        found = Note.parse(str(note))
    except BadNote:
        assert not lines or any(character < " " and character != "\n" for character in text)
        return
    assert (note, str(note)) == (found, str(found))
    assert found == Note.parse(str(note).encode())


def test_unknown_keys_are_ignored() -> None:
    """Lines of keys that nobody asks about change nothing, even if they share a known key's name or its id."""
    plain, timed = log_keys(ORIGIN, LOG.public)
    lines = [
        NoteSignature("unknown.example", b"\0\0\0\0", b"?"),
        NoteSignature(ORIGIN, b"\0\0\0\0", b"the name alone"),
        NoteSignature("unknown.example", plain.key_id, b"the id alone"),
        sign("unknown.example", SIGNED.text, OTHER),
    ]
    note = Note.parse(str(Note(SIGNED.text, (*lines, *SIGNED.signatures, *lines))))
    assert [plain, timed] == note.by([plain, timed])
    assert CHECKPOINT == open_checkpoint(str(note), LOG.public, ORIGIN, (WITNESS_KEY,)).checkpoint


def test_a_known_key_must_have_signed() -> None:
    """One wrong signature under a known key's name and id refuses the whole note, right ones beside it or not."""
    plain, timed = log_keys(ORIGIN, LOG.public)
    for key, size in ((plain, 64), (timed, 72), (plain, 63), (timed, 64), (timed, 1)):
        forged = NoteSignature(key.name, key.key_id, bytes(size))
        assert "does not verify" in opened(SIGNED.with_lines([forged]))
        assert "does not verify" in opened(Note(SIGNED.text, (forged,)))
    forged = NoteSignature(WITNESS_KEY.name, WITNESS_KEY.key_id, bytes(72))
    assert "does not verify" in opened(SIGNED.with_lines([forged]), (WITNESS_KEY,))
    assert CHECKPOINT == open_checkpoint(str(SIGNED.with_lines([forged])), LOG.public, ORIGIN).checkpoint


def test_the_log_itself_must_have_signed() -> None:
    """No witness, no time and no other key's signature stands for the log's own plain one."""
    cosigned = cosign(WITNESS_KEY.name, SIGNED.text, WITNESS, TIME_S)
    plain, timed = SIGNED.signatures
    for lines in ((cosigned,), (timed,), (cosigned, timed), (sign(ORIGIN, SIGNED.text, OTHER),)):
        assert "is not signed by the log's key" in opened(Note(SIGNED.text, lines), (WITNESS_KEY,))
    assert None is open_checkpoint(str(Note(SIGNED.text, (plain,))), LOG.public, ORIGIN).time_s
    assert "is not signed" in bad(lambda: open_checkpoint(str(SIGNED), OTHER.public))
    assert f"expected {ORIGIN}/2" in bad(lambda: open_checkpoint(str(SIGNED), LOG.public, f"{ORIGIN}/2"))


def test_no_changed_checkpoint_opens_as_another() -> None:
    """A checkpoint with any bit changed is refused, or opens as the very same one without the line that was hit."""
    opens = 0
    for bit in range(8 * len(str(SIGNED).encode())):
        raw = bytearray(str(SIGNED).encode())
        raw[bit // 8] ^= 1 << bit % 8
        try:
            found = open_checkpoint(bytes(raw), LOG.public, ORIGIN)
        except BadNote:
            continue
        assert (CHECKPOINT, SIGNED.text, None) == (found.checkpoint, found.note.text, found.time_s)
        opens += 1
    assert 0 < opens < 8 * len(SIGNED.signatures[1].line.encode())


def test_the_time_is_signed() -> None:
    """The cosignature states its time, another time does not verify, and none beyond the format's bound is taken."""
    plain, timed = SIGNED.signatures
    assert TIME_S == time_of(timed.signature)
    later = replace(timed, signature=(TIME_S + 1).to_bytes(8, "big") + timed.signature[8:])
    assert "does not verify" in opened(Note(SIGNED.text, (plain, later)))
    twice = SIGNED.with_lines([cosign(ORIGIN, SIGNED.text, LOG, TIME_S + 5)])
    assert TIME_S + 5 == open_checkpoint(str(twice), LOG.public, ORIGIN).time_s
    assert 2**63 - 1 == open_checkpoint(str(CHECKPOINT.signed(LOG, 2**63 - 1)), LOG.public).time_s
    assert "does not verify" in opened(CHECKPOINT.signed(LOG, 2**63))


def test_the_two_kinds_of_signature_never_stand_for_each_other() -> None:
    """A signature over the note is none over the note and a time, nor the other way round."""
    plain, timed = SIGNED.signatures
    as_plain = replace(timed, key_id=plain.key_id, signature=timed.signature[8:])
    as_timed = replace(plain, key_id=timed.key_id, signature=timed.signature[:8] + plain.signature)
    for line in (as_plain, as_timed):
        assert "does not verify" in opened(Note(SIGNED.text, (line,)))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda note: note.replace("\n11\n", "\n11\r\n"), "control character"),
        (lambda note: note.replace("\n11\n", "\n1\t1\n"), "control character"),
        (lambda note: note + "\0", "control character"),
        (lambda note: note.replace("\n\n", "\n"), "an empty line"),
        (lambda note: note.partition("\n\n")[0] + "\n", "an empty line"),
        (lambda note: note.partition("\n\n")[0] + "\n\n", "signature lines"),
        (lambda note: note[:-1], "each line ended"),
        (lambda note: note + "\n", "signature lines"),
        (lambda note: note.replace("\n— ", "\n- "), "no signature line"),
        (lambda note: note.replace("\n— ", "\n—  "), "base 64"),
        (lambda note: note.replace("— nimmer", "— nim+mer"), "no name"),
        (lambda note: note.replace("— nimmer", "— nim\u00a0mer"), "no name"),
        (lambda note: note.replace("— nimmer", "— nim\u2003mer"), "no name"),
        (lambda note: note.replace("— nimmer", "— " + "n" * MAX_NAME_BYTES), "no name"),
        (lambda note: note + "— x AAAA\n", "no signature line"),
        (lambda note: note + "— x AAAAAA==\n", "no signature line"),
        (lambda note: note + "— x AAAAAAB=\n", "canonical base 64"),
        (lambda note: note + "— x AAAAAAA\n", "base 64"),
        (lambda note: note + "— x AAAA AAAA\n", "base 64"),
        (lambda note: note + "— x AAAA-_AA\n", "base 64"),
        (lambda note: note + "— x é\n", "base 64"),
        (lambda note: note + "— x\n", "no signature line"),
        (lambda note: note + "—\n", "no signature line"),
        (lambda note: note + "\ud800", "UTF-8"),
        (lambda note: note.encode() + b"\xff", "not UTF-8"),
        (lambda note: "x" * MAX_NOTE_BYTES + note, "at most"),
        (lambda note: "é" * (MAX_NOTE_BYTES // 2) + note, "at most"),
        (lambda note: note + "— x AAAAAAA=\n" * MAX_NOTE_SIGNATURES, "signatures, at most"),
        (lambda _: "", "this is none"),
    ],
)
def test_malformed_notes(change: Callable[[str], str | bytes], reason: str) -> None:
    """A note that breaks the grammar is refused with a sentence, whatever is signed in it."""
    assert reason in bad(lambda: open_checkpoint(change(str(SIGNED)), LOG.public, ORIGIN))


def test_sixteen_signatures_and_more() -> None:
    """A note may carry as many signatures as the format asks readers to take, and up to our own bound."""
    more = [NoteSignature(f"w{n}.example", b"\0\0\0\0", b"x") for n in range(MAX_NOTE_SIGNATURES - 2)]
    assert 64 == len(open_checkpoint(str(SIGNED.with_lines(more)), LOG.public, ORIGIN).note.signatures)


# Keys


@given(st.sampled_from([ED25519, COSIGNATURE, ML_DSA_44, 0xFF]), st.binary(min_size=32, max_size=32))
def test_keys_come_back(kind: int, public: bytes) -> None:
    """A verifier key's line is read as the key that wrote it."""
    key = NoteKey(ORIGIN, kind, public)
    assert key == NoteKey.parse(str(key)) == NoteKey.parse(f"{key}\n")


def test_a_keys_kind_is_in_its_id() -> None:
    """The log's two verifier keys share name and public key, and differ in their id."""
    plain, timed = log_keys(ORIGIN, LOG.public)
    assert plain.key_id != timed.key_id
    assert (4, 4) == (len(plain.key_id), len(timed.key_id))


def test_a_second_kind_that_does_not_verify_discredits_the_note() -> None:
    """A line in the name of an ML-DSA witness counts for nothing without its key, and with it must verify."""
    key = NoteKey("pq.example", ML_DSA_44, bytes(1312))
    note = SIGNED.with_lines([NoteSignature(key.name, key.key_id, bytes(2428))])
    assert () == open_checkpoint(str(note), LOG.public, ORIGIN).witnesses
    with pytest.raises(BadNote, match=r"pq\.example .* does not verify"):
        open_checkpoint(str(note), LOG.public, ORIGIN, (key,))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda _: "", "name\\+id\\+key"),
        (lambda key: key.replace("+", " "), "name\\+id\\+key"),
        (lambda key: key[1:], "has id"),
        (lambda key: key.replace("+", "+0", 1), "has id"),
        (lambda key: key.upper(), "has id|base 64"),
        (lambda key: "a b" + key, "no name"),
        (lambda key: "\ud800" + key, "UTF-8"),
        (lambda key: key[:-1], "base 64"),
        (lambda key: key + "=", "base 64"),
        (lambda key: key.rpartition("+")[0] + "+", "holds no key"),
        (lambda _: str(NoteKey("x", ED25519, bytes(31))), "31 bytes"),
        (lambda _: str(NoteKey("x", COSIGNATURE, bytes(33))), "33 bytes"),
    ],
)
def test_malformed_keys(change: Callable[[str], str], reason: str) -> None:
    """A verifier key that is not written as it must be, or whose id is not its own, is refused with a sentence."""
    with pytest.raises(BadNote, match=reason):
        NoteKey.parse(change(str(WITNESS_KEY)))


# Checkpoints


@given(st.sampled_from([ORIGIN, "example.com/log"]), st.integers(0, 10**19 - 1), st.binary(min_size=32, max_size=32))
def test_checkpoints_come_back(origin: str, size: int, root: bytes) -> None:
    """A checkpoint's text is read as the checkpoint that wrote it, and prints back."""
    checkpoint = Checkpoint(origin, size, root)
    assert checkpoint == Checkpoint.parse(checkpoint.text)
    assert CHECKPOINT.text == Checkpoint.parse(CHECKPOINT.text).text


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text: text.replace("\n11\n", "\n011\n"), "three lines"),
        (lambda text: text.replace("\n11\n", "\n+11\n"), "three lines"),
        (lambda text: text.replace("\n11\n", "\n-11\n"), "three lines"),
        (lambda text: text.replace("\n11\n", "\n1_1\n"), "three lines"),
        (lambda text: text.replace("\n11\n", "\n11 \n"), "three lines"),
        (lambda text: text.replace("\n11\n", "\n١١\n"), "three lines"),
        (lambda text: text.replace("\n11\n", "\n\n"), "three lines"),
        (lambda text: text.replace("\n11\n", f"\n{10**19}\n"), "three lines"),
        (lambda text: text + "extension\n", "three lines"),
        (lambda text: text + "\n", "three lines"),
        (lambda text: text[:-1], "three lines"),
        (lambda text: text.partition("\n")[2], "three lines"),
        (lambda text: "a+b" + text, "no name"),
        (lambda text: "a b" + text, "no name"),
        (lambda text: "\u2003" + text, "no name"),
        (lambda text: text[text.index("\n") :], "no name"),
        (lambda text: text.replace("=\n", "\n"), "base 64"),
        (lambda _: f"{ORIGIN}\n1\n{base64.b64encode(bytes(31)).decode()}\n", "31 bytes"),
        (lambda _: f"{ORIGIN}\n1\n{base64.b64encode(bytes(33)).decode()}\n", "33 bytes"),
        (lambda _: f"{ORIGIN}\n1\n\n", "0 bytes"),
    ],
)
def test_malformed_checkpoints(change: Callable[[str], str], reason: str) -> None:
    """A text that is no checkpoint is refused, even with the log's right signatures under it."""
    text = change(CHECKPOINT.text)
    assert text != CHECKPOINT.text
    with pytest.raises(BadNote, match=reason):
        Checkpoint.parse(text)
    with pytest.raises(BadNote):
        open_checkpoint(under(text), LOG.public)


def test_a_log_signs_nothing_that_no_reader_reads() -> None:
    """A checkpoint that would not be read as it was meant is a bug, and is not signed."""
    for odd in (replace(CHECKPOINT, origin="a\n9"), replace(CHECKPOINT, size=-1), replace(CHECKPOINT, root=b"")):
        with pytest.raises((AssertionError, BadNote)):
            odd.signed(LOG, TIME_S)


def test_a_logs_name() -> None:
    """A log is named by environment, genesis and, after the first, epoch."""
    assert "nimmerverse/dev/0123456789abcdef0123456789abcdef" == origin_of("dev", "0123456789abcdef" * 4, 1)
    assert "nimmerverse/prod/" + "f" * 32 + "/2" == origin_of("prod", "f" * 64, 2)


# Proof files


@given(
    st.integers(0, 10**19 - 1),
    st.lists(st.binary(min_size=32, max_size=32), max_size=MAX_PROOF_HASHES),
    st.binary(max_size=200),
    st.text(),
)
def test_proofs_come_back(index: int, path: list[bytes], extra: bytes, note: str) -> None:
    """A proof file is read as the proof that wrote it, and prints back byte for byte."""
    proof = ProofFile(index, tuple(path), note, extra)
    assert proof == ProofFile.parse(str(proof)) == ProofFile.parse(str(proof).encode())


def test_the_biggest_proof_fits() -> None:
    """A whole leaf, a whole path and a whole note together are within the bound of a proof file."""
    proof = ProofFile(1, (bytes(32),) * MAX_PROOF_HASHES, "n" * MAX_NOTE_BYTES, bytes(65_535))
    assert proof == ProofFile.parse(str(proof))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda _: "", "begins with"),
        (lambda _: HEADER, "begins with"),
        (lambda _: HEADER + "\n\n", "begins with"),
        (lambda proof: proof.replace("@v1", "@v2"), "begins with"),
        (lambda proof: " " + proof, "begins with"),
        (lambda proof: proof.replace("\n", "\r\n"), "begins with"),
        (lambda proof: proof.partition("\n\n")[0], "begins with"),
        (lambda proof: proof.replace("index 4\n", ""), "names no index"),
        (lambda proof: proof.replace("index 4", "index 04"), "names no index"),
        (lambda proof: proof.replace("index 4", "index  4"), "names no index"),
        (lambda proof: proof.replace("index 4", "index -4"), "names no index"),
        (lambda proof: proof.replace("index 4", "index ٤"), "names no index"),
        (lambda proof: proof.replace("index 4", f"index {10**19}"), "names no index"),
        (lambda proof: proof.replace("index 4", "Index 4"), "names no index"),
        (lambda proof: proof.replace("index 4\n", "index 4\nindex 4\n"), "base 64"),
        (lambda proof: proof.replace("extra BA==", "extra"), "names no index"),
        (lambda proof: proof.replace("extra BA==", "extra "), "extra line is empty"),
        (lambda proof: proof.replace("extra BA==", "extra BB=="), "canonical"),
        (lambda proof: proof.replace("extra BA==", "extra B"), "base 64"),
        (lambda proof: proof.replace("extra BA==", "extra BA==\nextra BA=="), "names no index"),
        (lambda proof: proof.replace("index 4\n", "index 4\nAAAA\n"), "32 bytes"),
        (lambda proof: proof.replace("index 4\n", "index 4\n \n"), "base 64"),
        (lambda proof: proof.replace("index 4\n", "index 4\n" + f"{'A' * 43}=\n" * 65), "more than 64"),
        (lambda proof: proof + "\ud800", "UTF-8"),
        (lambda proof: proof.encode() + b"\xff", "UTF-8"),
        (lambda proof: proof + "x" * MAX_PROOF_FILE_BYTES, "at most"),
    ],
)
def test_malformed_proofs(change: Callable[[str], str | bytes], reason: str) -> None:
    """A proof that breaks the grammar is refused as a bad proof, never in another way."""
    assert change(str(PROOF)) != str(PROOF)
    with pytest.raises(BadProof, match=reason):
        ProofFile.parse(change(str(PROOF)))


@given(st.binary(max_size=300), st.text(max_size=300))
def test_anything_is_read_or_named(raw: bytes, text: str) -> None:
    """Any bytes and any text, behind a right beginning too, are read or refused by name."""
    for given_ in (raw, text, f"{HEADER}\n".encode() + raw, f"{HEADER}\nindex 1\n{text}"):
        for read, refusal in ((ProofFile.parse, BadProof), (Note.parse, BadNote)):
            try:
                found = read(given_)
            except refusal:
                continue
            assert found == read(str(found))
