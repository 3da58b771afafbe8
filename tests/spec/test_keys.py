"""Signing keys: in hand, sealed on disk, rotated and moved to another passphrase without a moment of loss."""

from __future__ import annotations

import os
import resource
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from shared.errors import Exit, KeyFault, StorageFault
from shared.keys import CHEAP, Entropy, Keyring, LocalSigner, Signer, check_public, key_id_of, obtain, verify

pytestmark = pytest.mark.spec("BIZ-14")

PASSPHRASE = b"correct horse"


def stream(seed: str = "test") -> Entropy:
    """Random bytes that depend on the seed alone."""
    drawn = 0

    def entropy(count: int) -> bytes:
        nonlocal drawn
        drawn += 1
        return blake3(f"{seed} {drawn}".encode()).digest(count)

    return entropy


def filled(folder: Path) -> Keyring:
    """A keyring with two keys, the second with a staged successor."""
    entropy = stream()
    ring = Keyring.create(folder / "ring", PASSPHRASE, entropy, CHEAP)
    ring.create_key("cells.math_cell", "ops", "seal", entropy)
    ring.create_key("root", "ops", "genesis", entropy)
    ring.stage_rotation("root", entropy)
    return ring


def sealed_files(ring: Keyring) -> list[Path]:
    """Every file of the keyring."""
    return sorted(path for path in ring.folder.rglob("*") if path.is_file())


def sentence(call: Callable[[], object]) -> str:
    """The sentence of the KeyFault with which the call is refused."""
    with pytest.raises(KeyFault) as caught:
        call()
    assert Exit.KEY == caught.value.exit
    return str(caught.value)


# In hand


@pytest.mark.spec("BIZ-01")
@given(st.binary(max_size=300))
def test_what_is_signed_verifies(message: bytes) -> None:
    """A signature verifies for its message and key, and for no other."""
    signer: Signer = LocalSigner.generate(stream())
    signature = signer.sign(message)
    assert (32, 64, 32) == (len(signer.public), len(signature), len(signer.key_id))
    assert verify(signer.public, message, signature)
    assert not verify(signer.public, message + b"x", signature)
    assert not verify(LocalSigner(bytes(32)).public, message, signature)
    check_public(signer.public)


@pytest.mark.spec("BIZ-01")
def test_known_key() -> None:
    """The first key of RFC 8032 section 7.1 gives its published public key and signature, and its fixed key id."""
    signer = LocalSigner(bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))
    assert "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a" == signer.public.hex()
    assert signer.sign(b"").hex().startswith("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155")
    assert "9743cfa77e20603708616b0b1317b946" == signer.key_id


@pytest.mark.spec("X-12")
@given(st.binary(max_size=80), st.binary(max_size=80), st.binary(max_size=80))
def test_garbage_never_verifies(public: bytes, message: bytes, signature: bytes) -> None:
    """Any bytes as key, message and signature are simply no signature."""
    assert not verify(public, message, signature)


@pytest.mark.spec("X-12")
@given(st.binary(max_size=40))
def test_any_bytes_as_public_key(public: bytes) -> None:
    """Any bytes are a registrable key or a KeyFault."""
    try:
        check_public(public)
    except KeyFault:
        return
    assert 32 == len(public)


def test_repr_keeps_the_secret(tmp_path: Path) -> None:
    """Neither a key nor a keyring shows a secret when printed."""
    ring = filled(tmp_path)
    signer = ring.signer("root")
    assert (f"LocalSigner({signer.key_id})", f"Keyring('{ring.folder}')") == (repr(signer), repr(ring))


# On disk


def test_keys_outlive_the_process(tmp_path: Path) -> None:
    """What one unlock creates, another reads: the same keys under the same names."""
    ring = filled(tmp_path)
    again = Keyring.unlock(ring.folder, PASSPHRASE)
    assert ["cells.math_cell", "root"] == again.names()
    assert ring.signer("root").public == again.signer("root").public
    assert ring.describe() == again.describe()


