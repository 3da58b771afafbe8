"""The vault: whole at every instant, closed to whoever lacks the passphrase, and silent about what it holds."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import msgspec
import pytest

from shared.config import load
from shared.errors import KeyFault
from shared.home import Keys
from shared.keys import CHEAP
from shared.keys.files import read_file
from shared.vault import BackupUnreachable, People, Vault, open_vault, vault_exists
from shared.vault.format import HEADER_NAME, Entry, Generation, unlock, unwrap
from shared.world import RealWorld

pytestmark = pytest.mark.spec("BIZ-14")

PASS, NEW = b"the passphrase", b"another one"
ROOT = Path(__file__).resolve().parents[2]
ENTROPY = RealWorld("dev").entropy


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    """A vault with two secrets."""
    made = Vault.create(tmp_path / "vault", PASS, ENTROPY, CHEAP)
    made.put("secret", "database password", b"correct horse")
    made.put("secret", "api token", b"battery staple")
    return made


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file in a folder by its path from there."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_secrets_come_back_by_name(vault: Vault) -> None:
    """What was put is got, listed, replaced and deleted, also through another opening of the same vault."""
    again = Vault.unlock(vault.folder, PASS, ENTROPY)
    assert ["api token", "database password"] == again.names("secret")
    again.put("secret", "api token", b"new")
    assert b"new" == vault.get("secret", "api token")
    assert vault.delete("secret", "api token")
    assert not again.delete("secret", "api token")
    assert again.get("secret", "api token") is None
    assert again.get("person", "database password") is None


def test_a_vault_may_be_the_first_thing_in_a_home(tmp_path: Path) -> None:
    """An environment's vault is made in a folder that did not exist, and the keyring is at home there afterwards."""
    loaded, world = load({}, {"home": str(tmp_path / "new/home"), "site": "here"}, "here"), RealWorld("dev")
    assert not vault_exists(loaded.settings)
    open_vault(loaded.settings, world, CHEAP).put("secret", "pin", b"1234")
    assert vault_exists(loaded.settings)
    Keys(loaded.settings, world, CHEAP)
    assert b"1234" == open_vault(loaded.settings, world).get("secret", "pin")


def test_neither_names_nor_values_are_readable(vault: Vault) -> None:
    """No file holds a name, a value or a kind, no file's name says one, and only its owner may read any of them."""
    found = files_of(vault.folder)
    assert 3 == len(found)
    for path, data in found.items():
        for word in (b"database", b"password", b"horse", b"battery", b"secret"):
            assert word not in data + path.encode()
    for path in vault.folder.rglob("*"):
        assert 0 == path.stat().st_mode & 0o077


def test_a_wrong_passphrase_opens_nothing(vault: Vault) -> None:
    """A wrong or empty passphrase is a KeyFault, and so is a vault that is not there."""
    for wrong in (b"the passphrasf", b""):
        with pytest.raises(KeyFault, match="passphrase"):
            Vault.unlock(vault.folder, wrong, ENTROPY)
    with pytest.raises(KeyFault, match="missing"):
        Vault.unlock(vault.folder / "elsewhere", PASS, ENTROPY)
    with pytest.raises(KeyFault, match="already holds a vault"):
        Vault.create(vault.folder, PASS, ENTROPY, CHEAP)


def test_no_changed_byte_is_overlooked(vault: Vault) -> None:
    """Every byte of every file matters: whichever is changed, cut off or added, the vault says so by a KeyFault."""
    for path in [p for p in vault.folder.rglob("*") if p.is_file()]:
        sound = path.read_bytes()
        changed = [sound[:i] + bytes([sound[i] ^ 1]) + sound[i + 1 :] for i in range(len(sound))]
        for data in (*changed, b"", sound[:-1], sound + b"\0"):
            path.write_bytes(data)
            with pytest.raises(KeyFault):
                Vault.unlock(vault.folder, PASS, ENTROPY).names("secret")
        path.write_bytes(sound)
    assert 2 == len(vault.names("secret"))


