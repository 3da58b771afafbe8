"""A bundle shows a log offline; whatever is done to it is named, by the product and the stand-alone verifier alike."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import io
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.audit import FolderSource, Options, Report, Snapshot, verify, verify_bundle, write_bundle
from shared.audit.stand_alone import verify as stand_alone
from shared.audit.zipped import write_zip
from shared.envelope import leaf_of
from shared.errors import Exit
from shared.keys import LocalSigner
from shared.log import Entry
from shared.log.checkpoint import Checkpoint
from shared.log.note import COSIGNATURE, Note, NoteKey, cosign
from shared.log.store import MemoryTiles
from shared.log.tiles import TileWriter, bundle, unbundle
from shared.log.tree import consistency_proof, leaf_hash, nodes_of
from tests.forge import (
    ADA,
    BOB,
    CYD,
    KEYS_LANE,
    PLAIN,
    Log,
    epoch,
    genesis,
    introduced,
    roots,
    rotated,
    signer,
    subject_of,
)
from tests.logs import NOTARY, NOW_S, SIGNED_S, kept, told

pytestmark = pytest.mark.spec("X-04", "X-12")
FIXED = settings(max_examples=200)
ENTRIES = "tile/entries/000"
Members = dict[str, bytes]


@dataclass(frozen=True)
class Made:
    """A bundle, and the fingerprint to trust."""

    raw: bytes
    fingerprint: str

    @property
    def members(self) -> Members:
        """Its members."""
        with zipfile.ZipFile(io.BytesIO(self.raw)) as zipped:
            return {name: zipped.read(name) for name in zipped.namelist()}


def made_of(
    log: Log, *, signed_s: int = SIGNED_S, indices: list[int] | None = None, notary: LocalSigner = NOTARY
) -> Made:
    """The bundle of a log, made from its folder."""
    with tempfile.TemporaryDirectory() as folder:
        store = Snapshot(kept(log, Path(folder), signed_s=signed_s, notary=notary).tiles)
        report = asyncio.run(verify(FolderSource(store, "the folder")))
        file = io.BytesIO()
        write_bundle(file, store, report, [("anchors/one.ots", b"proof")], indices)
        return Made(file.getvalue(), report.fingerprint)


@functools.cache
def whole() -> Made:
    """The bundle of a log of 300 entries."""
    return made_of(told(300))


@functools.cache
def partial() -> Made:
    """A bundle of a few of them, with every entry of the key lane."""
    return made_of(told(300), indices=[0, 1, 2, 3, 17, 150, 200, 290])


@functools.cache
def other() -> Made:
    """The bundle of another log."""
    return made_of(another_genesis())


def another_genesis() -> Log:
    """A log of the same keys with another genesis."""
    log = Log()
    messages = (genesis(threshold=1), introduced("ada's", ADA), introduced("notary's", CYD, "notary", ()))
    for message in messages:
        assert log.key_event(message, *roots(ADA, BOB)).refusal is None
    for n in range(5):
        assert log.say(PLAIN, f"{n}", signer("ada's")).refusal is None
    return log


def relisted(members: Members, **changes: object) -> bytes:
    """A bundle of these members whose manifest lists them as they are now: what a careful forger makes."""
    manifest = {**json.loads(members["manifest.json"]), **changes}
    rest = {name: data for name, data in members.items() if name != "manifest.json"}
    manifest["members"] = [
        {"name": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in rest.items()
    ]
    return zipped({"manifest.json": (json.dumps(manifest, indent=1) + "\n").encode(), **rest})


def zipped(members: Members) -> bytes:
    """A bundle's zip of these members."""
    file = io.BytesIO()
    write_zip(file, members.items())
    return file.getvalue()