def test_describe(tmp_path: Path) -> None:
    """A key's description gives owner, purpose, id and public keys, never a secret."""
    ring = filled(tmp_path)
    info = ring.describe()[1]
    signer, staged = ring.signer("root"), ring.staged("root")
    assert staged is not None
    assert ("root", "ops", "genesis", signer.key_id) == (info.name, info.owner, info.purpose, info.key_id)
    assert (signer.public, staged.public, ()) == (info.public, info.successor, info.retired)
    assert key_id_of(signer.public) == info.key_id


def test_only_the_owner_reads(tmp_path: Path) -> None:
    """Folders are 0700 and files 0600 whatever the umask, and no temporary file stays."""
    before = os.umask(0)
    try:
        ring = filled(tmp_path)
    finally:
        os.umask(before)
    modes = {path.relative_to(tmp_path).as_posix(): path.stat().st_mode & 0o7777 for path in tmp_path.rglob("*")}
    expected = {"ring": 0o700, "ring/g1": 0o700, "ring/keyring.json": 0o600}
    assert expected | {f"ring/g1/{name}": 0o600 for name in ("cells.math_cell.key", "root.key", "root.next")} == modes
    assert ring.names()


def test_no_secret_in_the_clear(tmp_path: Path) -> None:
    """No file contains a seed or the passphrase."""
    ring = filled(tmp_path)
    seeds = [ring.signer(name).seed() for name in ring.names()]
    for path in sealed_files(ring):
        data = path.read_bytes()
        assert not any(secret in data or secret.hex().encode() in data for secret in [PASSPHRASE, *seeds])


@given(st.binary(max_size=40))
@settings(max_examples=50)
def test_any_other_passphrase_is_refused(passphrase: bytes) -> None:
    """Any passphrase but the right one is refused."""
    assume(passphrase != PASSPHRASE)
    with tempfile.TemporaryDirectory() as folder:
        ring = filled(Path(folder))
        assert "passphrase for" in sentence(lambda: Keyring.unlock(ring.folder, passphrase))


@pytest.mark.spec("X-12")
@given(st.integers(0, 3), st.binary(max_size=600))
@settings(max_examples=100)
def test_any_bytes_in_a_file(which: int, data: bytes) -> None:
    """Any bytes in place of a keyring's file are a KeyFault, never another exception or a wrong key."""
    with tempfile.TemporaryDirectory() as folder:
        ring = filled(Path(folder))
        sealed_files(ring)[which].write_bytes(data)
        sentence(lambda: Keyring.unlock(ring.folder, PASSPHRASE).describe())


@pytest.mark.spec("X-12")
@given(st.integers(0, 3), st.integers(0, 10_000), st.integers(1, 255))
@settings(max_examples=300)
def test_any_changed_byte(which: int, place: int, change: int) -> None:
    """Any single changed byte in any file of a keyring is a KeyFault."""
    with tempfile.TemporaryDirectory() as folder:
        ring = filled(Path(folder))
        path = sealed_files(ring)[which]
        data = bytearray(path.read_bytes())
        data[place % len(data)] ^= change
        path.write_bytes(data)
        sentence(lambda: Keyring.unlock(ring.folder, PASSPHRASE).describe())


@pytest.mark.spec("X-12")
def test_truncated_files(tmp_path: Path) -> None:
    """A file cut off anywhere is a KeyFault."""
    ring = filled(tmp_path)
    for path in sealed_files(ring):
        whole = path.read_bytes()
        for length in range(0, len(whole), 7):
            path.write_bytes(whole[:length])
            sentence(lambda: Keyring.unlock(ring.folder, PASSPHRASE).describe())
        path.write_bytes(whole)


@pytest.mark.parametrize(
    ("sane", "absurd"), [(b'"mem_bytes":8192', b'"mem_bytes":4398046511104'), (b'"ops":1', b'"ops":17')]
)
def test_demanding_header(tmp_path: Path, sane: bytes, absurd: bytes) -> None:
    """A header that asks for absurd memory or work is refused before any of it is spent."""
    ring = filled(tmp_path)
    path = ring.folder / "keyring.json"
    whole = path.read_bytes()
    assert 1 == whole.count(sane)
    path.write_bytes(whole.replace(sane, absurd))
    assert "outside its bounds" in sentence(lambda: Keyring.unlock(ring.folder, PASSPHRASE))


