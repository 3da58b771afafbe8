"""Backups, losses and going on after them, on real servers: what is missing is named, nothing is contradicted."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from shared.errors import Exit
from shared.log.checkpoint import Checkpoint
from shared.log.note import Note
from tests.blockfile import edit
from tests.commands import Home
from tests.crime import ENV, LOG, Crime, copy_of, go_on, signed_size
from tests.crime import grown as grown_log


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Crime:
    """A log with a notary's signature over all of it, at rest."""
    return grown_log(tmp_path_factory.mktemp("restore") / "home", 12)


@pytest.fixture
def kept(grown: Crime, tmp_path: Path) -> tuple[Crime, Path]:
    """A copy of it, and a backup made of it before it grew by six entries or more."""
    crime = copy_of(grown, tmp_path / "home")
    backup = tmp_path / "backup"
    crime.home.held("audit", "backup", str(backup))
    go_on(crime, 1000, 6)
    return Crime(crime.home, crime.trust, signed_size(crime.home.folder)), backup


def _note(folder: Path) -> Checkpoint:
    return Checkpoint.parse(Note.parse((folder / "checkpoint").read_bytes()).text)


def restored(crime: Crime, *words: str) -> dict[str, Any]:
    """Restore, and return what the command says."""
    [told] = crime.home.held("audit", "restore", *words, "--json").documents
    return told


def entries_of(backup: Path) -> int:
    """How many entries a backup has."""
    return json.loads((backup / "manifest.json").read_text())["entries"]


def newest(crime: Crime, at: Path) -> Path:
    """A copy of the newest checkpoint of a home, as a witness would have it."""
    shutil.copy(crime.home.folder / ENV / "tiles" / "checkpoint", at)
    return at


def new_machine(crime: Crime, folder: Path) -> Crime:
    """Another home, with nothing but the passphrase of this one."""
    folder.mkdir(mode=0o700)
    shutil.copy(crime.home.folder / "passphrase", folder / "passphrase")
    return Crime(Home.at(folder).without_records(), crime.trust, 0)


def unsigned(crime: Crime, first: int, count: int) -> int:
    """Let the log grow by acknowledged entries that its notary has not come to; return how many it has then."""
    here, aside = crime.home.folder / ENV, crime.home.folder / "aside"
    for name in ("tiles", "notary"):
        shutil.copytree(here / name, aside / name)
    go_on(crime, first, count)
    size = signed_size(crime.home.folder)
    for name in ("tiles", "notary"):
        shutil.rmtree(here / name)
        (aside / name).rename(here / name)
    return size


