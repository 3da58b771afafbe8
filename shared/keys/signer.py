"""Ed25519 signing keys in hand, and the one verifier of the product: libsodium.

Verifiers disagree on edge cases, so no second library may verify here.
"""

from __future__ import annotations

from typing import Final, Protocol, runtime_checkable

from blake3 import blake3
from nacl.bindings import crypto_core_ed25519_is_valid_point
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from shared.errors import KeyFault
from shared.keys.files import Entropy, draw

PUBLIC_BYTES: Final = 32
SEED_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
_KEY_ID_CONTEXT: Final = "nimmerverse 2026 key id v1"
_FIELD_PRIME: Final = 2**255 - 19

#: Every encoding of the eight points of low order: eight canonical ones and six alternatives (C2SP CCTV, ed25519).
LOW_ORDER: Final = frozenset(
    bytes.fromhex(encoding)
    for encoding in (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    )
)


class Signer(Protocol):
    """Whatever signs at once with one key: a key in memory, or one on a token."""

    @property
    def key_id(self) -> str:
        """The key's id: 32 lower-case hexadecimal digits."""
        ...

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        ...

    def sign(self, message: bytes) -> bytes:
        """The Ed25519 signature of exactly these bytes, 64 bytes."""
        ...


@runtime_checkable
class RemoteSigner(Protocol):
    """Whoever signs elsewhere, so that the answer has to be waited for and may be a refusal."""

    @property
    def key_id(self) -> str: ...

    @property
    def public(self) -> bytes: ...

    async def signature(self, message: bytes) -> bytes:
        """The Ed25519 signature of exactly these bytes; Refused, or a Fault that may allow a retry."""
        ...


async def signature_of(signer: Signer | RemoteSigner, message: bytes) -> bytes:
    """The signature by whichever kind of signer; one at hand is not waited for."""
    return await signer.signature(message) if isinstance(signer, RemoteSigner) else signer.sign(message)


class LocalSigner:
    """A signing key in this process's memory, made from its 32-byte seed."""

    __slots__ = ("_key", "key_id", "public")

    def __init__(self, seed: bytes) -> None:
        self._key = SigningKey(seed)
        self.public = bytes(self._key.verify_key)
        self.key_id = key_id_of(self.public)

    @classmethod
    def generate(cls, entropy: Entropy) -> LocalSigner:
        """A new key."""
        return cls(draw(entropy, SEED_BYTES))

    def sign(self, message: bytes) -> bytes:
        """The signature of exactly these bytes."""
        return self._key.sign(message).signature

    def seed(self) -> bytes:
        """The secret itself, for the sealed file alone."""
        return bytes(self._key)

    def __repr__(self) -> str:
        return f"LocalSigner({self.key_id})"


class ProxiedKey:
    """The public half of a key that a signing proxy holds: enough to be introduced, not to sign."""

    __slots__ = ("key_id", "name", "public")

    def __init__(self, name: str, public: bytes) -> None:
        check_public(public)
        self.name, self.public, self.key_id = name, public, key_id_of(public)

    def sign(self, message: bytes) -> bytes:
        """Nothing: KeyFault."""
        raise KeyFault(f"the key of {self.name} is behind the signing proxy, which signs decisions and nothing else.")

    def __repr__(self) -> str:
        return f"ProxiedKey({self.key_id} of {self.name})"


def key_id_of(public: bytes) -> str:
    """The id of a public key: the first 16 bytes of its domain-separated BLAKE3, in hexadecimal."""
    return blake3(public, derive_key_context=_KEY_ID_CONTEXT).digest(16).hex()


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether libsodium accepts the signature; any malformed input is simply not a signature."""
    if len(public) != PUBLIC_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        VerifyKey(public).verify(message, signature)
    except BadSignatureError:
        return False
    return True


def is_low_order(public: bytes) -> bool:
    """Whether these bytes encode a point of order 1, 2, 4 or 8, for which one signature fits many messages."""
    return public in LOW_ORDER


def is_canonical(public: bytes) -> bool:
    """Whether the encoded y coordinate is below the field's prime, the only encoding RFC 8032 allows.

    The two remaining alternatives, x = −0, are points of low order.
    """
    y = int.from_bytes(public, "little") & ((1 << 255) - 1)
    return y < _FIELD_PRIME


def check_public(public: bytes) -> None:
    """Refuse, by KeyFault, a public key that must never be registered.

    Also refused are points with a part of low order: no honest key has one, and verifiers disagree about them.
    """
    if len(public) != PUBLIC_BYTES:
        raise KeyFault(f"the public key has {len(public)} bytes, expected {PUBLIC_BYTES}: register an Ed25519 key.")
    shown = public.hex()
    if is_low_order(public):
        raise KeyFault(f"public key {shown} is a point of low order, which proves nothing: generate a new key.")
    if not is_canonical(public):
        raise KeyFault(f"public key {shown} is not in canonical encoding: re-encode it or generate a new key.")
    if not crypto_core_ed25519_is_valid_point(public):
        raise KeyFault(f"public key {shown} is not a point of the prime-order group: generate a new key.")
