"""The two file formats of a keyring, and how they are sealed.

Both files are one line of canonical JSON: a header anyone with the file can read, and bytes that only the master key
opens and that authenticate the header. A file is valid exactly if it re-encodes to itself, so no changed byte is
overlooked.

    keyring.json      header: format, generation, Argon2id salt and cost; sealed: nothing (it proves the passphrase)
    gN/NAME.key       header: format, name, owner, purpose, state, public key, retired public keys; sealed: the seed
    gN/NAME.next      the same, of the successor that a rotation has staged
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, Protocol, TypeVar

import msgspec
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_ABYTES,
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
    crypto_aead_xchacha20poly1305_ietf_KEYBYTES,
    crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
    crypto_pwhash_alg,
    crypto_pwhash_ALG_ARGON2ID13,
    crypto_pwhash_argon2id_MEMLIMIT_MIN,
    crypto_pwhash_argon2id_MEMLIMIT_MODERATE,
    crypto_pwhash_argon2id_MEMLIMIT_SENSITIVE,
    crypto_pwhash_argon2id_OPSLIMIT_MIN,
    crypto_pwhash_argon2id_OPSLIMIT_MODERATE,
    crypto_pwhash_SALTBYTES,
)
from nacl.exceptions import CryptoError
from nacl.exceptions import RuntimeError as SodiumRuntimeError

from shared.errors import KeyFault
from shared.keys.files import Entropy, draw
from shared.keys.signer import SEED_BYTES, LocalSigner

SALT_BYTES: Final = crypto_pwhash_SALTBYTES
_TAG_BYTES: Final = crypto_aead_xchacha20poly1305_ietf_ABYTES
_NONCE_BYTES: Final = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
_MAX_OPS: Final = 16  #: a file may not demand more work than this, nor more memory than libsodium's SENSITIVE
_MAX_MEM_BYTES: Final = crypto_pwhash_argon2id_MEMLIMIT_SENSITIVE


class Cost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one guess at the passphrase costs: Argon2id passes over that much memory."""

    ops: int
    mem_bytes: int


#: About half a second and 256 MiB.
MODERATE: Final = Cost(crypto_pwhash_argon2id_OPSLIMIT_MODERATE, crypto_pwhash_argon2id_MEMLIMIT_MODERATE)
#: No protection against guessing: for tests and simulation only.
CHEAP: Final = Cost(crypto_pwhash_argon2id_OPSLIMIT_MIN, crypto_pwhash_argon2id_MEMLIMIT_MIN)


class RingHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the master key of a keyring follows from its passphrase, and which folder holds its keys."""

    format: Literal["nimmerverse-keyring-1"]
    generation: int
    salt: bytes
    cost: Cost


class RingFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The bytes of keyring.json."""

    header: RingHeader
    nonce: bytes
    sealed: bytes


class KeyHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a key is for, and the public keys it succeeds, oldest first."""

    format: Literal["nimmerverse-key-1"]
    name: str
    owner: str
    purpose: str
    state: Literal["current", "staged"]
    public: bytes
    retired: tuple[bytes, ...]


class KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The bytes of one key's file."""

    header: KeyHeader
    nonce: bytes
    sealed: bytes


class Derivation(Protocol):
    """What a header says about how the master key follows from the passphrase."""

    @property
    def salt(self) -> bytes: ...

    @property
    def cost(self) -> Cost: ...


File = TypeVar("File", bound=msgspec.Struct)


def encode(file: msgspec.Struct) -> bytes:
    """The file's only valid bytes."""
    return msgspec.json.encode(file) + b"\n"


def decode(path: Path, data: bytes, kind: type[File]) -> File:
    """The file, which is still unproven; KeyFault unless the bytes are exactly one file of this kind."""
    try:
        file = msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise KeyFault(f"{path} is damaged ({error}): restore it from a backup.") from error
    if encode(file) != data:
        raise KeyFault(f"{path} is damaged (its bytes are not canonical): restore it from a backup.")
    return file


def master_key(path: Path, passphrase: bytes, header: Derivation) -> bytes:
    """The master key: Argon2id of the passphrase, the only slow step of an unlock."""
    if not passphrase:
        raise KeyFault(f"the passphrase for {path} is empty: give one of at least one byte.")
    cost = header.cost
    affordable = (
        crypto_pwhash_argon2id_OPSLIMIT_MIN <= cost.ops <= _MAX_OPS
        and crypto_pwhash_argon2id_MEMLIMIT_MIN <= cost.mem_bytes <= _MAX_MEM_BYTES
    )
    if not affordable or len(header.salt) != SALT_BYTES:
        raise KeyFault(f"{path} is damaged (salt or cost lies outside its bounds): restore it from a backup.")
    try:
        return crypto_pwhash_alg(
            crypto_aead_xchacha20poly1305_ietf_KEYBYTES,
            passphrase,
            header.salt,
            cost.ops,
            cost.mem_bytes,
            crypto_pwhash_ALG_ARGON2ID13,
        )
    except SodiumRuntimeError as error:
        raise KeyFault(f"{path} needs {cost.mem_bytes >> 20} MiB of memory to unlock: free that much.") from error


def seal_ring(master: bytes, header: RingHeader, entropy: Entropy) -> RingFile:
    """The header with a proof that only the right passphrase can check."""
    nonce = draw(entropy, _NONCE_BYTES)
    return RingFile(header, nonce, _encrypt(master, nonce, header, b""))


def proves(master: bytes, file: RingFile) -> bool:
    """Whether this master key made the file."""
    return _decrypt(master, file, 0) is not None


def seal_key(master: bytes, header: KeyHeader, signer: LocalSigner, entropy: Entropy) -> KeyFile:
    """The signing key sealed under its header."""
    assert header.public == signer.public, "a header names another public key than its own"
    nonce = draw(entropy, _NONCE_BYTES)
    return KeyFile(header, nonce, _encrypt(master, nonce, header, signer.seed()))


def open_key(path: Path, master: bytes, file: KeyFile) -> LocalSigner:
    """The signing key; KeyFault unless this master key sealed it under exactly this header."""
    seed = _decrypt(master, file, SEED_BYTES)
    if seed is None:
        raise KeyFault(f"{path} was altered or belongs to another keyring: restore it from a backup.")
    signer = LocalSigner(seed)
    if signer.public != file.header.public:
        raise KeyFault(f"{path} holds another key than its header says: restore it from a backup.")
    return signer


def _encrypt(master: bytes, nonce: bytes, header: RingHeader | KeyHeader, secret: bytes) -> bytes:
    return crypto_aead_xchacha20poly1305_ietf_encrypt(secret, msgspec.json.encode(header), nonce, master)


def _decrypt(master: bytes, file: RingFile | KeyFile, length: int) -> bytes | None:
    if len(file.nonce) != _NONCE_BYTES or len(file.sealed) != length + _TAG_BYTES:
        return None
    associated = msgspec.json.encode(file.header)
    try:
        return crypto_aead_xchacha20poly1305_ietf_decrypt(file.sealed, associated, file.nonce, master)
    except CryptoError:
        return None