def refit(backup: Path) -> None:
    """Write a backup's manifest anew, as whoever changed its files would."""
    manifest = json.loads((backup / "manifest.json").read_text())
    files = sorted(path for path in backup.rglob("*") if path.is_file() and path.name != "manifest.json")
    manifest["files"] = {
        str(path.relative_to(backup)): {
            "size": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in files
    }
    (backup / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.spec("X-04", "X-07")
def test_an_older_backup_starts_a_new_epoch_that_names_the_gap(kept: tuple[Crime, Path], tmp_path: Path) -> None:
    """A backup over a newer log: a new epoch, the missing range named, the last checkpoint not contradicted."""
    crime, backup = kept
    before = _note(crime.home.folder / "dev" / "tiles")
    last = tmp_path / "last"
    shutil.copy(crime.home.folder / "dev" / "tiles" / "checkpoint", last)
    size = json.loads((backup / "manifest.json").read_text())["entries"]
    told = restored(crime, str(backup), "--reason", "the disk died")
    assert (2, [size, before.size - 1], size + 1) == (told["epoch"], told["missing"], told["entries"])
    go_on(crime, 1000, 3)
    after = _note(crime.home.folder / "dev" / "tiles")
    assert (before.origin + "/2", before.origin) == (after.origin, _note(Path(told["kept"]) / "tiles").origin)
    known = crime.verdict("--against", str(last))
    assert (int(Exit.LOST), [size, before.size - 1]) == (known["exit"], known["missing"])
    assert "cannot show" not in known["completeness"]["detail"]
    found = crime.verdict()
    assert 0 == found["exit"], found
    [epoch] = found["epochs"]
    assert (2, size, before.size - 1, "the disk died") == (
        epoch["epoch"],
        epoch["first_missing"],
        epoch["last_missing"],
        epoch["reason"],
    )


@pytest.mark.spec("X-04", "X-07")
def test_a_backup_that_is_as_new_goes_on_in_its_epoch(grown: Crime, tmp_path: Path) -> None:
    """A backup that holds all that was signed is put in place without a new epoch, and the log goes on."""
    crime = copy_of(grown, tmp_path / "home")
    crime.home.held("audit", "backup", str(tmp_path / "backup"))
    shutil.rmtree(crime.server)
    told = restored(crime, str(tmp_path / "backup"), "--reason", "a new disk")
    assert (1, None) == (told["epoch"], told["missing"])
    go_on(crime, 1000, 2)
    assert (0, []) == (crime.verdict()["exit"], crime.verdict()["epochs"])


@pytest.mark.spec("X-04", "X-07")
def test_a_lost_tail_can_be_named_without_a_backup(kept: tuple[Crime, Path]) -> None:
    """A log cut short goes on with what is left, in a new epoch; twice lost, twice named."""
    crime, _ = kept
    edit(crime.server, LOG, lambda records: records[:-3])
    told = restored(crime, "--reason", "a power cut")
    assert (2, [crime.signed - 3, crime.signed - 1]) == (told["epoch"], told["missing"])
    go_on(crime, 1000, 4)
    signed = signed_size(crime.home.folder)
    edit(crime.server, LOG, lambda records: records[:-2])
    again = restored(crime, "--reason", "another one")
    assert (3, [signed - 2, signed - 1]) == (again["epoch"], again["missing"])
    go_on(crime, 1000, 2)
    found = crime.verdict()
    assert (0, [2, 3]) == (found["exit"], [epoch["epoch"] for epoch in found["epochs"]])


@pytest.mark.spec("X-04", "X-07")
def test_a_restore_that_was_cut_off_is_finished_by_the_same_command(kept: tuple[Crime, Path]) -> None:
    """Killed after the log took its place and before the old tiles went, the next restore names nothing twice."""
    crime, backup = kept
    home = crime.home.folder / "dev"
    told = restored(crime, str(backup), "--reason", "the disk died")
    aside = Path(told["kept"])
    for name in ("tiles", "notary"):  # as if these two moves had not happened yet
        (aside / name).rename(home / name)
    refused = crime.home.run("up", "--part", "organs.notary")
    assert "audit restore" in refused.sentence
    again = restored(crime, "--reason", "the disk died")
    assert (2, told["missing"], told["entries"]) == (again["epoch"], again["missing"], again["entries"])
    go_on(crime, 1000, 2)
    assert [2] == [epoch["epoch"] for epoch in crime.verdict()["epochs"]]


@pytest.mark.spec("X-04", "X-12")
@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        ("flip", "was changed after the backup was made"),
        ("drop", "is missing"),
        ("add", "is not part of the backup"),
        ("empty", "is no backup"),
        ("env", "is of prod, this is dev"),
    ],
)
def test_a_damaged_backup_is_refused_and_changes_nothing(kept: tuple[Crime, Path], harm: str, sentence: str) -> None:
    """A backup changed, cut, enlarged, of another environment, or none at all is refused before anything moves."""
    crime, backup = kept
    snapshot = backup / "log" / "snapshot"
    match harm:
        case "flip":
            raw = bytearray(snapshot.read_bytes())
            raw[len(raw) // 2] ^= 1
            snapshot.write_bytes(raw)
        case "drop":
            snapshot.unlink()
        case "add":
            (backup / "more").write_text("?")
        case "empty":
            (backup / "manifest.json").write_text("{}")
        case _:
            told = json.loads((backup / "manifest.json").read_text())
            (backup / "manifest.json").write_text(json.dumps(told | {"env": "prod"}))
    refused = crime.home.run("audit", "restore", str(backup), "--reason", "why")
    assert int(Exit.TAMPERED) == refused.code
    assert sentence in refused.sentence
    assert (0, crime.signed) == (crime.verdict()["exit"], crime.verdict()["signed"])


@pytest.mark.spec("X-04", "X-12")
def test_a_rewritten_log_is_not_gone_on_with(kept: tuple[Crime, Path]) -> None:
    """A log that was cut and also rewritten is no beginning of what was signed: only a backup helps."""
    crime, _ = kept
    edit(
        crime.server,
        LOG,
        lambda records: [
            *records[:8],
            records[8].__class__(
                records[8].seq, records[8].time_ns + 1, records[8].subject, records[8].headers, records[8].body
            ),
            *records[9:-2],
        ],
    )
    refused = crime.home.run("audit", "restore", "--reason", "why")
    assert int(Exit.TAMPERED) == refused.code
    assert "entry 8 is not the one that was signed" in refused.sentence


@pytest.mark.spec("X-04", "X-11")
def test_a_backup_holds_no_passphrase_and_no_person(grown: Crime, tmp_path: Path) -> None:
    """Neither the passphrase nor anything of the vault is in a backup."""
    home, backup, sealed = copy_of(grown, tmp_path / "home").home, tmp_path / "backup", b"a person's key"
    (home.folder / ENV / "vault").mkdir()
    (home.folder / ENV / "vault" / "key").write_bytes(sealed)
    home.held("audit", "backup", str(backup))
    held = b"".join(path.read_bytes() for path in backup.rglob("*") if path.is_file())
    assert held
    assert not [word for word in (sealed, (home.folder / "passphrase").read_bytes().strip()) if word in held]


@pytest.mark.spec("X-04", "X-07")
def test_a_backup_goes_on_on_a_new_machine_under_a_new_name(kept: tuple[Crime, Path], tmp_path: Path) -> None:
    """A backup and the passphrase are enough; what followed is unknown, so a new epoch says so and signs as another."""
    crime, backup = kept
    machine, size = new_machine(crime, tmp_path / "new"), entries_of(backup)
    said = machine.home.held("audit", "restore", str(backup), "--reason", "a fire").out
    assert f"entries {size} to {size} are named as missing" in said
    assert "what followed the backup is unknown" in said
    go_on(machine, 3000, 9)
    before, after = _note(backup / "tiles"), _note(machine.home.folder / ENV / "tiles")
    assert f"{before.origin}/2" == after.origin
    found = machine.verdict("--against", str(backup / "notary" / "last-checkpoint"))
    assert 0 == found["exit"], found
    [epoch] = found["epochs"]
    assert (2, size, size) == (epoch["epoch"], epoch["first_missing"], epoch["last_missing"])
    assert epoch["reason"].startswith("a fire (what followed the backup")


@pytest.mark.spec("X-04", "X-07")
def test_a_new_machine_names_what_a_witness_knows_was_signed(kept: tuple[Crime, Path], tmp_path: Path) -> None:
    """With the newest checkpoint, the epoch names all of what it covers; the log grows past it and is no fork of it."""
    crime, backup = kept
    last, size = newest(crime, tmp_path / "last"), entries_of(backup)
    machine = new_machine(crime, tmp_path / "new")
    first = restored(machine, str(backup), "--reason", "a fire")
    assert (2, [size, size], True) == (first["epoch"], first["missing"], first["unknown"])
    told = restored(machine, str(backup), "--reason", "a fire", "--checkpoint", str(last))
    assert (2, [size, crime.signed - 1], False) == (told["epoch"], told["missing"], told["unknown"])
    go_on(machine, 3000, 12)
    assert crime.signed < signed_size(machine.home.folder)
    found = machine.verdict()
    assert (0, [2]) == (found["exit"], [epoch["epoch"] for epoch in found["epochs"]]), found
    known = machine.verdict("--against", str(last))
    assert (int(Exit.LOST), [size, crime.signed - 1]) == (known["exit"], known["missing"])


@pytest.mark.spec("X-04", "X-07")
def test_a_new_machine_goes_on_in_its_epoch_where_the_backup_reaches_the_last_checkpoint(
    kept: tuple[Crime, Path], tmp_path: Path
) -> None:
    """Where the checkpoint that is given is as new as the backup's and the log reaches it, nothing is missing."""
    crime, _ = kept
    backup, last = tmp_path / "newer", newest(crime, tmp_path / "last")
    crime.home.held("audit", "backup", str(backup))
    old = tmp_path / "backup" / "tiles" / "checkpoint"
    stale = restored(new_machine(crime, tmp_path / "stale"), str(backup), "--reason", "moved", "--checkpoint", str(old))
    assert (2, True) == (stale["epoch"], stale["unknown"]), "an older checkpoint than the backup's tells nothing"
    machine = new_machine(crime, tmp_path / "new")
    told = restored(machine, str(backup), "--reason", "moved", "--checkpoint", str(last))
    assert (1, None, False) == (told["epoch"], told["missing"], told["unknown"])
    go_on(machine, 3000, 2)
    found = machine.verdict("--against", str(last))
    assert (0, []) == (found["exit"], found["epochs"])


@pytest.mark.spec("X-04", "X-12")
@pytest.mark.parametrize(
    ("harm", "sentence"),
    [("forged", "is not signed by the log's key"), ("other", "is of nimmerverse/dev/"), ("none", "cannot be read")],
)
def test_a_checkpoint_that_is_not_the_logs_is_refused(
    kept: tuple[Crime, Path], tmp_path: Path, harm: str, sentence: str
) -> None:
    """A checkpoint that is forged, of another log or none at all is refused; the new machine is left as it was."""
    crime, backup = kept
    last = newest(crime, tmp_path / "last")
    text = last.read_text()
    size = text.splitlines()[1]
    match harm:
        case "forged":
            last.write_text(text.replace(f"\n{size}\n", f"\n{int(size) + 1}\n"))
        case "other":
            origin = text.splitlines()[0]
            last.write_text(text.replace(origin, f"nimmerverse/dev/{'0' * 32}"))
        case _:
            last.write_text("nothing")
    machine = new_machine(crime, tmp_path / "new")
    refused = machine.home.run("audit", "restore", str(backup), "--reason", "why", "--checkpoint", str(last))
    assert int(Exit.TAMPERED) == refused.code, refused
    assert sentence in refused.sentence
    assert [] == [name for name in ("nats", "keys", "nkeys") if (machine.home.folder / ENV / name).exists()]


@pytest.mark.spec("X-04", "X-07")
def test_acknowledged_entries_of_the_replaced_log_are_named(grown: Crime, tmp_path: Path) -> None:
    """What was acknowledged and not yet signed is named too, when a backup takes the place of the log that has it."""
    crime = copy_of(grown, tmp_path / "home")
    crime.home.held("audit", "backup", str(tmp_path / "backup"))
    size, longer = entries_of(tmp_path / "backup"), unsigned(crime, 500, 5)
    assert size == signed_size(crime.home.folder) < longer
    told = restored(crime, str(tmp_path / "backup"), "--reason", "by mistake")
    assert (2, [size, longer - 1], "") == (told["epoch"], told["missing"], told["unread"])
    go_on(crime, 1000, 2)
    found = crime.verdict()
    assert (0, longer - 1) == (found["exit"], found["epochs"][0]["last_missing"])


@pytest.mark.spec("X-04", "X-07")
def test_a_restore_cut_off_between_two_moves_still_names_what_was_acknowledged(grown: Crime, tmp_path: Path) -> None:
    """Killed when the old log was aside and the new one not yet in its place, the same command reads the one aside."""
    crime = copy_of(grown, tmp_path / "home")
    crime.home.held("audit", "backup", str(tmp_path / "backup"))
    size, longer = entries_of(tmp_path / "backup"), unsigned(crime, 500, 5)
    aside, staged = crime.home.folder / ENV / "replaced-1", crime.home.folder / ENV / "restoring"
    aside.mkdir(mode=0o700)
    crime.server.rename(aside / "nats")
    (staged / "nats").mkdir(mode=0o700, parents=True)
    told = restored(crime, str(tmp_path / "backup"), "--reason", "a power cut")
    assert (2, [size, longer - 1]) == (told["epoch"], told["missing"])


@pytest.mark.spec("X-04")
def test_a_new_machine_without_the_passphrase_is_told_to_bring_it(kept: tuple[Crime, Path], tmp_path: Path) -> None:
    """No passphrase is made up for keys that it could not open."""
    crime, backup = kept
    machine = new_machine(crime, tmp_path / "new")
    (machine.home.folder / "passphrase").unlink()
    refused = machine.home.run("audit", "restore", str(backup), "--reason", "a fire")
    assert (int(Exit.CONFIG), False) == (refused.code, (machine.home.folder / "passphrase").exists())
    assert "put the passphrase of the backup's keys there first" in refused.sentence


@pytest.mark.spec("X-04")
def test_what_was_signed_and_cannot_be_read_is_not_taken_for_nothing(kept: tuple[Crime, Path]) -> None:
    """Where neither memory nor published checkpoint can be read nothing starts; a backup goes on in a new epoch."""
    crime, backup = kept
    for path in ("tiles/checkpoint", "notary/last-checkpoint"):
        (crime.home.folder / ENV / path).write_text("gone")
    refused = crime.home.run("up", "--part", "organs.notary")
    assert "what was signed last cannot be read" in refused.sentence
    told = restored(crime, str(backup), "--reason", "why")
    assert (2, True) == (told["epoch"], told["unknown"])


@pytest.mark.spec("X-04", "X-07")
def test_a_replaced_log_that_cannot_be_read_is_said(grown: Crime, tmp_path: Path) -> None:
    """Where the log that is replaced cannot be read, the command says that what it held unsigned is not named."""
    crime = copy_of(grown, tmp_path / "home")
    crime.home.held("audit", "backup", str(tmp_path / "backup"))
    shutil.rmtree(crime.server)
    crime.server.mkdir(mode=0o700)
    said = crime.home.held("audit", "restore", str(tmp_path / "backup"), "--reason", "a new disk").out
    assert "the replaced log could not be read" in said
    assert "in epoch 1; nothing is missing" in said


@pytest.mark.spec("X-04", "X-07")
def test_a_lost_memory_does_not_let_a_loss_pass(kept: tuple[Crime, Path]) -> None:
    """Without the notary's memory the published checkpoint refuses a start, and a restore names what it covers."""
    crime, backup = kept
    shutil.rmtree(crime.home.folder / ENV / "notary")
    edit(crime.server, LOG, lambda records: records[:-3])
    refused = crime.home.run("up", "--part", "organs.notary")
    assert f"the log has {crime.signed - 3} entries, {crime.signed} were signed" in refused.sentence
    told = restored(crime, str(backup), "--reason", "why")
    assert (2, [entries_of(backup), crime.signed - 1]) == (told["epoch"], told["missing"])


@pytest.mark.spec("X-04", "X-07")
def test_a_lost_tile_folder_does_not_let_a_loss_pass(kept: tuple[Crime, Path]) -> None:
    """Without tiles nothing proves a cut log; a backup's own checkpoint proves that it is a beginning."""
    crime, backup = kept
    shutil.rmtree(crime.home.folder / ENV / "tiles")
    edit(crime.server, LOG, lambda records: records[:-3])
    refused = crime.home.run("audit", "restore", "--reason", "why")
    assert int(Exit.TAMPERED) == refused.code
    assert "put a copy of the tiles back, or restore a backup" in refused.sentence
    told = restored(crime, str(backup), "--reason", "why")
    assert (2, [entries_of(backup), crime.signed - 1]) == (told["epoch"], told["missing"])


@pytest.mark.spec("X-04", "ILL-07")
def test_without_the_roots_key_a_restore_refuses_and_makes_none(kept: tuple[Crime, Path], tmp_path: Path) -> None:
    """Where the root's key is elsewhere a new epoch is refused in a sentence: no key is made, no log is moved."""
    crime, backup = kept
    [root] = (crime.home.folder / ENV / "keys").rglob("root.key")
    root.rename(tmp_path / "root.key")
    refused = crime.home.run("audit", "restore", str(backup), "--reason", "why")
    assert int(Exit.CONFIG) == refused.code
    assert "whose key is not in this keyring" in refused.sentence
    assert not root.exists()
    assert (0, crime.signed) == (crime.verdict()["exit"], crime.verdict()["signed"])


@pytest.mark.spec("X-04", "X-12")
@pytest.mark.parametrize("tiles", [True, False], ids=["with tiles", "by the root alone"])
def test_a_backup_of_another_life_is_refused(grown: Crime, tmp_path: Path, tiles: bool) -> None:  # noqa: FBT001
    """A backup that parted from the log before what was signed is refused, by the entry where tiles know which."""
    here, there = copy_of(grown, tmp_path / "home"), copy_of(grown, tmp_path / "there")
    go_on(here, 1000, 6)
    go_on(there, 5000, 20)
    there.home.held("audit", "backup", str(tmp_path / "backup"))
    if not tiles:
        shutil.rmtree(here.home.folder / ENV / "tiles")
    refused = here.home.run("audit", "restore", str(tmp_path / "backup"), "--reason", "why")
    assert int(Exit.TAMPERED) == refused.code, refused
    expected = f"entry {grown.signed} is not the one that was signed" if tiles else "have another root than was signed"
    assert expected in refused.sentence
    assert not (here.home.folder / ENV / "replaced-1").exists()


@pytest.mark.spec("X-04", "X-12")
def test_a_backup_that_does_not_fit_its_own_tiles_is_refused(grown: Crime, tmp_path: Path) -> None:
    """A backup whose log is not the one of its tiles is refused where nothing else is known, and the entry is named."""
    one, other = copy_of(grown, tmp_path / "one"), copy_of(grown, tmp_path / "other")
    go_on(one, 1000, 6)
    go_on(other, 5000, 20)
    backup, donor = tmp_path / "backup", tmp_path / "donor"
    other.home.held("audit", "backup", str(backup))
    one.home.held("audit", "backup", str(donor))
    for name in ("tiles", "notary"):
        shutil.rmtree(backup / name)
        shutil.copytree(donor / name, backup / name)
    refit(backup)
    refused = new_machine(grown, tmp_path / "new").home.run("audit", "restore", str(backup), "--reason", "why")
    assert int(Exit.TAMPERED) == refused.code, refused
    assert f"entry {grown.signed} is not the one that was signed" in refused.sentence


@pytest.mark.spec("X-04", "X-07")
def test_a_backup_remembers_what_was_signed_and_not_yet_published(kept: tuple[Crime, Path], tmp_path: Path) -> None:
    """The notary remembers before it publishes: a backup made in between holds the newer of both, and names by it."""
    crime, older = kept
    shutil.copy(older / "tiles" / "checkpoint", crime.home.folder / ENV / "tiles" / "checkpoint")
    edit(crime.server, LOG, lambda records: records[:-2])
    backup = tmp_path / "between"
    crime.home.held("audit", "backup", str(backup))
    memory = (crime.home.folder / ENV / "notary" / "last-checkpoint").read_text()
    assert memory == (backup / "notary" / "last-checkpoint").read_text()
    told = restored(new_machine(crime, tmp_path / "new"), str(backup), "--reason", "why")
    assert [crime.signed - 2, crime.signed - 1] == told["missing"]


@pytest.mark.spec("X-04", "X-07")
def test_what_is_lost_after_an_epoch_is_named_in_another(kept: tuple[Crime, Path]) -> None:
    """A loss within an epoch is its own, although its indices are among those that the epoch named before."""
    crime, backup = kept
    restored(crime, str(backup), "--reason", "the disk died")
    go_on(crime, 1000, 0)
    signed = signed_size(crime.home.folder)
    assert entries_of(backup) + 3 < signed < crime.signed + 1
    edit(crime.server, LOG, lambda records: records[:-2])
    told = restored(crime, "--reason", "again")
    assert (3, [signed - 2, signed - 1]) == (told["epoch"], told["missing"])
    go_on(crime, 2000, 1)
    assert (0, 2) == (crime.verdict()["exit"], len(crime.verdict()["epochs"]))


@pytest.mark.spec("X-04", "X-07")
def test_a_backup_of_before_an_epoch_is_refused_once_that_was_signed(kept: tuple[Crime, Path]) -> None:
    """A backup that would begin the same epoch again is refused: two histories would be signed under one name."""
    crime, backup = kept
    restored(crime, str(backup), "--reason", "the disk died")
    go_on(crime, 1000, 1)
    refused = crime.home.run("audit", "restore", str(backup), "--reason", "again")
    assert int(Exit.TAMPERED) == refused.code
    assert "epoch 2 of the log was signed" in refused.sentence


@pytest.mark.spec("X-04", "X-05")
def test_views_forget_what_a_restored_log_never_held(tmp_path: Path) -> None:
    """After an older backup took the log's place the views show the log that is, not the one that was."""
    home = Home.at(tmp_path / "home")
    with home.up("--part", "organs.notary", "--part", "organs.records", "--part", "cells.sensor_cell"):
        pass
    home.held("audit", "backup", str(tmp_path / "backup"))
    with home.up("--part", "organs.notary", "--part", "organs.records", "--part", "cells.battery_cell"):
        pass
    home.held("audit", "restore", str(tmp_path / "backup"), "--reason", "the disk died")
    with home.up("--part", "organs.notary", "--part", "organs.records"):
        told = home.run("views", "verify", "--json")
        assert 0 == told.code, told
