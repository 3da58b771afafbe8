"""What is taken out of a log: proofs, differences, other formats; each judged by a reader that nobody here wrote."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import cbor2
import pytest
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st
from prov.model import ProvActivity, ProvAgent, ProvDocument, ProvEntity
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey  # pyright: ignore[reportPrivateImportUsage] - its documented place

from shared.audit import FolderSource, Snapshot, verify, write_bundle
from shared.audit.bundle import VERIFIER
from shared.audit.cose import cbor, receipt
from shared.audit.diff import difference
from shared.audit.evidence import check_proof, evidence_of
from shared.audit.export import dsse, in_toto, in_toto_of_bundle, prov
from shared.audit.stand_alone import verify as stand_alone
from shared.envelope import read_event
from shared.envelope.envelope import ENVELOPE_TYPE
from shared.errors import Exit, Refused
from shared.log.checkpoint import Checkpoint
from shared.log.note import Note, NoteKey
from shared.log.proof import ProofFile
from tests.commands import Home
from tests.forge import ADA, BOB, CYD, PLAIN, Log, event_id, founded, introduced, roots, signer
from tests.logs import NOTARY, SIGNED_S, kept, told

pytestmark = pytest.mark.spec("X-04")
FIXED = settings(max_examples=150)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of 300 entries on disk."""
    home = tmp_path_factory.mktemp("log")
    kept(told(300), home)
    return home / "tiles"


@pytest.fixture(scope="module")
def store(folder: Path) -> Snapshot:
    """Its tiles."""
    return Snapshot(FolderSource.at(folder).tiles)


def log_key(store: Snapshot) -> NoteKey:
    """The log's key, as a whole audit prints it."""
    return NoteKey.parse(asyncio.run(verify(FolderSource(store, "the folder"))).log_key)


def fingerprint(store: Snapshot) -> str:
    """The genesis."""
    return asyncio.run(verify(FolderSource(store, "the folder"))).fingerprint


def both(raw: bytes, trust: str | None, key: NoteKey | None) -> Exit:
    """The verdict on a proof file, after both verifiers gave the same."""
    given = str(key) if key else None
    ours = check_proof(raw, "a.tlog-proof", trust, given).exit
    theirs = stand_alone.audit_proof(raw, stand_alone.Wanted(trust), given).exit
    assert int(ours) == theirs
    return ours


# Proofs


@pytest.mark.parametrize("index", [0, 1, 255, 256, 299])
def test_every_entry_can_be_proven(index: int, store: Snapshot) -> None:
    """First, last and those at a tile's edge are proven with the log's key; without it the signer is unknown."""
    raw = str(evidence_of(store, str(index)).proof).encode()
    assert Exit.OK is both(raw, fingerprint(store), log_key(store))
    assert Exit.UNKNOWN_SIGNER is both(raw, fingerprint(store), None)
    assert Exit.WRONG_SIGNER is both(raw, "00" * 32, log_key(store))
    assert Exit.WRONG_SIGNER is both(raw, None, NoteKey(log_key(store).name, 1, signer("stranger").public))


@pytest.mark.parametrize("text", ["", "a", "a+b+c", "a+00000000+AQ==", "a b+7d29b5ba+AQ=="])
def test_a_key_that_is_none_is_the_wrong_signer(text: str, store: Snapshot) -> None:
    """A `--log-key` that is no verifier key proves nothing, and says so."""
    raw = str(evidence_of(store, "7").proof).encode()
    assert Exit.WRONG_SIGNER is check_proof(raw, "", None, text).exit
    assert int(Exit.WRONG_SIGNER) == stand_alone.audit_proof(raw, stand_alone.Wanted(), text).exit


def test_an_event_is_found_by_its_id_and_its_place(store: Snapshot) -> None:
    """Index, (index, offset) and id lead to the same entry; what no checkpoint covers is refused as not yet signed."""
    by_place, by_id = evidence_of(store, "(64, 2)"), evidence_of(store, event_id("64 2").hex())
    assert 64 == by_place.entry.index == by_id.entry.index == evidence_of(store, "64").entry.index
    for pending in ("300", event_id("not there").hex()):
        with pytest.raises(Refused, match="B013"):
            evidence_of(store, pending)