def test_renamed_and_swapped_files(tmp_path: Path) -> None:
    """A key file under another name, two swapped ones, or a successor made current by hand are refused."""
    ring = filled(tmp_path)
    keys = ring.folder / "g1"
    shutil.copy2(keys / "root.key", keys / "other.key")
    assert "current key of 'root', moved here" in sentence(lambda: ring.signer("other"))
    shutil.copy2(keys / "root.next", keys / "root.key")
    assert "staged key of 'root', moved here" in sentence(lambda: ring.signer("root"))
    shutil.copy2(keys / "cells.math_cell.key", keys / "root.key")
    assert "moved here" in sentence(lambda: ring.signer("root"))


def test_key_of_another_keyring(tmp_path: Path) -> None:
    """A key file from another keyring does not open, even under the same passphrase."""
    ring = filled(tmp_path)
    other = Keyring.create(tmp_path / "other", PASSPHRASE, stream("other"), CHEAP)
    other.create_key("root", "ops", "genesis", stream("other"))
    shutil.copy2(other.folder / "g1" / "root.key", ring.folder / "g1" / "root.key")
    assert "altered or belongs to another keyring" in sentence(lambda: ring.signer("root"))


@pytest.mark.parametrize("place", ["", "keyring.json", "g1", "g1/root.key"])
def test_open_to_others(tmp_path: Path, place: str) -> None:
    """A folder or file that others may read is refused, with the command that closes it."""
    ring = filled(tmp_path)
    path = ring.folder / place
    mode = path.stat().st_mode & 0o777
    path.chmod(mode | 0o044)
    found = sentence(lambda: Keyring.unlock(ring.folder, PASSPHRASE).describe())
    assert f"{path} is open to other users (mode {mode | 0o044:04o}, expected {mode:04o}): run `chmod {mode:o}" in found


def test_what_is_not_there(tmp_path: Path) -> None:
    """A missing keyring, a folder that is none, a linked file and an unknown name each get their own sentence."""
    ring = filled(tmp_path)
    assert "is missing" in sentence(lambda: Keyring.unlock(tmp_path / "none", PASSPHRASE))
    (tmp_path / "empty").mkdir(mode=0o700)
    assert "keyring.json is missing" in sentence(lambda: Keyring.unlock(tmp_path / "empty", PASSPHRASE))
    header = ring.folder / "keyring.json"
    assert "is not a folder" in sentence(lambda: Keyring.unlock(header, PASSPHRASE))
    assert "holds no key named 'rot': did you mean 'root'?" in sentence(lambda: ring.signer("rot"))
    header.rename(tmp_path / "moved")
    header.symlink_to(tmp_path / "moved")
    assert "is a symbolic link" in sentence(lambda: Keyring.unlock(ring.folder, PASSPHRASE))
    header.unlink()
    os.mkfifo(header, 0o600)
    assert "is not a regular file" in sentence(lambda: Keyring.unlock(ring.folder, PASSPHRASE))


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """Neither a keyring nor a key is created over an existing one."""
    ring = filled(tmp_path)
    before = ring.describe()
    assert "already holds a keyring" in sentence(lambda: Keyring.create(ring.folder, b"x", stream(), CHEAP))
    assert "already holds a key named 'root'" in sentence(lambda: ring.create_key("root", "a", "b", stream()))
    assert before == Keyring.unlock(ring.folder, PASSPHRASE).describe()


@pytest.mark.parametrize("name", ["", "../x", "A", ".x", "a/b", "a" * 64, "a\0", "ä"])
def test_names(tmp_path: Path, name: str) -> None:
    """A name that is no plain file name is refused."""
    ring = filled(tmp_path)
    assert "is no name for a key" in sentence(lambda: ring.create_key(name, "ops", "seal", stream()))
    assert "is no name for a key" in sentence(lambda: ring.signer(name))


def test_storage_trouble(tmp_path: Path) -> None:
    """A write that the system refuses is a StorageFault, and the keyring stays as it was."""
    ring = filled(tmp_path)
    before = ring.describe()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(StorageFault, match="cannot be written"):
            ring.create_key("new", "ops", "seal", stream())
        with pytest.raises(StorageFault):
            ring.change_passphrase(PASSPHRASE, b"new", stream())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert before == Keyring.unlock(ring.folder, PASSPHRASE).describe()