def both(  # noqa: PLR0913 - what an auditor may want to know
    raw: bytes,
    trust: str | None,
    *,
    now_s: int = NOW_S,
    max_age_s: int | None = None,
    against: tuple[bytes, ...] = (),
    witnesses: tuple[NoteKey, ...] = (),
    quorum: int = 0,
) -> Report:
    """What the product finds, after the stand-alone verifier has found the same: exit code, and first bad event."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.zip"
        path.write_bytes(raw)
        options = Options(
            trust=trust, now_s=now_s, max_age_s=max_age_s, against=against, witnesses=witnesses, quorum=quorum
        )
        ours = asyncio.run(verify_bundle(path, options))
        keys = tuple(stand_alone.verifier_key(str(key)) for key in witnesses)
        theirs = stand_alone.audit_bundle(path, stand_alone.Wanted(trust, against, now_s, max_age_s, keys, quorum))
    place = (ours.first_bad.index, ours.first_bad.offset) if ours.first_bad else None
    assert (int(ours.exit), place) == (
        theirs.exit,
        (theirs.first_bad["index"], theirs.first_bad["offset"]) if theirs.first_bad else None,
    ), (ours.as_json(), vars(theirs))
    assert (ours.entries, ours.events, ours.fingerprint) == (theirs.entries, theirs.events, theirs.fingerprint)
    return ours


# What a bundle is


@pytest.mark.parametrize("made", [whole, partial], ids=["complete", "partial"])
def test_a_bundle_verifies(made: Callable[[], Made]) -> None:
    """Product and stand-alone verifier accept a bundle for the genesis it is of; without one, the signer is unknown."""
    assert Exit.OK is both(made().raw, made().fingerprint).exit
    assert Exit.UNKNOWN_SIGNER is both(made().raw, None).exit
    assert Exit.WRONG_SIGNER is both(made().raw, "00" * 32).exit


def test_the_same_log_makes_the_same_bytes() -> None:
    """Two bundles of one log under one checkpoint are one file, whoever makes them."""
    assert whole().raw == made_of(told(300)).raw


def test_other_tools_open_a_bundle() -> None:
    """Python's zipfile finds every member whole, the manifest first, and the verifier among them is the published."""
    with zipfile.ZipFile(io.BytesIO(whole().raw)) as opened:
        assert (None, "manifest.json") == (opened.testzip(), opened.namelist()[0])
    published = Path(stand_alone.__file__).read_bytes()
    assert (published, b"proof") == (whole().members["verify.py"], whole().members["anchors/one.ots"])
    assert 15 >= len(whole().members["README.txt"].splitlines())


def test_the_verifier_in_the_bundle_runs_by_itself(tmp_path: Path) -> None:
    """The file out of the zip, started with no path to the product, verifies the zip it came from."""
    (tmp_path / "verify.py").write_bytes(whole().members["verify.py"])
    (tmp_path / "a.zip").write_bytes(whole().raw)
    command = [sys.executable, "verify.py", "a.zip", "--json", "--trust", whole().fingerprint]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)
    assert (300, True) == (json.loads(done.stdout)["entries"], json.loads(done.stdout)["ok"])


def test_an_unpacked_bundle_is_a_log_folder(tmp_path: Path) -> None:
    """Whoever unpacks a bundle has a folder of tiles that both verify."""
    with zipfile.ZipFile(io.BytesIO(whole().raw)) as opened:
        opened.extractall(tmp_path)
    ours = asyncio.run(verify(FolderSource.at(tmp_path), Options(trust=whole().fingerprint, now_s=NOW_S)))
    theirs = stand_alone.audit_folder(tmp_path, stand_alone.Wanted(whole().fingerprint, now_s=NOW_S))
    assert (Exit.OK, 0, ours.root) == (ours.exit, theirs.exit, theirs.root)


def test_a_partial_bundle_says_what_it_cannot_show() -> None:
    """Its verdict is of signatures, and names what is between the chosen entries as not shown."""
    report = both(partial().raw, partial().fingerprint)
    assert ("signatures", 8) == (report.mode, report.entries)
    assert "a later key event" in report.limits


# What is done to it


def leaf_changed(members: Members, at: int, change: Callable[[bytes], bytes]) -> Members:
    """The members with one leaf of the first tile changed."""
    leaves = unbundle(members[ENTRIES], ENTRIES)
    leaves[at] = change(leaves[at])
    return {**members, ENTRIES: bundle(leaves)}


def flipped(raw: bytes, at: int = -1) -> bytes:
    """Bytes with one bit changed."""
    place = at % len(raw)
    return raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]


def resigned(members: Members, size: int, root: bytes | None = None, *, time_s: int = SIGNED_S) -> bytes:
    """A checkpoint by the log's own key that says something else."""
    said = Checkpoint.parse(Note.parse(members["checkpoint"]).text)
    return str(Checkpoint(said.origin, size, root or said.root).signed(NOTARY, time_s)).encode()


