"""Authenticated encryption: XChaCha20-Poly1305 with a random nonce in front and the length padded."""

from __future__ import annotations

from typing import Final

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_ABYTES,
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
    crypto_aead_xchacha20poly1305_ietf_KEYBYTES,
    crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
    sodium_pad,
    sodium_unpad,
)
from nacl.exceptions import CryptoError

from shared.keys.files import Entropy, draw

KEY_BYTES: Final = crypto_aead_xchacha20poly1305_ietf_KEYBYTES
NONCE_BYTES: Final = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
TAG_BYTES: Final = crypto_aead_xchacha20poly1305_ietf_ABYTES
BLOCK_BYTES: Final = 32  #: a sealed text shows its length in these steps only


def close(key: bytes, secret: bytes, about: bytes, entropy: Entropy) -> bytes:
    """Return nonce ‖ ciphertext of the padded secret; it opens only with the same key and the same `about`."""
    nonce = draw(entropy, NONCE_BYTES)
    return nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(sodium_pad(secret, BLOCK_BYTES), about, nonce, key)


def unclose(key: bytes, closed: bytes, about: bytes) -> bytes | None:
    """Return the secret, or None where key, bytes or `about` are not the ones it was closed with."""
    nonce, sealed = closed[:NONCE_BYTES], closed[NONCE_BYTES:]
    if len(sealed) < TAG_BYTES + BLOCK_BYTES or len(key) != KEY_BYTES:
        return None
    try:
        return sodium_unpad(crypto_aead_xchacha20poly1305_ietf_decrypt(sealed, about, nonce, key), BLOCK_BYTES)
    except CryptoError:
        return None