def test_a_wrong_proof_is_a_bad_proof(store: Snapshot) -> None:
    """Another size, another path, another leaf, another index, no leaf, no proof at all: each is a bad proof."""
    good = evidence_of(store, "77").proof
    other = evidence_of(store, "78").proof
    enlarged = str(good).replace("\n300\n", "\n301\n").encode()  # the path fits that size too; the signature does not
    assert Exit.WRONG_SIGNER is both(enlarged, fingerprint(store), log_key(store))
    wrong = [
        str(good).replace("\n300\n", "\n3000\n"),
        str(ProofFile(77, good.path[1:], good.note, good.extra)),
        str(ProofFile(77, (*good.path, bytes(32)), good.note, good.extra)),
        str(ProofFile(77, other.path, good.note, good.extra)),
        str(ProofFile(77, good.path, good.note, other.extra)),
        str(ProofFile(78, good.path, good.note, good.extra)),
        str(ProofFile(300, good.path, good.note, good.extra)),
        str(ProofFile(77, good.path, good.note)),
        str(good)[:100],
        "",
    ]
    assert {Exit.BAD_PROOF} == {both(raw.encode(), fingerprint(store), log_key(store)) for raw in wrong}


@FIXED
@given(data=st.data())
def test_both_agree_on_mutated_proofs(data: st.DataObject, store: Snapshot) -> None:
    """Whatever bytes of a proof are changed, cut or put in, both verifiers say the same, and neither falls over."""
    raw = str(evidence_of(store, "77").proof).encode()
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw)))
        raw = raw[:at] + data.draw(st.binary(max_size=3)) + raw[at + data.draw(st.integers(0, 3)) :]
    both(raw, None, NoteKey(evidence_of(store, "77").checkpoint.origin, 1, NOTARY.public))


# Differences


def grown(log: Log, name: str, count: int) -> Log:
    """A log that goes on in its own way."""
    for n in range(count):
        assert log.say(PLAIN, f"{name} {n}", signer("ada's")).refusal is None
    return log


def base() -> Log:
    """The beginning of several logs."""
    log = founded()
    assert log.key_event(introduced("notary's", CYD, "notary", ()), *roots(ADA, BOB)).refusal is None
    return grown(log, "shared", 5)


def at(log: Log, folder: Path) -> FolderSource:
    """A log on disk."""
    return FolderSource(kept(log, folder).tiles, folder.name)


def test_logs_are_compared(tmp_path: Path) -> None:
    """The same, a beginning, a fork that the log's key signed, another log: each is told, with the first index."""
    first = at(grown(base(), "a", 3), tmp_path / "a")
    same = asyncio.run(difference(first, at(grown(base(), "a", 3), tmp_path / "same")))
    assert (Exit.OK, None) == (same.exit, same.index)
    longer = asyncio.run(difference(first, at(grown(base(), "a", 7), tmp_path / "longer")))
    assert (Exit.OK, None, (12, 16)) == (longer.exit, longer.index, longer.sizes)
    assert "a is the beginning of longer" in longer.sentence
    fork = asyncio.run(difference(first, at(grown(base(), "b", 3), tmp_path / "fork")))
    assert (Exit.FORKED, 9) == (fork.exit, fork.index)
    assert event_id("a 0").hex() in "\n".join(fork.lines())
    stranger = at(grown(base(), "b", 3), tmp_path / "changed")
    note = (tmp_path / "changed" / "tiles" / "checkpoint").read_text()
    said = Checkpoint.parse(Note.parse(note).text)
    (tmp_path / "changed" / "tiles" / "checkpoint").write_text(str(said.signed(signer("stranger"), SIGNED_S)))
    unsigned = asyncio.run(difference(first, stranger))
    assert (Exit.TAMPERED, 9) == (unsigned.exit, unsigned.index)
    assert "of B it is not signed" in unsigned.sentence


# Other formats


def test_dsse_verifies_elsewhere(store: Snapshot) -> None:
    """securesystemslib accepts the DSSE envelope with the part's key, and refuses it with another one."""
    exported = dsse(evidence_of(store, "17"))
    envelope = Envelope.from_dict(json.loads(json.dumps(exported)))
    key, stranger = (
        SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(signer(name).public), signer(name).key_id)
        for name in ("ada's", "stranger")
    )
    assert {signer("ada's").key_id} == set(envelope.verify([key], 1))
    with pytest.raises(Exception, match=r"."):
        envelope.verify([stranger], 1)
    assert (ENVELOPE_TYPE, evidence_of(store, "17").sealed.signed) == (envelope.payload_type, envelope.pae())


