"""ML-DSA-44 (FIPS 204) beside Ed25519: a second signature that a quantum computer would not forge.

Needs the optional extra `pq` (cryptography). Signatures are hedged: signing twice gives two signatures, both valid, so
nothing that has to be the same byte for byte may hold one. The context string is empty, as C2SP's cosignatures have it.
"""

from __future__ import annotations

import importlib
from typing import Any, Final

from blake3 import blake3

from shared.errors import KeyFault
from shared.extras import how_to_install
from shared.keys.signer import LocalSigner

MLDSA_PUBLIC_BYTES: Final = 1312
MLDSA_SIGNATURE_BYTES: Final = 2420
MLDSA_SEED_BYTES: Final = 32
_SEED_CONTEXT: Final = "nimmerverse 2026 ml-dsa-44 seed v1"


class MlDsaSigner:
    """An ML-DSA-44 key in memory, made from its 32-byte seed (FIPS 204's ξ)."""

    __slots__ = ("_key", "public")

    def __init__(self, seed: bytes) -> None:
        assert len(seed) == MLDSA_SEED_BYTES, f"{len(seed)} bytes of seed, expected {MLDSA_SEED_BYTES}"
        self._key = _mldsa().MLDSA44PrivateKey.from_seed_bytes(seed)
        self.public: bytes = self._key.public_key().public_bytes_raw()

    @classmethod
    def beside(cls, sealed: LocalSigner) -> MlDsaSigner:
        """The key that belongs to a key of the keyring: its seed follows from the sealed one, and never back.

        So it is sealed, rotated and restored with that key, and the keyring's files stay what they are.
        """
        return cls(blake3(sealed.seed(), derive_key_context=_SEED_CONTEXT).digest(MLDSA_SEED_BYTES))

    def sign(self, message: bytes) -> bytes:
        """A signature of exactly these bytes, 2420 bytes."""
        return self._key.sign(message)

    def __repr__(self) -> str:
        return f"MlDsaSigner({self.public[:8].hex()}…)"


def verify_mldsa(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the signature is the key's; any malformed input is simply not a signature. KeyFault without the extra."""
    library = _mldsa()
    if len(public) != MLDSA_PUBLIC_BYTES or len(signature) != MLDSA_SIGNATURE_BYTES:
        return False
    invalid = importlib.import_module("cryptography.exceptions").InvalidSignature
    try:
        library.MLDSA44PublicKey.from_public_bytes(public).verify(signature, message)
    except invalid:
        return False
    return True


def _mldsa() -> Any:  # noqa: ANN401 - the module is optional, so its types are not at hand
    try:
        return importlib.import_module("cryptography.hazmat.primitives.asymmetric.mldsa")
    except ImportError as error:
        raise KeyFault(
            "the optional extra `pq` is not installed, so nothing can be signed or verified with ML-DSA-44: "
            f"{how_to_install('pq')}."
        ) from error