def test_no_entry_can_be_moved_or_brought_back(vault: Vault) -> None:
    """A file swapped with another, or one of a former generation, is refused, though its bytes are whole."""
    one, two = sorted((vault.folder / "g1").iterdir())
    former = one.read_bytes()
    one.write_bytes(two.read_bytes())
    with pytest.raises(KeyFault, match="altered or belongs to another vault"):
        vault.names("secret")
    one.write_bytes(former)
    vault.rotate()
    [first, _] = sorted((vault.folder / "g2").iterdir())
    first.write_bytes(former)
    with pytest.raises(KeyFault, match="altered or belongs to another vault"):
        vault.names("secret")


def test_an_oversized_entry_is_refused_whole(vault: Vault) -> None:
    """An entry that could not be read back is never written."""
    before = files_of(vault.folder)
    for key, value in (("big", bytes(60_001)), ("k" * 1025, b""), ("", b"")):
        with pytest.raises(KeyFault):
            vault.put("secret", key, value)
    assert before == files_of(vault.folder)


def test_a_rotation_leaves_nothing_for_the_former_key(vault: Vault) -> None:
    """After it no file and no file's name is what it was, and the former generation's key opens none of them."""
    before = files_of(vault.folder)
    _, file = unlock(vault.folder, PASS)
    former = unwrap(vault._master, file)
    assert former is not None
    vault.rotate(drop=[("secret", "api token")], add={("secret", "pin"): b"1234"})
    after = files_of(vault.folder)
    assert {HEADER_NAME} == before.keys() & after.keys()
    assert {"database password": b"correct horse", "pin": b"1234"} == {
        name: vault.get("secret", name) for name in vault.names("secret")
    }
    for path in (vault.folder / "g2").iterdir():
        with pytest.raises(KeyFault):
            former.open(path, path.read_bytes())


@pytest.mark.spec("X-11")
def test_old_files_and_the_new_key_open_nobody_who_was_erased(vault: Vault, tmp_path: Path) -> None:
    """A copy of the files from before an erasure opens not one entry with the header and the passphrase from after it.

    With the header from before it opens them all, so the copy is whole.
    """

    async def unlocked() -> Vault:
        return vault

    people, old = People(unlocked, ENTROPY), tmp_path / "old"

    async def erase() -> None:
        person = (await people.seal("Ada", "12 St James's Square")).person
        shutil.copytree(vault.folder, old)
        await people.erase(person, 5, 0)

    asyncio.run(erase())
    assert (4, 0) == (len(opened_with(old, old)), len(opened_with(old, vault.folder)))
    shutil.copy(vault.folder / HEADER_NAME, old / HEADER_NAME)
    with pytest.raises(KeyFault):
        Vault.unlock(old, PASS, ENTROPY).names("person")


def opened_with(files: Path, header: Path) -> list[Entry]:
    """Every entry in a folder that the key in another folder's header opens, whatever generation they are of."""
    master, file = unlock(header, PASS)
    current = unwrap(master, file)
    assert current is not None
    found: list[Entry] = []
    for path in files.glob("g*/*"):
        number = int(path.parent.name.removeprefix("g"))
        as_then = Generation(msgspec.structs.replace(file.header, generation=number), current._key)
        with suppress(KeyFault):
            found.append(as_then.open(path, path.read_bytes()))
    return found


def test_the_former_key_is_overwritten_where_it_stood(vault: Vault) -> None:
    """The file that held the former generation's key is overwritten before it goes: a link to it shows zeros only."""
    kept = vault.folder.parent / "kept"
    os.link(vault.folder / HEADER_NAME, kept)
    vault.rotate()
    assert {0} == set(kept.read_bytes())