# Rotation and change of passphrase


def test_rotation(tmp_path: Path) -> None:
    """A rotation replaces the key and keeps the public keys it retired, oldest first."""
    ring = filled(tmp_path)
    first, second = ring.rotate("cells.math_cell", stream("a"))
    again, third = ring.rotate("cells.math_cell", stream("b"))
    assert second.public == again.public
    info = Keyring.unlock(ring.folder, PASSPHRASE).describe()[0]
    assert ((first.public, second.public), third.public, None) == (info.retired, info.public, info.successor)


def test_rotation_in_two_steps(tmp_path: Path) -> None:
    """Between staging and commit both keys are readable, and staging again gives the same successor."""
    ring = filled(tmp_path)
    current, staged = ring.signer("root"), ring.staged("root")
    again = Keyring.unlock(ring.folder, PASSPHRASE)
    assert staged is not None
    assert staged.public == again.stage_rotation("root", stream("other")).public
    assert current.public == again.signer("root").public
    assert staged.public == again.commit_rotation("root", stream()).public
    assert (staged.public, None) == (ring.signer("root").public, ring.staged("root"))
    assert "no successor of 'root' is staged" in sentence(lambda: ring.commit_rotation("root", stream()))


def test_change_of_passphrase(tmp_path: Path) -> None:
    """After the change only the new passphrase opens the keyring, its keys are the same, and no former file is left."""
    ring = filled(tmp_path)
    before = ring.describe()
    assert "wrong passphrase for" in sentence(lambda: ring.change_passphrase(b"guess", b"new", stream()))
    ring.change_passphrase(PASSPHRASE, b"new", stream("change"))
    assert before == ring.describe() == Keyring.unlock(ring.folder, b"new").describe()
    assert "wrong passphrase for" in sentence(lambda: Keyring.unlock(ring.folder, PASSPHRASE))
    assert ["g2", "keyring.json"] == sorted(path.name for path in ring.folder.iterdir())


def test_changed_by_another_process(tmp_path: Path) -> None:
    """Who unlocked before a change of passphrase can neither write nor lose anything, and is told to unlock again."""
    ring = filled(tmp_path)
    Keyring.unlock(ring.folder, PASSPHRASE).change_passphrase(PASSPHRASE, b"new", stream("change"))
    assert "unlock it again" in sentence(lambda: ring.create_key("new", "ops", "seal", stream()))
    assert "unlock the keyring again" in sentence(lambda: ring.signer("root"))


_TOUCHES = ("open", "os.rename", "os.remove", "os.link", "os.mkdir", "os.rmdir", "shutil.rmtree", "fcntl.flock")


