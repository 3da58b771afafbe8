"""A keyring: signing keys sealed on disk under one passphrase.

The folder holds `keyring.json` and one subfolder `gN` with a sealed file per key. `keyring.json` names the generation N
in force, so replacing that one file moves the whole keyring to another passphrase at once. Readers need no lock: every
file appears whole. Writers hold a lock on the folder and refuse to write when the keyring changed since their unlock.
"""

from __future__ import annotations

import difflib
import hmac
import os
import re
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import msgspec

from shared.errors import KeyFault
from shared.keys.files import (
    Entropy,
    check_folder,
    draw,
    locked,
    make_folder,
    read_file,
    storing,
    sync_folder,
    write_file,
)
from shared.keys.sealed import (
    MODERATE,
    SALT_BYTES,
    Cost,
    KeyFile,
    KeyHeader,
    RingFile,
    RingHeader,
    decode,
    encode,
    master_key,
    open_key,
    proves,
    seal_key,
    seal_ring,
)
from shared.keys.signer import LocalSigner, key_id_of

HEADER_NAME: Final = "keyring.json"
MAX_LABEL: Final = 200  #: characters of an owner or a purpose
RETIRED_KEPT: Final = 256  #: the log knows every former key; a key file names the latest
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
_GENERATION: Final = re.compile(r"g[0-9]+")
_SUFFIX: Final[dict[str, Literal["current", "staged"]]] = {".key": "current", ".next": "staged"}


class KeyInfo(msgspec.Struct, frozen=True):
    """What is public about one key: the current one, its staged successor if any, the retired ones (oldest first)."""

    name: str
    owner: str
    purpose: str
    key_id: str
    public: bytes
    successor: bytes | None
    retired: tuple[bytes, ...]


