"""The files of a vault.

    vault.json        one line of canonical JSON: format, vault id, generation, Argon2id salt and cost; sealed under
                      the passphrase's key: the generation's own random key
    gN/HASH.sealed    one entry of generation N: nonce ‖ XChaCha20-Poly1305 of its space, key and value, padded; HASH
                      is a keyed hash of space and key, so that a file's name says nothing

An entry authenticates the vault, the generation and its own file name: none can be moved, swapped or brought back.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import msgspec
from blake3 import blake3

from shared.errors import KeyFault
from shared.keys.files import Entropy, draw, read_file
from shared.keys.sealed import SALT_BYTES, Cost, decode, master_key
from shared.vault.aead import KEY_BYTES, close, unclose
from shared.vault.store import Slot, Space

HEADER_NAME: Final = "vault.json"
SUFFIX: Final = ".sealed"
ID_BYTES: Final = 16
MAX_ENTRY_BYTES: Final = 60_000  #: of space, key and value together: the largest file that is read back is 64 KiB
REREADS: Final = 4  #: of a header that was overwritten while it was read
_NAMES: Final = "nimmerverse 2026 names of a vault's files"
_ENTRY: Final = b"nimmerverse vault entry 1\0"


class VaultHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which vault this is, which generation is in force, and how the passphrase opens it."""

    format: Literal["nimmerverse-vault-1"]
    vault: bytes
    generation: int
    salt: bytes
    cost: Cost


class VaultFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The bytes of vault.json: the header, and the generation's key sealed under it."""

    header: VaultHeader
    sealed: bytes


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an entry's file holds."""

    space: Space
    key: str
    value: bytes


class Generation:
    """One generation of a vault: its number and its key. It seals, opens and names entries."""

    def __init__(self, header: VaultHeader, key: bytes) -> None:
        self.number = header.generation
        self._key = key
        self._names = blake3(key, derive_key_context=_NAMES).digest()
        self._about = _ENTRY + header.vault + header.generation.to_bytes(8, "big")

    def __repr__(self) -> str:
        return f"Generation({self.number})"

    @property
    def folder(self) -> str:
        """The name of its folder."""
        return f"g{self.number}"

    def file_of(self, slot: Slot) -> str:
        """Return the name of an entry's file."""
        return blake3(msgspec.msgpack.encode(slot), key=self._names).hexdigest() + SUFFIX

    def seal(self, slot: Slot, value: bytes, entropy: Entropy) -> bytes:
        """Return the bytes of an entry's file."""
        secret = msgspec.msgpack.encode(Entry(*slot, value))
        if len(secret) > MAX_ENTRY_BYTES:
            found = f"an entry of {len(secret)} bytes"
            raise KeyFault(
                f"the vault takes entries of at most {MAX_ENTRY_BYTES} bytes, found {found}: keep it elsewhere."
            )
        return close(self._key, secret, self._about + self.file_of(slot).encode(), entropy)

    def open(self, path: Path, data: bytes) -> Entry:
        """Return an entry; KeyFault unless this generation sealed it under exactly this file name."""
        secret = unclose(self._key, data, self._about + path.name.encode())
        try:
            entry = None if secret is None else msgspec.msgpack.decode(secret, type=Entry)
        except msgspec.DecodeError:
            entry = None
        if entry is None or self.file_of((entry.space, entry.key)) != path.name:
            raise KeyFault(f"{path} was altered or belongs to another vault: restore the vault from its backup.")
        return entry


def new_header(vault: bytes, generation: int, cost: Cost, entropy: Entropy) -> VaultHeader:
    """Return a header with a salt of its own."""
    return VaultHeader("nimmerverse-vault-1", vault, generation, draw(entropy, SALT_BYTES), cost)


def wrap(master: bytes, header: VaultHeader, key: bytes, entropy: Entropy) -> VaultFile:
    """Return the header with the generation's key sealed under the passphrase's."""
    return VaultFile(header, close(master, key, msgspec.json.encode(header), entropy))


def unwrap(master: bytes, file: VaultFile) -> Generation | None:
    """Return the generation that the file names, or None where this master key did not make it."""
    key = unclose(master, file.sealed, msgspec.json.encode(file.header))
    return Generation(file.header, key) if key is not None and len(key) == KEY_BYTES else None


def read_header(folder: Path) -> VaultFile:
    """Return what vault.json in a folder says; KeyFault unless it is exactly one private file of this kind."""
    path = folder / HEADER_NAME
    data = read_file(path)
    for _ in range(REREADS):
        if b"\0" not in data:
            break
        data = read_file(path)  # a rotation replaced the file that was opened, and then overwrote it
    file = decode(path, data, VaultFile)
    if len(file.header.vault) != ID_BYTES or file.header.generation < 1:
        raise KeyFault(f"{path} is damaged (id or generation lies outside its bounds): restore it from a backup.")
    return file


def unlock(folder: Path, passphrase: bytes) -> tuple[bytes, VaultFile]:
    """Return the master key and the header that it opens; KeyFault where the passphrase is wrong."""
    path, file = folder / HEADER_NAME, read_header(folder)
    master = master_key(path, passphrase, file.header)
    if unwrap(master, file) is None:
        raise KeyFault(f"wrong passphrase for {path}, or its bytes were altered: give the right passphrase.")
    return master, file
