"""An auditor believes no tile that does not lead to the signed root."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

from shared.audit.evidence import check_proof
from shared.audit.reading import Options
from shared.audit.source import FolderSource
from shared.audit.stand_alone import verify as stand_alone
from shared.audit.verify import verify
from shared.envelope import fingerprint_of, leaf_of
from shared.envelope.keybook import NOTARY_PART
from shared.errors import Exit
from shared.log.checkpoint import Checkpoint, origin_of
from shared.log.store import FolderTiles, MemoryTiles
from shared.log.tiles import CHECKPOINT, TileWriter, bundle, unbundle
from shared.subjects.keys import Grant
from tests.commands import Home
from tests.forge import ADA, BOB, CYD, ENV, PLAIN, START_MS, Log, epoch, genesis, introduced, roots, signer
from tests.logs import NOW_S, kept, told

pytestmark = pytest.mark.spec("X-04")

SIZE, VOID = 300, 290


def signed() -> MemoryTiles:
    """The tiles of a signed log of which one late entry is void."""
    log, tiles = Log(), MemoryTiles()
    notary = introduced("the notary's", BOB, NOTARY_PART, [Grant(f"{ENV}.system.notary.event.*.>")])
    for message in (genesis(), notary, introduced("ada's", ADA)):
        log.key_event(message, *roots(ADA, BOB))
    while log.index < SIZE:
        log.say(PLAIN, f"event {log.index}", signer("stranger" if log.index == VOID else "ada's"))
    writer = TileWriter(tiles)
    writer.extend([leaf_of(entry) for entry in log.entries])
    writer.seal()
    origin = origin_of(ENV, fingerprint_of(bytes(log.verdicts[0].events[0].data)), 1)
    note = Checkpoint(origin, SIZE, writer.root()).signed(signer("the notary's"), START_MS // 1_000)
    tiles.put(CHECKPOINT, str(note).encode())
    return tiles


def test_a_changed_hash_hides_nothing() -> None:
    """Of a log with one bit changed in any tile of hashes, every entry is still judged, and that is named."""
    sound = signed()
    report = asyncio.run(verify(FolderSource(sound, "the log")))
    assert (Exit.VOID, [VOID]) == (report.exit, [bad.index for bad in report.void])
    for path in ("tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1"):
        tiles = MemoryTiles()
        tiles.files = dict(sound.files)
        tiles.files[path] = bytes([tiles.files[path][0] ^ 1]) + tiles.files[path][1:]
        report = asyncio.run(verify(FolderSource(tiles, "the log")))
        assert (Exit.TAMPERED, [VOID]) == (report.exit, [bad.index for bad in report.void]), path


@pytest.mark.parametrize("index", [0, 1, 2, 5])
def test_the_first_changed_entry_is_named_wherever_it_stands(index: int, tmp_path: Path) -> None:
    """One byte changed in the genesis, a key's introduction or a decision: the tiles say which entry it is."""
    shelf = kept(told(40), tmp_path)
    assert shelf.tiles.get("tile/entries/000.p/40")
    file = tmp_path / "tiles/tile/entries/000.p/40"
    leaves = [bytearray(leaf) for leaf in unbundle(file.read_bytes(), "")]
    leaves[index][-1] ^= 1
    file.write_bytes(bundle([bytes(leaf) for leaf in leaves]))
    trust = told(40).prefix.keys.fingerprint
    ours = asyncio.run(verify(FolderSource(shelf.tiles, "the log"), Options(trust=trust)))
    theirs = stand_alone.audit_folder(tmp_path / "tiles", stand_alone.Wanted(trust))
    assert ours.first_bad is not None
    assert theirs.first_bad is not None
    assert (Exit.TAMPERED, index) == (ours.exit, ours.first_bad.index)
    assert (Exit.TAMPERED, index) == (theirs.exit, theirs.first_bad["index"])


@dataclass(frozen=True)
class Forger:
    """Signs in the name of a key that it does not have."""

    key_id: str
    public: bytes

    def sign(self, message: bytes) -> bytes:
        """What it writes in a signature's place."""
        return bytes(64 * (len(message) > 0))