@pytest.mark.parametrize("deed", ["rotate", "passphrase", "put", "backup"])
def test_a_crash_at_any_write_leaves_one_whole_vault(deed: str, vault: Vault, tmp_path: Path) -> None:
    """Killed at its first write to the disk, its second, and so on, a change happened wholly or not at all."""
    outcomes: list[str] = []
    for step in range(1, 100):
        here = tmp_path / f"step{step}"
        shutil.copytree(vault.folder, here)
        done = subprocess.run(
            [sys.executable, str(ROOT / "tests/faults/vault_program.py"), deed, str(here), str(step)],
            env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode in (0, -9), done.stderr
        outcomes.append(_whole(here))
        if done.returncode == 0:
            break
    assert len(outcomes) > 2, "it was killed at least twice"
    assert "new" == outcomes[-1]
    assert outcomes == sorted(outcomes, reverse=True), "once it has happened it stays so"  # old, …, new: 'old' > 'new'


def _whole(folder: Path) -> str:
    """Say whether the vault is as before the change or as after it; fails where it is neither, or litter is left."""
    try:
        vault = Vault.unlock(folder, PASS, ENTROPY)
    except KeyFault:
        vault = Vault.unlock(folder, NEW, ENTROPY)
        new = True
    else:
        new = vault.generation > 1 or "pin" in vault.names("secret")
    names = vault.names("secret")
    assert {"api token", "database password"} == set(names) - {"pin"}
    assert b"correct horse" == vault.get("secret", "database password")
    folders = [path.name for path in folder.iterdir() if path.is_dir()]
    assert [f"g{vault.generation}"] == folders
    for copy in vault.backups():
        new = True
        vault.backup(copy)
        assert names == Vault.unlock(copy, PASS, ENTROPY).names("secret")
    return "new" if new else "old"


def test_many_processes_share_one_vault(vault: Vault) -> None:
    """Four processes put and rotate at once; every secret of every one of them is there at the end."""
    with get_context("spawn").Pool(4) as pool:
        pool.map(_work, [(str(vault.folder), worker) for worker in range(4)])
    wanted = {f"{worker}/{n}" for worker in range(4) for n in range(5)} | {"api token", "database password"}
    assert wanted == set(vault.names("secret"))
    assert 1 + 4 == vault.generation


def test_a_header_that_is_replaced_while_it_is_read_is_read_again(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who opens vault.json at the moment of a rotation finds the former file overwritten: it then reads the new one. A
    file that stays overwritten is damaged.
    """
    former = os.open(vault.folder / HEADER_NAME, os.O_RDONLY)
    vault.rotate()
    zeros = os.read(former, 10_000)
    os.close(former)
    assert bytes(len(zeros) or 1) == zeros
    late = [zeros]
    monkeypatch.setattr("shared.vault.format.read_file", lambda path: late.pop() if late else read_file(path))
    assert vault.generation == Vault.unlock(vault.folder, PASS, ENTROPY).generation
    assert [] == late
    monkeypatch.setattr("shared.vault.format.read_file", lambda _: zeros)
    with pytest.raises(KeyFault, match="is damaged"):
        Vault.unlock(vault.folder, PASS, ENTROPY)


def _work(job: tuple[str, int]) -> None:
    folder, worker = job
    mine = Vault.unlock(Path(folder), PASS, ENTROPY)
    for n in range(5):
        mine.put("secret", f"{worker}/{n}", b"")
        if n == 2:
            mine.rotate()


def test_the_passphrase_can_be_changed(vault: Vault, tmp_path: Path) -> None:
    """Afterwards the new one opens the vault and its backups and the former one neither; an open vault notices."""
    other = Vault.unlock(vault.folder, PASS, ENTROPY)
    vault.backup(tmp_path / "copy")
    vault.change_passphrase(NEW)
    for folder in (vault.folder, tmp_path / "copy"):
        assert 2 == len(Vault.unlock(folder, NEW, ENTROPY).names("secret"))
        with pytest.raises(KeyFault, match="wrong passphrase"):
            Vault.unlock(folder, PASS, ENTROPY)
    with pytest.raises(KeyFault, match="unlock it again"):
        other.names("secret")


def test_a_backup_follows_its_vault(vault: Vault, tmp_path: Path) -> None:
    """A copy opens with the same passphrase and holds what the vault held; rewritten, nothing older is left in it."""
    copy = tmp_path / "elsewhere" / "copy"
    known = vault.backup(copy)
    assert files_of(vault.folder) == files_of(copy)
    vault.rotate(drop=[("secret", "api token")])
    assert ["api token", "database password"] == Vault.unlock(copy, PASS, ENTROPY).names("secret")
    assert [known] == vault.rewrite_backups()
    assert files_of(vault.folder) == files_of(copy)
    assert known == vault.backup(copy), "the same copy keeps its id"
    vault.delete("secret", "database password")
    vault.rewrite_backups()
    assert files_of(vault.folder) == files_of(copy)


@pytest.mark.parametrize("last", [0, 1, 255])
def test_a_backup_is_written_whatever_its_id(last: int, tmp_path: Path) -> None:
    """A new copy is written also where its drawn id ends in the byte by which written copies are marked."""
    made = Vault.create(tmp_path / "vault", PASS, lambda size: ENTROPY(size - 1) + bytes([last]), CHEAP)
    copy = tmp_path / "copy"
    assert made.backup(copy).endswith(f"{last:02x}")
    assert [f"{last:02x}"] == [known[-2:] for known in made.backups().values()]
    assert files_of(copy) == {name: data for name, data in files_of(made.folder).items() if name in files_of(copy)}


def test_a_backup_that_is_away_is_told(vault: Vault, tmp_path: Path) -> None:
    """A copy that is missing, empty or another vault's stops a rewrite by name, until it is forgotten."""
    copy, away = tmp_path / "copy", tmp_path / "away"
    vault.backup(copy)
    copy.rename(away)
    for build in (lambda: None, copy.mkdir, lambda: Vault.create(copy, PASS, ENTROPY, CHEAP)):
        build()
        if copy.exists():
            copy.chmod(0o700)
        with pytest.raises(BackupUnreachable, match="--forget"):
            vault.rewrite_backups()
        with pytest.raises(BackupUnreachable, match="--forget"):
            vault.backup(copy)  # one in its place would hide it
    assert vault.forget_backup(copy)
    assert not vault.forget_backup(copy)
    assert [] == vault.rewrite_backups()


def test_a_copy_is_known_before_its_first_byte(vault: Vault, tmp_path: Path) -> None:
    """A copy that could not be written is registered all the same: no erasure is complete until it is, or is forgotten.

    Written after all, it keeps its id.
    """
    barred = tmp_path / "barred"
    barred.touch()
    with pytest.raises(BackupUnreachable):
        vault.backup(barred / "copy")
    [(place, known)] = vault.backups().items()
    assert barred / "copy" == place
    with pytest.raises(BackupUnreachable, match="--forget"):
        vault.rewrite_backups()
    barred.unlink()
    assert known == vault.backup(barred / "copy")
    assert [known] == vault.rewrite_backups()


def test_a_backup_has_a_place_of_its_own(vault: Vault, tmp_path: Path) -> None:
    """A copy is written into an empty folder outside the vault; anything else is refused and not registered."""
    (tmp_path / "filled").mkdir()
    (tmp_path / "filled/file").touch()
    for wrong in (tmp_path / "filled", vault.folder / "inside", Path("relative")):
        with pytest.raises(KeyFault):
            vault.backup(wrong)
    assert {} == vault.backups()


def test_the_header_says_no_more_than_it_must(vault: Vault) -> None:
    """All that everybody can read of a vault: format, id, generation, and what a guess at the passphrase costs."""
    header = json.loads((vault.folder / HEADER_NAME).read_bytes())["header"]
    assert {"format", "vault", "generation", "salt", "cost"} == header.keys()
