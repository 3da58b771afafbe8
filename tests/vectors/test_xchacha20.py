"""Wycheproof's vectors for XChaCha20-Poly1305, the cipher that seals keys at rest, by the calls the product makes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import pytest
from nacl.exceptions import CryptoError

from shared.keys import sealed

VECTORS = Path(__file__).parents[3] / "shared" / "vectors" / "wycheproof" / "xchacha20_poly1305_test.json"

pytestmark = [
    pytest.mark.spec("COL-15"),
    pytest.mark.skipif(not VECTORS.is_file(), reason=f"the published vectors are not at {VECTORS}"),
]


def opened(key: bytes, nonce: bytes, aad: bytes, sealed_text: bytes) -> bytes | None:
    """What the cipher gives, None where it refuses."""
    try:
        return sealed.crypto_aead_xchacha20poly1305_ietf_decrypt(sealed_text, aad, nonce, key)
    except (CryptoError, ValueError, TypeError):
        return None


def test_wycheproof() -> None:
    """Every case opens exactly if it is valid, to its message; every valid one is sealed to the same bytes."""
    data = json.loads(VECTORS.read_bytes())
    judged = 0
    for group in data["testGroups"]:
        for case in cast("list[dict[str, str]]", group["tests"]):
            key, nonce, aad, message, ct, tag = (
                bytes.fromhex(case[name]) for name in ("key", "iv", "aad", "msg", "ct", "tag")
            )
            valid = case["result"] == "valid"
            assert (message if valid else None) == opened(key, nonce, aad, ct + tag), case
            if valid:
                assert ct + tag == sealed.crypto_aead_xchacha20poly1305_ietf_encrypt(message, aad, nonce, key)
            judged += 1
    assert data["numberOfTests"] == judged