def test_what_was_proven_before_counts_under_the_same_root_alone(tmp_path: Path) -> None:
    """Signatures are skipped only under a root that was proven: a log of forged signatures is found out all the same.

    Its maker has the genuine genesis, no key, and an epoch that names everything after it as lost.
    """
    true, stranger = told(40), signer("a stranger")
    trust = true.prefix.keys.fingerprint
    shelf = kept(true, tmp_path / "true")
    old = shelf.tiles.get(CHECKPOINT)
    assert old is not None
    known = Options(trust=trust, against=(old,), skip_signatures_below=40)
    assert Exit.OK is asyncio.run(verify(FolderSource(shelf.tiles, "the log"), known)).exit
    forged = Log(proves=lambda *_: True)
    forged.put(true.entries[0])
    owners = [Forger(key.key_id, key.public) for key in roots(ADA, BOB)]
    for message in (
        epoch(2, 1, 10**9, old.decode(), []),
        introduced("notary's", CYD, NOTARY_PART, ()),
        introduced("a stranger", CYD, NOTARY_PART, ()),
        introduced("ada's", ADA),
    ):
        assert forged.key_event(message, *owners).refusal is None
    adas = Forger(signer("ada's").key_id, signer("ada's").public)
    while forged.index < 35:
        assert forged.say(PLAIN, f"forged {forged.index}", adas).refusal is None
    kept(forged, tmp_path / "forged", notary=stranger)
    source = FolderSource(FolderTiles(tmp_path / "forged/tiles"), "the log")
    for options in (known, Options(trust=trust, against=(old,)), Options(trust=trust)):
        report = asyncio.run(verify(source, options))
        assert report.exit not in (Exit.OK, Exit.LOST)
        assert 1 == report.void[0].index


def test_only_what_was_judged_has_a_mark(tmp_path: Path) -> None:
    """What was not asked is called not judged, to people and to programs; what was is marked."""
    shelf = kept(told(40), tmp_path)
    trust = told(40).prefix.keys.fingerprint
    source = FolderSource(shelf.tiles, "the log")
    links = asyncio.run(verify(source, Options(trust=trust, mode="links")))
    assert Exit.OK is links.exit
    marks = {line.split()[1]: line[0] for line in links.lines() if line[0] in "✓✗·"}
    assert {"integrity": "✓", "completeness": "✓", "freshness": "·", "admission": "·", "trust": "✓"} == marks
    full = asyncio.run(verify(source, Options(trust=trust, now_s=NOW_S, max_age_s=90))).as_json()
    assert all(full[name]["judged"] for name in marks)
    nothing = check_proof(b"nothing", "a file", trust, None)
    assert {"✗"} == {line[0] for line in nothing.lines() if line[0] in "✓✗"}


def test_a_state_holds_the_log_in_every_mode(tmp_path: Path) -> None:
    """What `--state` keeps is a checkpoint that the log must go on from, in any mode."""
    home = Home.at(tmp_path / "home")
    trust, state = told(40).prefix.keys.fingerprint, tmp_path / "state"
    assert trust is not None
    kept(told(40), tmp_path / "whole")
    kept(told(30), tmp_path / "cut")

    def checked(which: str, *words: str) -> int:
        return home.run("audit", "verify", str(tmp_path / which / "tiles"), "--trust", trust, *words).code

    words = ("--state", str(state))
    assert int(Exit.OK) == checked("cut")
    assert [int(Exit.OK)] * 2 == [checked("whole", *words), checked("whole", *words)]
    known = state.read_text()
    for mode in ("full", "signatures", "links"):
        assert int(Exit.INCOMPLETE) == checked("cut", *words, "--mode", mode)
        assert known == state.read_text()


def test_what_is_no_checkpoint_or_no_witness_is_the_callers_mistake(tmp_path: Path) -> None:
    """`--against` a file that is none, or a `--witness` that is no key, says so; nothing is said of the log."""
    home = Home.at(tmp_path / "home")
    kept(told(40), tmp_path)
    (tmp_path / "words").write_text("some words")
    for words, sentence in (
        (("--against", str(tmp_path / "words")), "is no checkpoint"),
        (("--witness", "somebody"), "--witness: "),
    ):
        done = home.run("audit", "verify", str(tmp_path / "tiles"), *words)
        assert int(Exit.CONFIG) == done.code
        assert sentence in done.sentence


def test_a_replay_answers_to_trust_and_completeness(tmp_path: Path) -> None:
    """A replay ends well under the genesis that is trusted, else by its own code."""
    home = Home.at(tmp_path / "home")
    trust, tiles = told(40).prefix.keys.fingerprint, tmp_path / "whole" / "tiles"
    assert trust is not None
    kept(told(40), tmp_path / "whole")
    assert int(Exit.OK) == home.run("audit", "replay", str(tiles), "--trust", trust).code
    assert int(Exit.WRONG_SIGNER) == home.run("audit", "replay", str(tiles), "--trust", "0" * 64).code
    assert int(Exit.USAGE) == home.run("audit", "replay", str(tiles), "--trust", trust[:16]).code
    (tiles / "checkpoint").unlink()
    assert int(Exit.INCOMPLETE) == home.run("audit", "replay", str(tiles)).code
