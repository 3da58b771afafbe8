"""NATS user keys: Ed25519 keys in base32 with a kind prefix and a checksum.

    seed    = base32( S-and-kind prefix, 2 bytes ‖ entropy, 32 bytes   ‖ CRC-16, little endian )   "SU…", 58 characters
    public  = base32( kind prefix, 1 byte        ‖ public key, 32 bytes ‖ CRC-16, little endian )   "U…",  56 characters

The CRC is XMODEM's (polynomial 0x1021, start 0). A user key opens a connection and signs nothing else.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, NamedTuple

from nacl.signing import SigningKey

from shared.errors import KeyFault
from shared.files import OPEN_TO_OTHERS, private_folder, write_private

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ENTROPY_BYTES = 32
_SEED_KIND = 18 << 3
_USER_KIND = 20 << 3
_SEED_PREFIX = bytes((_SEED_KIND | _USER_KIND >> 5, (_USER_KIND & 31) << 3))
_SEED_CHARS = 58


class NkeyPair(NamedTuple):
    """A user's key: the secret `seed` and the `public` name the server knows it by."""

    seed: str
    public: str

    def __repr__(self) -> str:
        return f"NkeyPair(public={self.public!r})"


def nkey_pair(entropy: bytes) -> NkeyPair:
    """The user key made from exactly 32 random bytes."""
    assert len(entropy) == ENTROPY_BYTES, f"{len(entropy)} bytes of entropy, expected {ENTROPY_BYTES}"
    public = bytes(SigningKey(entropy).verify_key)
    return NkeyPair(_encoded(_SEED_PREFIX + entropy), _encoded(bytes((_USER_KIND,)) + public))


def load_or_create(path: Path, entropy: Callable[[int], bytes]) -> NkeyPair:
    """The key kept in `path`; where there is none, a new one from `entropy(32)`, written 0600 in one step.

    Raises KeyFault for a file that is malformed or readable by others, StorageFault where it cannot be written.
    """
    private_folder(path.parent)
    if not path.exists():
        pair = nkey_pair(entropy(ENTROPY_BYTES))
        write_private(path, f"{pair.seed}\n")
        return pair
    return nkey_pair(_entropy_of(path, _read(path)))


def _read(path: Path) -> str:
    try:
        mode = path.stat().st_mode & 0o777
        if mode & OPEN_TO_OTHERS:
            raise KeyFault(
                f"{path} has mode {mode:o}, expected 600: others may know this key; delete it to get a new one."
            )
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFault(f"{path} cannot be read ({error}); expected a NATS user seed.") from error


def _entropy_of(path: Path, seed: str) -> bytes:
    malformed = KeyFault(
        f"{path} holds no NATS user seed (58 characters that begin with SU); delete it to get a new one."
    )
    if len(seed) != _SEED_CHARS:
        raise malformed
    try:
        raw = base64.b32decode(seed + "=" * (-len(seed) % 8))
    except binascii.Error:
        raise malformed from None
    body, checksum = raw[:-2], raw[-2:]
    if not body.startswith(_SEED_PREFIX) or checksum != _checksum(body):
        raise malformed
    return body[len(_SEED_PREFIX) :]


def _encoded(body: bytes) -> str:
    return base64.b32encode(body + _checksum(body)).decode().rstrip("=")


def _checksum(body: bytes) -> bytes:
    return binascii.crc_hqx(body, 0).to_bytes(2, "little")
