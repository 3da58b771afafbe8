"""Backups, losses and going on after them, on real servers: what is missing is named, nothing is contradicted."""

from __future__ import annotations

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
from tests.crime import LOG, Crime, copy_of, go_on, signed_size
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
    found = crime.verdict("--against", str(last))
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


@pytest.mark.spec("X-04")
def test_a_backup_holds_no_passphrase_and_no_person(kept: tuple[Crime, Path]) -> None:
    """Neither the passphrase nor anything of the vault is in a backup, and it goes on a new machine with the former."""
    crime, backup = kept
    passphrase = (crime.home.folder / "passphrase").read_bytes().strip()
    assert [] == [path for path in backup.rglob("*") if path.is_file() and passphrase in path.read_bytes()]
    assert [] == list(backup.rglob("*vault*"))


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