def test_an_in_toto_statement_names_the_bytes(store: Snapshot, tmp_path: Path) -> None:
    """The statement of an entry has the digests of its envelope, that of a bundle those of its file."""
    found = evidence_of(store, "17")
    statement = in_toto(found)
    assert "https://in-toto.io/Statement/v1" == statement["_type"]
    [subject] = statement["subject"]
    raw = found.entry.raw
    assert {"sha256": hashlib.sha256(raw).hexdigest(), "blake3": blake3(raw).hexdigest()} == subject["digest"]
    assert Exit.OK is both(statement["predicate"]["proof"].encode(), None, log_key(store))
    path = tmp_path / "log.zip"
    with path.open("wb") as file:
        write_bundle(file, store, asyncio.run(verify(FolderSource(store, ""))))
    [subject] = in_toto_of_bundle(path)["subject"]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == subject["digest"]["sha256"]


def test_prov_reads_elsewhere(store: Snapshot) -> None:
    """The `prov` package reads the document: an activity each entry, an entity each event, an agent each part."""
    entries = [evidence_of(store, str(index)).entry for index in (3, 17, 64)]
    document = ProvDocument.deserialize(content=json.dumps(prov(entries, "a/log")), format="json")
    assert 3 == len(list(document.get_records(ProvActivity)))
    assert 5 == len(list(document.get_records(ProvEntity)))
    assert 2 == len(list(document.get_records(ProvAgent)))
    assert document == ProvDocument.deserialize(content=document.serialize(format="json"), format="json")


def test_a_cose_receipt_verifies_elsewhere(store: Snapshot) -> None:
    """Read by cbor2 and checked by cryptography: leaf and path give the root, and the log's key signed that root."""
    found = evidence_of(store, "77")
    raw = receipt(found.proof, found.checkpoint.size, found.checkpoint.root, NOTARY)
    tag = cbor2.loads(raw)
    protected, unprotected, payload, signature = tag.value
    assert (18, None) == (tag.tag, payload)
    assert {1: -8, 4: bytes.fromhex(NOTARY.key_id), 395: 1} == cbor2.loads(protected)
    [proof] = unprotected[396][-1]
    size, index, path = cbor2.loads(proof)
    root = stand_alone.climb(index, size, stand_alone.leaf_hash(found.leaf), path)
    signed = cbor2.dumps(["Signature1", protected, b"", root])
    Ed25519PublicKey.from_public_bytes(NOTARY.public).verify(signature, signed)
    assert (300, 77, cbor2.dumps(tag, canonical=True)) == (size, index, raw)


@FIXED
@given(st.integers(-(2**63), 2**63) | st.binary(max_size=300) | st.text(max_size=300))
def test_our_cbor_is_that_of_others(value: int | bytes | str) -> None:
    """What is written as CBOR is what cbor2 writes canonically and reads, in an array and as a map's value too."""
    whole = [value, {1: value}, None]
    assert cbor2.dumps(whole, canonical=True) == cbor(whole)
    assert {395: value, -1: [value], 4: None} == cbor2.loads(cbor({395: value, -1: [value], 4: None}))


# The command line


