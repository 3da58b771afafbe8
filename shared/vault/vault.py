"""A vault: secrets sealed on disk under one passphrase, their names too.

`vault.json` names the generation in force and holds its key, so replacing that one file moves the whole vault to
another key or passphrase at once; a crash before it leaves the old generation whole, a crash after it the new one.
Every operation holds a lock on the folder and looks at that file first: any number of processes may share a vault.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from shared.errors import KeyFault
from shared.files import storing, sync_folder
from shared.keys.files import Entropy, check_folder, draw, locked, make_folder, read_file, write_file
from shared.keys.sealed import MODERATE, Cost, encode, master_key
from shared.vault.aead import KEY_BYTES
from shared.vault.backup import copy_to, reach
from shared.vault.format import (
    HEADER_NAME,
    ID_BYTES,
    SUFFIX,
    Entry,
    Generation,
    VaultFile,
    VaultHeader,
    new_header,
    read_header,
    unlock,
    unwrap,
    wrap,
)
from shared.vault.generations import replace_header, sweep
from shared.vault.store import Slot, Space

MAX_KEY_CHARS: Final = 1_024  #: of an entry's key
_COPY_ID_BYTES: Final = 4
_ORDERED: Final = b"\0"  #: a copy was registered; a crash may have come before its first writing
_WRITTEN: Final = b"\1"
_SEALED: Final = re.compile(rf"[0-9a-f]{{64}}{re.escape(SUFFIX)}")


class Vault:
    """An unlocked vault. Make one by `create` or `unlock`; it keeps the master key, never the passphrase."""

    def __init__(self, folder: Path, master: bytes, file: VaultFile, entropy: Entropy) -> None:
        self.folder, self._master, self.entropy = folder, master, entropy
        self._file: VaultFile = file
        self._generation = self._unwrapped(file)
        self._thread = threading.RLock()
        self._depth = 0

    def __repr__(self) -> str:
        return f"Vault({str(self.folder)!r})"

    @classmethod
    def create(cls, folder: Path, passphrase: bytes, entropy: Entropy, cost: Cost = MODERATE) -> Vault:
        """A new, empty vault; KeyFault when the folder holds one already or is open to others."""
        path, header = folder / HEADER_NAME, new_header(draw(entropy, ID_BYTES), 1, cost, entropy)
        master = master_key(path, passphrase, header)
        file = wrap(master, header, draw(entropy, KEY_BYTES), entropy)
        make_folder(folder)
        check_folder(folder)
        with locked(folder):
            if os.path.lexists(path):
                raise KeyFault(f"{folder} already holds a vault: unlock it, or choose another folder.")
            vault = cls(folder, master, file, entropy)
            make_folder(vault._entries())
            replace_header(folder, encode(file))
        return vault

    @classmethod
    def unlock(cls, folder: Path, passphrase: bytes, entropy: Entropy) -> Vault:
        """The vault in a folder; KeyFault when it is missing, damaged, open to others, or the passphrase wrong."""
        check_folder(folder)
        vault = cls(folder, *unlock(folder, passphrase), entropy)
        with vault.hold():
            check_folder(vault._entries())
        return vault

    @property
    def identity(self) -> bytes:
        """What tells this vault and its copies from any other."""
        return self._file.header.vault

    @property
    def generation(self) -> int:
        """The number of the generation in force."""
        return self._generation.number

    @contextmanager
    def hold(self) -> Generator[None]:
        """Keep every other process and thread out, on the generation in force; what a crash left behind is removed."""
        with self._thread:
            if self._depth:
                yield
                return
            with locked(self.folder):
                self._refresh()
                self._depth += 1
                try:
                    yield
                finally:
                    self._depth -= 1

    def get(self, space: Space, key: str) -> bytes | None:
        """The value of an entry, None where there is none; KeyFault where its file was altered."""
        with self.hold():
            path = self._path((space, key))
            return self._read(path).value if os.path.lexists(path) else None

    def put(self, space: Space, key: str, value: bytes) -> None:
        """Write an entry, or replace it. KeyFault where it is too large, StorageFault where the disk refuses."""
        if not 0 < len(key) <= MAX_KEY_CHARS:
            raise KeyFault(f"an entry's name has 1 to {MAX_KEY_CHARS} characters, found {len(key)}: choose another.")
        with self.hold():
            path = self._path((space, key))
            data = self._generation.seal((space, key), value, self.entropy)
            write_file(path, data, temporary=f".{path.name}.tmp", replace=True)

    def delete(self, space: Space, key: str) -> bool:
        """Remove an entry; False where there is none. Its bytes stay openable in older copies: `rotate` ends that."""
        with self.hold():
            path = self._path((space, key))
            if not os.path.lexists(path):
                return False
            with storing(path):
                path.unlink()
                sync_folder(path.parent)
            return True

    def names(self, space: Space) -> list[str]:
        """The keys of a space, sorted; every entry is opened for it."""
        with self.hold():
            return sorted(entry.key for entry in self._all() if entry.space == space)

    def rotate(self, drop: Collection[Slot] = (), add: Mapping[Slot, bytes] | None = None) -> None:
        """Seal everything but `drop`, and `add`, under a new random key; the old key is destroyed."""
        with self.hold():
            header = msgspec.structs.replace(self._file.header, generation=self._generation.number + 1)
            self._renew(self._master, header, drop, add or {})

    def change_passphrase(self, new: bytes, cost: Cost | None = None) -> None:
        """Seal the vault and its backups anew under another passphrase. Copies made elsewhere keep the former one."""
        with self.hold():
            old = self._file.header
            header = new_header(old.vault, old.generation + 1, cost or old.cost, self.entropy)
            self._renew(master_key(self.folder / HEADER_NAME, new, header), header, (), {})
            self.rewrite_backups()

    # Copies

    def backup(self, folder: Path) -> str:
        """Register a folder as a copy of this vault, write it, and return the copy's id.

        It is registered first: a copy that nobody knows of would outlive an erasure. Once it was written it must be
        there, for a second one in its place, such as below a mount point, would hide it.
        """
        with self.hold():
            known = self.get("backup", str(folder))
            if known is None:
                self._refuse_place(folder)
                known = draw(self.entropy, _COPY_ID_BYTES) + _ORDERED
                self.put("backup", str(folder), known)
            if not known.endswith(_WRITTEN):
                copy_to(self.folder, self._generation.folder, folder)
                self.put("backup", str(folder), known[:_COPY_ID_BYTES] + _WRITTEN)
            reach(folder, self.identity)
            copy_to(self.folder, self._generation.folder, folder)
            return known[:_COPY_ID_BYTES].hex()

    def backups(self) -> dict[Path, str]:
        """The registered copies and their ids."""
        with self.hold():
            return {Path(place): self._copy_id(place) for place in self.names("backup")}

    def forget_backup(self, folder: Path) -> bool:
        """Take a copy that exists no more out of the register; False where it never was in it."""
        return self.delete("backup", str(folder))

    def rewrite_backups(self) -> list[str]:
        """Replace every registered copy by what the vault holds now; return their ids. Raises BackupUnreachable."""
        with self.hold():
            known = self.backups()
            for place in known:
                reach(place, self.identity)
            for place in known:
                copy_to(self.folder, self._generation.folder, place)
            return sorted(known.values())

    # Inside

    def _copy_id(self, place: str) -> str:
        value = self.get("backup", place)
        assert value is not None, "the vault is held, so nobody took it out"
        return value[:_COPY_ID_BYTES].hex()

    def _refuse_place(self, folder: Path) -> None:
        if not folder.is_absolute() or folder.resolve().is_relative_to(self.folder.resolve()):
            raise KeyFault(f"{folder} is no place for a backup of {self.folder}: name an absolute path outside it.")
        if folder.exists() and any(folder.iterdir()):
            raise KeyFault(f"{folder} is not empty: name a folder that is missing or empty for the backup.")

    def _renew(self, master: bytes, header: VaultHeader, drop: Collection[Slot], add: Mapping[Slot, bytes]) -> None:
        """Write the next generation beside the one in force, then let vault.json name it."""
        key = draw(self.entropy, KEY_BYTES)
        file = wrap(master, header, key, self.entropy)
        coming = Generation(header, key)
        held: dict[Slot, bytes] = {(entry.space, entry.key): entry.value for entry in self._all()}
        folder = self.folder / coming.folder
        make_folder(folder)
        kept = {slot: value for slot, value in held.items() if slot not in drop}
        for slot, value in (kept | dict(add)).items():
            path = folder / coming.file_of(slot)
            write_file(path, coming.seal(slot, value, self.entropy), temporary=f".{path.name}.tmp", replace=True)
        with storing(self.folder):
            sync_folder(self.folder)
        replace_header(self.folder, encode(file))
        self._master, self._file, self._generation = master, file, coming
        sweep(self.folder, coming.folder)

    def _refresh(self) -> None:
        """Follow a rotation that another process made; KeyFault where the passphrase was changed instead."""
        file = read_header(self.folder)
        if file != self._file:
            self._file, self._generation = file, self._unwrapped(file)
        sweep(self.folder, self._generation.folder)

    def _unwrapped(self, file: VaultFile) -> Generation:
        generation = unwrap(self._master, file)
        if generation is None:
            raise KeyFault(
                f"{self.folder / HEADER_NAME} has another passphrase than it was unlocked with: unlock it again."
            )
        return generation

    def _entries(self) -> Path:
        return self.folder / self._generation.folder

    def _path(self, slot: Slot) -> Path:
        return self._entries() / self._generation.file_of(slot)

    def _read(self, path: Path) -> Entry:
        return self._generation.open(path, read_file(path))

    def _all(self) -> list[Entry]:
        folder = self._entries()
        try:
            files = sorted(path for path in folder.iterdir() if _SEALED.fullmatch(path.name))
        except OSError as error:
            raise KeyFault(
                f"{folder} cannot be listed ({error.strerror}): restore the vault from its backup."
            ) from error
        return [self._read(path) for path in files]