def without(members: Members, *names: str) -> Members:
    """Members without some."""
    return {name: data for name, data in members.items() if name not in names}


#: What is done: the bytes it makes of the bundle, the verdict, the first bad index.
ATTACKS: dict[str, tuple[Callable[[Members], bytes], Exit, int | None]] = {
    "a leaf changed": (lambda m: zipped(leaf_changed(m, 77, flipped)), Exit.TAMPERED, 77),
    "a leaf changed and listed anew": (lambda m: relisted(leaf_changed(m, 77, flipped)), Exit.TAMPERED, 77),
    "a leaf's time changed": (lambda m: relisted(leaf_changed(m, 5, lambda b: flipped(b, 0))), Exit.TAMPERED, 5),
    "a leaf cut short": (lambda m: relisted(leaf_changed(m, 9, lambda b: b[:-1])), Exit.TAMPERED, 9),
    "a tile's hash changed": (
        lambda m: zipped({**m, "tile/0/000": flipped(m["tile/0/000"], 32 * 40)}),
        Exit.TAMPERED,
        40,
    ),
    "the last tile changed": (
        lambda m: relisted({**m, "tile/0/001.p/44": flipped(m["tile/0/001.p/44"])}),
        Exit.TAMPERED,
        299,
    ),
    "the checkpoint changed": (
        lambda m: zipped({**m, "checkpoint": flipped(m["checkpoint"], 60)}),
        Exit.TAMPERED,
        None,
    ),
    "the checkpoint changed and listed": (
        lambda m: relisted({**m, "checkpoint": m["checkpoint"].replace(b"\n300\n", b"\n299\n")}),
        Exit.WRONG_SIGNER,
        None,
    ),
    "the readme changed": (lambda m: zipped({**m, "README.txt": flipped(m["README.txt"])}), Exit.TAMPERED, None),
    "no manifest": (lambda m: zipped(without(m, "manifest.json")), Exit.TAMPERED, None),
    "a member missing": (lambda m: zipped(without(m, "tile/entries/001.p/44")), Exit.TRUNCATED, None),
    "a member missing and not listed": (lambda m: relisted(without(m, "tile/entries/001.p/44")), Exit.INCOMPLETE, None),
    "no checkpoint": (lambda m: relisted(without(m, "checkpoint")), Exit.INCOMPLETE, None),
    "a member more": (lambda m: zipped({**m, "anchors/two.ots": b""}), Exit.ENLARGED, None),
    "a tile more": (lambda m: relisted({**m, "tile/0/002.p/9": bytes(32 * 9)}), Exit.ENLARGED, None),
    "a leaf more": (
        lambda m: relisted({**m, "tile/entries/001.p/44": m["tile/entries/001.p/44"] + b"\0\1x"}),
        Exit.ENLARGED,
        None,
    ),
    "bytes behind the end": (lambda m: zipped(m) + b"\0", Exit.ENLARGED, None),
    "the end cut off": (lambda m: zipped(m)[:-1], Exit.TRUNCATED, None),
    "half of it": (lambda m: zipped(m)[: len(zipped(m)) // 2], Exit.TRUNCATED, None),
    "nothing": (lambda _: b"", Exit.TRUNCATED, None),
    "no zip": (lambda _: b"hello, world", Exit.TAMPERED, None),
    "another log's checkpoint": (
        lambda m: relisted({**m, "checkpoint": other().members["checkpoint"]}),
        Exit.MIXED,
        None,
    ),
    "another log's keys": (lambda m: relisted({**m, "keys.json": other().members["keys.json"]}), Exit.MIXED, None),
    "another log's name": (lambda m: relisted(m, origin="nimmerverse/dev/other"), Exit.MIXED, None),
    "another fingerprint": (lambda m: relisted(m, fingerprint="00" * 32), Exit.MIXED, None),
    "signed by nobody": (
        lambda m: relisted({**m, "checkpoint": m["checkpoint"].partition(b"\n\n")[0] + b"\n\n"}),
        Exit.TAMPERED,
        None,
    ),
    "signed by a stranger": (
        lambda m: relisted(
            {
                **m,
                "checkpoint": str(
                    Checkpoint.parse(Note.parse(m["checkpoint"]).text).signed(signer("stranger"), SIGNED_S)
                ).encode(),
            }
        ),
        Exit.WRONG_SIGNER,
        None,
    ),
    "signed for another root": (
        lambda m: relisted({**m, "checkpoint": resigned(m, 300, bytes(32))}),
        Exit.TAMPERED,
        0,
    ),
    "signed in the future": (
        lambda m: relisted({**m, "checkpoint": resigned(m, 300, time_s=NOW_S + 3_600)}, signed_at_s=NOW_S + 3_600),
        Exit.FUTURE,
        None,
    ),
}


def expected(attack: str) -> tuple[Exit, int | None]:
    """The verdict of an attack."""
    return ATTACKS[attack][1:]


@pytest.mark.parametrize("attack", ATTACKS)
def test_each_attack_has_its_verdict(attack: str) -> None:
    """Cut, enlarged, mixed, forged or aged: each has its own exit code and names the first bad entry; both agree."""
    report = both(ATTACKS[attack][0](whole().members), whole().fingerprint)
    assert expected(attack) == (report.exit, report.first_bad.index if report.first_bad else None), report.lines()


def test_paths_and_duplicates_are_refused(tmp_path: Path) -> None:
    """A member that climbs out of the folder, an absolute one, one named twice, and a compressed one: all refused."""
    for name in ("../evil", "/etc/evil", "tile/0/000\0", "tile/../../evil"):
        raw = whole().raw.replace(b"anchors/one.ots", name.encode().ljust(15, b"x"))
        assert Exit.ENLARGED is both(raw, None).exit
    assert Exit.ENLARGED is both(whole().raw.replace(b"README.txt", b"checkpoint"), None).exit
    deflated = io.BytesIO()
    with zipfile.ZipFile(deflated, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("manifest.json", bytes(10_000_000))
    assert Exit.TAMPERED is both(deflated.getvalue(), None).exit


def test_an_old_bundle_is_stale() -> None:
    """With `--max-age` a checkpoint that is older ends with its own code."""
    made = whole()
    assert Exit.STALE is both(made.raw, made.fingerprint, max_age_s=30).exit
    assert Exit.OK is both(made.raw, made.fingerprint, max_age_s=90).exit


def test_a_checkpoint_that_was_kept_holds_the_log() -> None:
    """Against an earlier checkpoint the log goes on; one that the log's key signed for other entries is a fork."""
    made, earlier = made_of(told(40)), made_of(begun(told(40), 30)).members["checkpoint"]
    assert Exit.OK is both(made.raw, made.fingerprint, against=(earlier,)).exit
    forged = resigned(made.members, 30, bytes(32))
    report = both(made.raw, made.fingerprint, against=(forged,))
    assert (Exit.FORKED, 30) == (report.exit, report.first_bad.index if report.first_bad else None)
    assert Exit.TAMPERED is both(made.raw, made.fingerprint, against=(b"no note",)).exit
    later = resigned(made.members, 50)
    assert Exit.INCOMPLETE is both(made.raw, made.fingerprint, against=(later,)).exit


def test_witnesses_are_counted() -> None:
    """A quorum of witnesses is there or is not; a line in a witness's name that is not its own discredits the note."""
    made, (one, two) = whole(), (signer("one"), signer("two"))
    note = Note.parse(made.members["checkpoint"])
    keys = (NoteKey("one", COSIGNATURE, one.public), NoteKey("two", COSIGNATURE, two.public))
    seen = str(note.with_lines([cosign("one", note.text, one, SIGNED_S)])).encode()
    raw = relisted({**made.members, "checkpoint": seen})
    assert Exit.OK is both(raw, made.fingerprint, witnesses=keys, quorum=1).exit
    assert Exit.WRONG_SIGNER is both(raw, made.fingerprint, witnesses=keys, quorum=2).exit
    forged = cosign("two", "another text", two, SIGNED_S)
    lied = str(note.with_lines([forged])).encode()
    report = both(relisted({**made.members, "checkpoint": lied}), made.fingerprint, witnesses=keys)
    assert (Exit.WRONG_SIGNER, False) == (report.exit, report.integrity.ok)


def test_a_named_loss_is_no_tampering() -> None:
    """After an epoch the log is of a new name, and what a kept checkpoint committed to beyond it is known as lost."""
    old = made_of(told(40)).members["checkpoint"]
    made = made_of(after_a_loss(begun(told(40), 30), old.decode(), proof_of(told(40), 30, 40)))
    report = both(made.raw, made.fingerprint)
    assert (Exit.OK, 32) == (report.exit, report.entries)
    assert report.origin.endswith("/2")
    known = both(made.raw, made.fingerprint, against=(old,))
    assert (Exit.LOST, (30, 39)) == (known.exit, known.missing)
    assert "cannot show" not in known.completeness.detail
    between = made_of(begun(told(40), 35)).members["checkpoint"]
    unsure = both(made.raw, made.fingerprint, against=(between,))
    assert (Exit.LOST, (30, 34)) == (unsure.exit, unsure.missing)
    assert "cannot show" in unsure.completeness.detail
    before = made_of(begun(told(40), 25)).members["checkpoint"]
    assert Exit.OK is both(made.raw, made.fingerprint, against=(before,)).exit
    rewritten = resigned(made_of(told(40)).members, 40, bytes(32))
    assert Exit.FORKED is both(made.raw, made.fingerprint, against=(rewritten,)).exit


def test_an_epoch_goes_on_from_the_checkpoint_it_names() -> None:
    """A loss is named by a checkpoint of the log itself, which the entries before it begin: else the log was rewritten.

    A checkpoint over fewer entries than remain does as well, where the newer one is gone with the disk.
    """
    true, proof = told(40), proof_of(told(40), 30, 40)
    old = made_of(true).members["checkpoint"].decode()
    earlier = made_of(begun(true, 20)).members["checkpoint"].decode()
    stranger = other().members["checkpoint"].decode()
    forged = resigned(made_of(true).members, 40, bytes(32)).decode()
    rewritten = Log()
    for entry in true.entries[:5]:
        assert rewritten.put(entry).refusal is None
    while rewritten.index < 30:
        assert rewritten.say(PLAIN, f"another {rewritten.index}", signer("ada's")).refusal is None
    cases = [
        (begun(true, 30), old, proof, Exit.OK),
        (begun(true, 30), earlier, proof_of(true, 20, 30), Exit.OK),
        (begun(true, 30), earlier, proof, Exit.TAMPERED),
        (begun(true, 30), "", [], Exit.OK),
        (begun(true, 30), "a note", [], Exit.TAMPERED),
        (begun(true, 30), old.replace("\n", "/no-number\n", 1), proof, Exit.TAMPERED),
        (begun(true, 30), old.replace("\n", "/2\n", 1), proof, Exit.TAMPERED),
        (begun(true, 30), old.replace("\n", "/1\n", 1), proof, Exit.TAMPERED),
        (begun(true, 30), old, [], Exit.TAMPERED),
        (begun(true, 30), old, proof[:-1], Exit.TAMPERED),
        (begun(true, 30), old, [*proof, bytes(32)], Exit.TAMPERED),
        (begun(true, 30), old, [bytes(31)], Exit.TAMPERED),
        (begun(true, 30), stranger, proof, Exit.TAMPERED),
        (begun(true, 30), forged, proof, Exit.TAMPERED),
        (rewritten, old, proof, Exit.TAMPERED),
    ]
    for number, (log, note, path, exit_code) in enumerate(cases):
        made = made_of(after_a_loss(log, note, path))
        report = both(made.raw, made.fingerprint)
        assert exit_code is report.exit, number
        if exit_code is not Exit.OK:
            assert report.first_bad is not None
            assert 30 == report.first_bad.index


def test_a_key_that_ended_after_a_loss_had_signed_before_it() -> None:
    """The log's key is changed after the loss, below the size it had signed: its old checkpoint is still its own."""
    old = made_of(told(40)).members["checkpoint"]
    log = after_a_loss(begun(told(40), 30), old.decode(), proof_of(told(40), 30, 40))
    changed = rotated("notary's", "notary's second")
    assert log.key_event(changed, signer("notary's"), source="notary").refusal is None
    made = made_of(log, notary=signer("notary's second"))
    assert Exit.OK is both(made.raw, made.fingerprint).exit
    assert Exit.LOST is both(made.raw, made.fingerprint, against=(old,)).exit


def test_an_old_checkpoint_does_not_cover_a_rewritten_log() -> None:
    """Naming a loss early on does not free the log from its own checkpoint: every entry under it is rewritten here."""
    true = told(40)
    log = begun(true, 4)
    assert log.key_event(epoch(2, 4, 10**9), *roots(ADA, BOB)).refusal is None
    while log.index < 40:
        assert log.say(PLAIN, f"rewritten {log.index}", signer("ada's")).refusal is None
    members = made_of(log).members
    members["checkpoint"] = made_of(true).members["checkpoint"]
    origin = Note.parse(members["checkpoint"]).text.partition("\n")[0]
    assert Exit.TAMPERED is both(relisted(members, origin=origin), made_of(true).fingerprint).exit


def after_a_loss(log: Log, note: str, proof: list[bytes]) -> Log:
    """The log goes on in a second epoch, by this checkpoint."""
    assert log.key_event(epoch(2, log.index, 39, note, proof), *roots(ADA, BOB)).refusal is None
    known = log.prefix.keys.keys
    both_keys = (signer("ada's"), signer("ada's second"))
    key = next(key for key in both_keys if key.key_id in known and known[key.key_id].valid_at(log.index))
    assert log.say(PLAIN, "after", key, entity="after").refusal is None
    return log


def proof_of(log: Log, old: int, new: int) -> list[bytes]:
    """The proof that the tree of `new` entries goes on from the one of `old`."""
    return consistency_proof(nodes_of([leaf_hash(leaf_of(entry)) for entry in log.entries[:new]]), old, new)


def begun(log: Log, count: int) -> Log:
    """The beginning of a log."""
    found = Log()
    for entry in log.entries[:count]:
        assert found.put(entry).refusal is None
    return found


@functools.cache
def tall() -> Made:
    """The bundle of a log with more than 256 full tiles, most of it garbage that was stored and refused."""
    log = told(30)
    garbage = [Entry(index, subject_of(PLAIN), (SIGNED_S - 1) * 10**9, b"no") for index in range(30, 66_000)]
    log.entries += garbage
    return made_of(log)


def test_an_inner_tile_is_compared_too() -> None:
    """Where a tile has tiles above it, a changed hash up there is found by both, with the first entry under it."""
    assert Exit.VOID is both(tall().raw, tall().fingerprint).exit
    changed = {**tall().members, "tile/1/000": flipped(tall().members["tile/1/000"], 32 * 7)}
    report = both(relisted(changed), tall().fingerprint)
    assert (Exit.TAMPERED, 7 * 256) == (report.exit, report.first_bad.index if report.first_bad else None)


#: The same for a partial bundle.
PARTIAL: dict[str, tuple[Callable[[Members], bytes], Exit, int | None]] = {
    "a leaf changed": (lambda m: zipped({**m, "leaf/200": flipped(m["leaf/200"])}), Exit.TAMPERED, 200),
    "a leaf changed and listed": (lambda m: relisted({**m, "leaf/200": flipped(m["leaf/200"])}), Exit.BAD_PROOF, 200),
    "another leaf": (lambda m: relisted({**m, "leaf/17": m["leaf/200"]}), Exit.BAD_PROOF, 17),
    "a leaf missing": (lambda m: relisted(without(m, "leaf/17")), Exit.INCOMPLETE, None),
    "a leaf not chosen": (lambda m: relisted({**m, "leaf/18": m["leaf/17"]}), Exit.ENLARGED, None),
    "a tile missing": (lambda m: relisted(without(m, "tile/0/000")), Exit.INCOMPLETE, None),
    "a tile changed": (lambda m: relisted({**m, "tile/0/000": flipped(m["tile/0/000"])}), Exit.BAD_PROOF, 0),
    "a key event left out": (
        lambda m: relisted(without(m, "leaf/3"), indices=[0, 1, 2, 17, 150, 200, 290]),
        Exit.WRONG_SIGNER,
        150,
    ),
    "the rotation left out": (
        lambda m: relisted(without(m, "leaf/150"), indices=[0, 1, 2, 3, 17, 200, 290]),
        Exit.MIXED,
        200,
    ),
}


@pytest.mark.parametrize("attack", PARTIAL)
def test_each_attack_on_a_partial_bundle_has_its_verdict(attack: str) -> None:
    """A leaf or path that does not lead to the root is a bad proof; a key event left out shows in what rests on it."""
    report = both(PARTIAL[attack][0](partial().members), partial().fingerprint)
    assert PARTIAL[attack][1:] == (report.exit, report.first_bad.index if report.first_bad else None), report.lines()


# Both verifiers agree on anything


@FIXED
@given(st.data())
def test_both_agree_on_mutated_bundles(data: st.DataObject) -> None:
    """Whatever bytes are changed, cut or put in, in the file or behind a manifest made to fit, both say the same."""
    made = data.draw(st.sampled_from([small(), partial()]))
    trust = data.draw(st.sampled_from([None, made.fingerprint]))
    if data.draw(st.booleans()):
        both(mutated(made.raw, data), trust)
        return
    members = made.members
    for name in data.draw(st.lists(st.sampled_from(sorted(members)), min_size=1, max_size=2)):
        members[name] = mutated(members[name], data)
    if "manifest.json" in members and members["manifest.json"] == made.members["manifest.json"]:
        both(relisted(members), trust)
    else:
        both(zipped(members), trust)


@FIXED
@given(st.data())
def test_both_agree_on_mutated_folders(data: st.DataObject) -> None:
    """The same of a folder of tiles: files gone, cut, changed, put in each other's place."""
    files = {name: raw for name, raw in small().members.items() if name == "checkpoint" or name.startswith("tile/")}
    for name in data.draw(st.lists(st.sampled_from(sorted(files)), max_size=3)):
        match data.draw(st.sampled_from(["gone", "changed", "another's"])):
            case "gone":
                files.pop(name, None)
            case "changed":
                files[name] = mutated(files.get(name, b""), data)
            case _:
                files[name] = files.get(data.draw(st.sampled_from(sorted(small().members))), b"")
    store = MemoryTiles()
    store.files = files
    ours = asyncio.run(verify(FolderSource(store, "memory"), Options(trust=small().fingerprint, now_s=NOW_S)))
    audit = stand_alone.Audit(files.get, stand_alone.Wanted(small().fingerprint, now_s=NOW_S))
    audit.read_complete()
    theirs = audit.conclude()
    place = ours.first_bad.index if ours.first_bad else None
    assert (int(ours.exit), place) == (theirs.exit, theirs.first_bad["index"] if theirs.first_bad else None)
    assert (ours.entries, ours.missing) == (theirs.entries, theirs.missing)


SUBJECTS = st.sampled_from(
    [subject_of(PLAIN), subject_of(PLAIN, "lane0"), f"{KEYS_LANE}.genesis", "dev.x", "", "a.b.event"]
)


@st.composite
def leaves(draw: st.DrawFn) -> bytes:
    """A leaf of any kind: an entry's own, one behind a subject, one spoiled, garbage."""
    real = [bundled for bundled in unbundle(small().members["tile/entries/000.p/20"], "") if len(bundled) < 3_000]
    raw = draw(st.sampled_from(real))[8:] if draw(st.booleans()) else draw(st.binary(max_size=60))
    time = draw(st.sampled_from([draw(st.sampled_from(real))[:8], bytes(8), b"\xff" * 8, b""]))
    if draw(st.booleans()):
        subject = draw(SUBJECTS).encode() if draw(st.booleans()) else draw(st.binary(max_size=6))
        length = len(subject) + draw(st.sampled_from([0, 0, 0, 1, -1]))
        raw = b"\xc1" + (length % 65_536).to_bytes(2, "big") + subject + raw
    return time + raw


@FIXED
@given(st.lists(leaves(), min_size=1, max_size=4), st.integers(0, 20))
def test_both_agree_on_whatever_the_log_signed(more: list[bytes], keep: int) -> None:
    """A log's own key may sign any leaves; both judge them alike, and name the same first bad one."""
    store = MemoryTiles()
    writer = TileWriter(store)
    writer.extend(unbundle(small().members["tile/entries/000.p/20"], "")[:keep] + more)
    writer.seal()
    said = Checkpoint.parse(Note.parse(small().members["checkpoint"]).text)
    note = str(Checkpoint(said.origin, writer.size, writer.root()).signed(NOTARY, SIGNED_S))
    store.put("checkpoint", note.encode())
    ours = asyncio.run(verify(FolderSource(store, "memory"), Options(trust=small().fingerprint, now_s=NOW_S)))
    audit = stand_alone.Audit(store.get, stand_alone.Wanted(small().fingerprint, now_s=NOW_S))
    audit.read_complete()
    theirs = audit.conclude()
    place = (ours.first_bad.index, ours.first_bad.offset) if ours.first_bad else None
    assert (int(ours.exit), place) == (
        theirs.exit,
        (theirs.first_bad["index"], theirs.first_bad["offset"]) if theirs.first_bad else None,
    )
    codes = {bad.index: bad.reason[:4] for bad in ours.void}
    assert (ours.entries, ours.events, sorted(codes)) == (theirs.entries, theirs.events, sorted(set(theirs.void)))


class Moving(MemoryTiles):
    """A store whose notary goes on between any two reads."""

    def __init__(self, states: list[dict[str, bytes]]) -> None:
        super().__init__()
        self.states = states

    def get(self, path: str) -> bytes | None:
        found = self.states[0].get(path)
        if len(self.states) > 1:
            del self.states[0]
        return found


def test_a_snapshot_stands_still_while_the_notary_goes_on() -> None:
    """Tiles at the edge that are replaced between two reads do not tear what is read."""
    states = [made_of(told(20 + n)).members for n in range(4)]
    report = asyncio.run(verify(FolderSource(Snapshot(Moving(states)), "moving")))
    assert (True, True, 23) == (report.integrity.ok, report.completeness.ok, report.entries)


@functools.cache
def small() -> Made:
    """The bundle of a log of 20 entries."""
    return made_of(told(20))


def mutated(raw: bytes, data: st.DataObject) -> bytes:
    """Bytes with a few changes of every kind."""
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(0, len(raw) - 1)))
        match data.draw(st.sampled_from(["flip", "cut", "drop", "put", "move"])):
            case "flip":
                raw = raw[:at] + bytes([data.draw(st.integers(0, 255))]) + raw[at + 1 :]
            case "cut":
                raw = raw[:at]
            case "drop":
                raw = raw[:at] + raw[at + data.draw(st.integers(1, 40)) :]
            case "put":
                raw = raw[:at] + data.draw(st.binary(min_size=1, max_size=8)) + raw[at:]
            case _:
                end = at + data.draw(st.integers(1, 64))
                raw = raw[:at] + raw[end:] + raw[at:end]
    return raw


# The stand-alone verifier's own MessagePack

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=300) | st.binary(max_size=300),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=9), inner, max_size=20),
    max_leaves=30,
)