class Keyring:
    """An unlocked keyring. Make one by `create` or `unlock`; it keeps the master key, never the passphrase."""

    def __init__(self, folder: Path, file: RingFile, master: bytes) -> None:
        self.folder = folder
        self._file = file
        self._master = master

    def __repr__(self) -> str:
        return f"Keyring({str(self.folder)!r})"

    @classmethod
    def create(cls, folder: Path, passphrase: bytes, entropy: Entropy, cost: Cost = MODERATE) -> Keyring:
        """A new, empty keyring; KeyFault when the folder holds one already or is open to others."""
        path = folder / HEADER_NAME
        header = RingHeader("nimmerverse-keyring-1", 1, draw(entropy, SALT_BYTES), cost)
        master = master_key(path, passphrase, header)
        file = seal_ring(master, header, entropy)
        make_folder(folder)
        check_folder(folder)
        with locked(folder):
            if os.path.lexists(path):
                raise KeyFault(f"{folder} already holds a keyring: unlock it, or choose another folder.")
            ring = cls(folder, file, master)
            make_folder(ring._keys())
            _write(path, encode(file))
        return ring

    @classmethod
    def unlock(cls, folder: Path, passphrase: bytes) -> Keyring:
        """The keyring in the folder; KeyFault when it is missing, damaged, open to others, or the passphrase wrong."""
        path = folder / HEADER_NAME
        check_folder(folder)
        file = decode(path, read_file(path), RingFile)
        master = master_key(path, passphrase, file.header)
        if not proves(master, file):
            raise KeyFault(f"wrong passphrase for {path}, or its bytes were altered: give the right passphrase.")
        ring = cls(folder, file, master)
        check_folder(ring._keys())
        if ring._stale():
            with ring._writing():  # what a crash left behind may still open with a former passphrase
                pass
        return ring

    def names(self) -> list[str]:
        """The names of all keys, sorted."""
        return sorted(entry.stem for entry in self._entries() if entry.suffix == ".key")

    def signer(self, name: str) -> LocalSigner:
        """The current key of this name."""
        return self._open(name, ".key")[1]

    def staged(self, name: str) -> LocalSigner | None:
        """The successor that a rotation has staged and not yet committed."""
        current = self._open(name, ".key")[0]
        return self._staged(current)

    def describe(self) -> list[KeyInfo]:
        """What is public about every key, each header proven by its seal."""
        return [self._info(name) for name in self.names()]

    def create_key(self, name: str, owner: str, purpose: str, entropy: Entropy) -> LocalSigner:
        """A new key; KeyFault when the name is taken or malformed."""
        for field, text in (("owner", owner), ("purpose", purpose)):
            if not (0 < len(text) <= MAX_LABEL and text.isprintable()):
                raise KeyFault(f"{field} {text!r} is not 1 to {MAX_LABEL} printable characters: choose another.")
        signer = LocalSigner.generate(entropy)
        header = KeyHeader("nimmerverse-key-1", name, owner, purpose, "current", signer.public, ())
        with self._writing():
            path = self._path(name, ".key")
            if os.path.lexists(path):
                raise KeyFault(f"{self.folder} already holds a key named {name!r}: choose another name, or rotate it.")
            _write(path, encode(seal_key(self._master, header, signer, entropy)))
        return signer

    def rotate(self, name: str, entropy: Entropy) -> tuple[LocalSigner, LocalSigner]:
        """Replace the key at once: the retired key and its successor."""
        old = self.signer(name)
        self.stage_rotation(name, entropy)
        return old, self.commit_rotation(name, entropy)

    def stage_rotation(self, name: str, entropy: Entropy) -> LocalSigner:
        """The successor, sealed beside the current key; repeated after a crash, the same successor.

        Announce it, signed by the current key, before `commit_rotation`: the commit forgets the current secret.
        """
        with self._writing():
            current, _ = self._open(name, ".key")
            if (staged := self._staged(current)) is not None:
                return staged
            successor = LocalSigner.generate(entropy)
            retired = (*current.retired, current.public)[-RETIRED_KEPT:]
            header = msgspec.structs.replace(current, state="staged", public=successor.public, retired=retired)
            _write(self._path(name, ".next"), encode(seal_key(self._master, header, successor, entropy)))
        return successor

    def commit_rotation(self, name: str, entropy: Entropy) -> LocalSigner:
        """Make the staged successor current and keep its predecessor's public key as retired.

        Repeated after a crash it finishes what is left. KeyFault when nothing is staged.
        """
        with self._writing():
            path = self._path(name, ".next")
            if not os.path.lexists(path):
                raise KeyFault(f"no successor of {name!r} is staged in {self.folder}: stage a rotation first.")
            staged, successor = self._open(name, ".next")
            header = msgspec.structs.replace(staged, state="current")
            _write(self._path(name, ".key"), encode(seal_key(self._master, header, successor, entropy)))
            with storing(path):
                path.unlink()
                sync_folder(path.parent)
        return successor

    def change_passphrase(self, old: bytes, new: bytes, entropy: Entropy, cost: Cost | None = None) -> None:
        """Seal everything anew under another passphrase; at every instant the folder holds one whole keyring.

        KeyFault when `old` is wrong. Copies made before still open with the old passphrase: rotate keys that leaked.
        """
        path = self.folder / HEADER_NAME
        header = self._file.header
        if not hmac.compare_digest(master_key(path, old, header), self._master):
            raise KeyFault(f"wrong passphrase for {path}: give the one in force.")
        salt = draw(entropy, SALT_BYTES)
        header = RingHeader(header.format, header.generation + 1, salt, cost or header.cost)
        master = master_key(path, new, header)
        successor = Keyring(self.folder, seal_ring(master, header, entropy), master)
        with self._writing():
            keys = [(entry.name, *self._open(entry.stem, entry.suffix)) for entry in self._entries()]
            make_folder(successor._keys())
            for entry, key, signer in keys:
                _write(successor._keys() / entry, encode(seal_key(master, key, signer, entropy)))
            with storing(self.folder):
                sync_folder(self.folder)
            _write(path, encode(successor._file))
            self._file, self._master = successor._file, master
            self._sweep()

    def _keys(self) -> Path:
        return self.folder / f"g{self._file.header.generation}"

    def _path(self, name: str, suffix: str) -> Path:
        if not _NAME.fullmatch(name):
            wanted = "lower-case letters, digits, `_`, `.` and `-`, at most 63"
            raise KeyFault(f"{name!r} is no name for a key; expected {wanted}: choose another.")
        return self._keys() / (name + suffix)

    def _entries(self) -> list[Path]:
        folder = self._keys()
        try:
            return sorted(entry for entry in folder.iterdir() if entry.suffix in _SUFFIX)
        except OSError as error:
            raise KeyFault(f"{folder} cannot be listed ({error.strerror}): unlock the keyring again.") from error

    def _open(self, name: str, suffix: str) -> tuple[KeyHeader, LocalSigner]:
        path = self._path(name, suffix)
        if not os.path.lexists(path):
            names = self.names()
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"its keys are {', '.join(names) or 'none'}."
            raise KeyFault(f"{self.folder} holds no key named {name!r}: {hint}")
        file = decode(path, read_file(path), KeyFile)
        signer = open_key(path, self._master, file)
        if (file.header.name, file.header.state) != (name, _SUFFIX[suffix]):
            found = f"{file.header.state} key of {file.header.name!r}"
            raise KeyFault(f"{path} is the {found}, moved here: move it back or restore it from a backup.")
        return file.header, signer

    def _staged(self, current: KeyHeader) -> LocalSigner | None:
        if not os.path.lexists(self._path(current.name, ".next")):
            return None
        header, successor = self._open(current.name, ".next")
        return successor if header.public != current.public else None  # equal: a commit was cut off at its last step

    def _info(self, name: str) -> KeyInfo:
        header, _ = self._open(name, ".key")
        staged = self._staged(header)
        successor = staged.public if staged else None
        key_id = key_id_of(header.public)
        return KeyInfo(name, header.owner, header.purpose, key_id, header.public, successor, header.retired)

    @contextmanager
    def _writing(self) -> Generator[None, None, None]:
        with locked(self.folder):
            path = self.folder / HEADER_NAME
            if read_file(path) != encode(self._file):
                raise KeyFault(f"{path} was changed since it was unlocked: unlock it again.")
            self._sweep()
            yield

    def _stale(self) -> list[Path]:
        """Generations that are not in force: an unfinished change of passphrase, or what a finished one replaced."""
        with storing(self.folder):
            folders = [entry for entry in self.folder.iterdir() if _GENERATION.fullmatch(entry.name)]
        return [folder for folder in folders if folder != self._keys()]

    def _sweep(self) -> None:
        for folder in self._stale():
            with storing(folder):
                shutil.rmtree(folder)


def _write(path: Path, data: bytes) -> None:
    write_file(path, data, temporary=f".{path.name}.tmp", replace=True)