def cut_off(operation: Callable[[], object], after: int) -> bool:
    """Run the operation in a child that dies at its n-th touch of the file system; whether it got to the end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads: the child runs no other code
        child = os.fork()
    if child == 0:
        touches = 0

        def die(event: str, _: object) -> None:
            nonlocal touches
            if event in _TOUCHES:
                touches += 1
                if touches > after:
                    os._exit(1)

        try:
            sys.addaudithook(die)
            operation()
            os._exit(0)
        finally:
            os._exit(2)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in {0, 1}, "the operation failed by itself"
    return status == 0


def crashes(tmp_path: Path, operation: Callable[[Keyring], object]) -> list[Path]:
    """Folders of keyrings that a crash left behind, one for each place where the operation can be cut off."""
    ring = filled(tmp_path)
    folders: list[Path] = []
    finished = False
    while not finished:
        folder = tmp_path / str(len(folders))
        shutil.copytree(ring.folder, folder)
        victim = Keyring.unlock(folder, PASSPHRASE)
        finished = cut_off(lambda victim=victim: operation(victim), len(folders))
        folders.append(folder)
    return folders


def test_crash_while_changing_the_passphrase(tmp_path: Path) -> None:
    """Cut off anywhere, a change of passphrase leaves one whole keyring, under the old or the new one."""
    expected = filled(tmp_path / "expected").describe()
    folders = crashes(tmp_path, lambda ring: ring.change_passphrase(PASSPHRASE, b"new", stream("change")))
    opened: list[bytes] = []
    for folder in folders:
        for passphrase in (PASSPHRASE, b"new"):
            try:
                ring = Keyring.unlock(folder, passphrase)
            except KeyFault:
                continue
            opened.append(passphrase)
            assert expected == ring.describe()
            assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == [f"g{1 + (passphrase == b'new')}"]
    assert len(folders) == len(opened) > 20
    assert sorted(opened) == opened
    assert {PASSPHRASE, b"new"} == set(opened)


def test_crash_while_rotating(tmp_path: Path) -> None:
    """Cut off anywhere, a commit can be repeated: the key is the old or the new one, and at last the new one."""
    staged = filled(tmp_path / "expected").staged("root")
    assert staged is not None
    for folder in crashes(tmp_path, lambda ring: ring.commit_rotation("root", stream("commit"))):
        ring = Keyring.unlock(folder, PASSPHRASE)
        old = ring.signer("root").public
        assert staged.public in {old, *(key.successor for key in ring.describe())}
        if (folder / "g1" / "root.next").exists():
            assert staged.public == ring.commit_rotation("root", stream("again")).public
        assert (staged.public, None) == (ring.signer("root").public, ring.staged("root"))
        assert 1 == len(ring.describe()[1].retired)


def test_crash_while_creating(tmp_path: Path) -> None:
    """Cut off anywhere, a creation leaves a whole keyring or a folder in which it can be repeated."""
    finished = False
    for after in range(100):
        folder = tmp_path / str(after)
        finished = cut_off(lambda folder=folder: Keyring.create(folder, PASSPHRASE, stream(), CHEAP), after)
        if not (folder / "keyring.json").exists():
            Keyring.create(folder, PASSPHRASE, stream("again"), CHEAP)
        assert [] == Keyring.unlock(folder, PASSPHRASE).names()
        if finished:
            break
    assert finished


# Passphrase


def test_passphrase_is_generated_once(tmp_path: Path) -> None:
    """The first run generates a passphrase of 256 bits, 0600; later runs read the same one."""
    path = tmp_path / "home" / "passphrase"
    first = obtain(path, None, stream())
    assert (52, 0o600) == (len(first), path.stat().st_mode & 0o777)
    assert first == obtain(path, None, stream("other"))
    assert [path] == list(path.parent.iterdir())


def test_passphrase_from_credential(tmp_path: Path) -> None:
    """A credential is taken before the file, whose place it leaves alone; a missing one is never replaced."""
    path, credential = tmp_path / "passphrase", tmp_path / "credential"
    assert f"{credential} is missing" in sentence(lambda: obtain(path, credential, stream()))
    credential.write_bytes(b"from systemd\r\n")
    assert b"from systemd" == obtain(path, credential, stream())
    assert not path.exists()


def test_passphrase_file_refused(tmp_path: Path) -> None:
    """A passphrase file that others may read, that is empty, or that is no file is refused."""
    path = tmp_path / "passphrase"
    path.write_bytes(b"secret\n")
    path.chmod(0o640)
    assert "open to other users (mode 0640, expected 0600)" in sentence(lambda: obtain(path, None, stream()))
    path.write_bytes(b"\n")
    path.chmod(0o600)
    assert "holds no passphrase" in sentence(lambda: obtain(path, None, stream()))
    path.write_bytes(b"x" * 70_000)
    assert "is larger than" in sentence(lambda: obtain(path, None, stream()))
    path.unlink()
    path.mkdir()
    assert "is not a regular file" in sentence(lambda: obtain(path, None, stream()))


def test_crash_while_generating_the_passphrase(tmp_path: Path) -> None:
    """Cut off anywhere, the first run leaves a whole passphrase or none."""
    finished = False
    after = 0
    while not finished:
        path = tmp_path / str(after) / "passphrase"
        finished = cut_off(lambda path=path: obtain(path, None, stream()), after)
        assert (52, 52) == (len(obtain(path, None, stream("next"))), len(obtain(path, None, stream("later"))))
        after += 1
    assert after > 3