#: Around every length at which MessagePack's header changes.
EDGES = [unit * (n + d) for unit in ("x", b"x", [0]) for n in (16, 32, 256, 65_536) for d in (-1, 0)]
EDGES += [{str(key): key for key in range(n)} for n in (15, 16)]


@pytest.mark.spec("X-13")
@FIXED
@example(EDGES)
@given(VALUES)
def test_it_writes_and_reads_what_the_msgpack_package_does(value: Any) -> None:  # noqa: ANN401 - any value
    """Its own MessagePack is that of the plain `msgpack` package, both ways."""
    assert msgpack.packb(value) == stand_alone.pack(value)
    assert value == stand_alone.unpack(stand_alone.pack(value))


@pytest.mark.spec("X-13")
@FIXED
@given(st.binary(max_size=40))
def test_it_reads_nothing_that_is_not_canonical(raw: bytes) -> None:
    """Any bytes are either refused, or are what the plain `msgpack` package would write for the same value."""
    try:
        value = stand_alone.unpack(raw)
    except stand_alone.No:
        return
    assert raw == msgpack.packb(value)


@pytest.mark.spec("X-13")
def test_it_imports_nothing_of_the_product() -> None:
    """The stand-alone verifier imports the standard library, blake3 and nacl, and nothing else."""
    found = subprocess.run(
        [sys.executable, "-X", "importtime", stand_alone.__file__, "--help"], capture_output=True, text=True, check=True
    )
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in found.stderr.splitlines()}
    assert {"blake3", "nacl"} <= loaded
    assert set() == loaded & {"shared", "deploy", "organs", "nerves", "cells", "msgpack", "msgspec"}