def test_a_bundle_from_the_command_line(folder: Path, tmp_path: Path, store: Snapshot) -> None:
    """Made, told how to check, verified by `audit verify` and by the verifier that `audit verifier` prints."""
    home, out = Home.at(tmp_path / "home"), tmp_path / "log.zip"
    made = home.run("audit", "bundle", str(out), str(folder))
    assert (0, "") == (made.code, made.err)
    printed = home.run("audit", "verifier")
    assert VERIFIER.read_text() == printed.out
    for digest in (blake3(VERIFIER.read_bytes()).hexdigest(), hashlib.sha256(VERIFIER.read_bytes()).hexdigest()):
        assert digest in made.out
        assert digest in printed.err
    assert 0 == home.run("audit", "verify", str(out), "--trust", fingerprint(store)).code
    (tmp_path / "verify.py").write_text(printed.out)
    [told] = home.run("audit", "verify", str(out), "--json").documents
    done = subprocess.run(
        [sys.executable, str(tmp_path / "verify.py"), str(out), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    theirs = json.loads(done.stdout)
    assert (told["exit"], told["root"], told["fingerprint"]) == (theirs["exit"], theirs["root"], theirs["fingerprint"])


def test_a_partial_bundle_from_the_command_line(folder: Path, tmp_path: Path) -> None:
    """By event and by subject, with the whole key lane; an event that is not signed is refused and leaves no file."""
    home, out = Home.at(tmp_path / "home"), tmp_path / "part.zip"
    made = home.run(
        "audit", "bundle", str(out), str(folder), "--event", "17", "--subject", "nervous.math.event.lane3.>"
    )
    assert 0 == made.code
    assert "partial" in made.out
    [told] = home.run("audit", "verify", str(out), "--json").documents
    assert (int(Exit.UNKNOWN_SIGNER), "signatures") == (told["exit"], told["mode"])
    assert told["limits"]
    refused = home.run("audit", "bundle", str(tmp_path / "no.zip"), str(folder), "--event", "4711")
    assert int(Exit.REFUSED) == refused.code
    assert "B013" in refused.err
    assert [] == list(tmp_path.glob("no.zip*"))


def test_what_does_not_verify_is_bundled_only_as_found(folder: Path, tmp_path: Path) -> None:
    """A changed log is refused by name and leaves no file; `--as-found` bundles it, and the bundle says so."""
    home, broken, out = Home.at(tmp_path / "home"), tmp_path / "broken", tmp_path / "log.zip"
    subprocess.run(["cp", "-r", str(folder), str(broken)], check=True)
    tile = broken / "tile" / "entries" / "000"
    raw = bytearray(tile.read_bytes())
    raw[40_000] ^= 1
    tile.write_bytes(raw)
    refused = home.run("audit", "bundle", str(out), str(broken))
    assert int(Exit.REFUSED) == refused.code
    assert "does not verify" in refused.err
    assert not out.exists()
    assert 0 == home.run("audit", "bundle", str(out), str(broken), "--as-found").code
    assert int(Exit.TAMPERED) == home.run("audit", "verify", str(out)).code == stand_alone.main([str(out)])


def test_a_proof_from_the_command_line(folder: Path, tmp_path: Path, store: Snapshot) -> None:
    """Proven, checked with the log's key, compared and exported; what is pending is refused."""
    home, proof = Home.at(tmp_path / "home"), tmp_path / "a.tlog-proof"
    assert 0 == home.run("audit", "prove", "17", str(folder), "--out", str(proof)).code
    assert 0 == home.run("audit", "check-proof", str(proof), "--log-key", str(log_key(store))).code
    assert 0 == stand_alone.main([str(proof), "--log-key", str(log_key(store)), "--json"])
    assert int(Exit.REFUSED) == home.run("audit", "prove", "4711", str(folder)).code
    assert 0 == home.run("audit", "diff", str(folder), str(folder)).code
    [exported] = home.run("audit", "export", "dsse", "17", str(folder), "--json").documents
    assert base64.b64decode(exported["payload"])
    [exported] = home.run("audit", "export", "prov", "nervous.>", str(folder), "--json").documents
    assert exported["activity"]


def test_events_read_back(store: Snapshot) -> None:
    """What a proof encloses is the entry itself, with its events."""
    found = evidence_of(store, "64")
    assert [event_id(f"64 {n}") for n in range(3)] == [read_event(raw).id for raw in found.sealed.events]


def test_a_living_log_is_shown_from_its_data_folder(tmp_path: Path) -> None:
    """What a notary signed is bundled, proven and received with no server, and verifies without the product."""
    home, out = Home.at(tmp_path / "home").without_records(), tmp_path / "log.zip"
    with home.up("--part", "organs.notary", "--part", "cells.math_cell") as up:
        assert 0 == home.run("ask", "2", "+", "3").code
        assert 0 == up.stop().code
    [made] = home.held("audit", "bundle", str(out), "--json").documents
    assert (True, "complete") == (made["sound"], made["kind"])
    assert 0 == stand_alone.main([str(out), "--trust", made["fingerprint"]])
    assert 0 == home.run("audit", "verify", "--trust", made["fingerprint"]).code
    last = str(made["size"] - 1)
    (tmp_path / "a.tlog-proof").write_text(home.held("audit", "prove", last).out)
    assert 0 == stand_alone.main([str(tmp_path / "a.tlog-proof"), "--log-key", made["log_key"]])
    [told] = home.held("audit", "export", "cose", last, "--json").documents
    assert 18 == cbor2.loads(base64.b64decode(told["receipt"])).tag
    assert int(Exit.REFUSED) == home.run("audit", "prove", str(made["size"])).code
    assert 0 == home.run("audit", "diff", str(out)).code
