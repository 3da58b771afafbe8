"""ML-DSA-44 against a published vector, and against a second library that shares no code with the first."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import cast

import pytest
from dilithium_py.ml_dsa import ML_DSA_44
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import KeyFault
from shared.keys import CHEAP, Keyring, LocalSigner, MlDsaSigner, verify_mldsa

pytestmark = pytest.mark.spec("X-04")

#: C2SP CCTV, ML-DSA/accumulated: 100 iterations of ML-DSA-44.
ACCUMULATED = "d51148e1f9f4fa1a723a6cf42e25f2a99eb5c1b378b3d2dbbd561b1203beeae4"


def reference_sign(seed: bytes, message: bytes) -> bytes:
    """The deterministic signature by the second library, which says itself that it is for tests alone."""
    _, secret = ML_DSA_44.key_derive(seed)
    return cast("bytes", ML_DSA_44.sign(secret, message, deterministic=True))


@pytest.mark.slow
def test_accumulated_vector() -> None:
    """Our public keys, and deterministic signatures that we accept, accumulate to the hash that CCTV publishes."""
    seeds = hashlib.shake_128(b"").digest(32 * 100)
    told = hashlib.shake_128()
    for at in range(0, len(seeds), 32):
        seed = seeds[at : at + 32]
        public, signature = MlDsaSigner(seed).public, reference_sign(seed, b"")
        assert verify_mldsa(public, b"", signature)
        told.update(public + signature)
    assert ACCUMULATED == told.digest(32).hex()


@settings(max_examples=15)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=500), st.integers(0, 2419), st.integers(1, 255))
def test_two_libraries_agree(seed: bytes, message: bytes, place: int, flip: int) -> None:
    """Each library accepts what the other signs, and neither takes another message or a changed signature."""
    signer = MlDsaSigner(seed)
    signature = signer.sign(message)
    changed = bytearray(signature)
    changed[place] ^= flip
    assert (1312, 2420) == (len(signer.public), len(signature))
    for public, bytes_signed, given_signature, expected in (
        (signer.public, message, signature, True),
        (signer.public, message, reference_sign(seed, message), True),
        (signer.public, message + b"x", signature, False),
        (signer.public, message, bytes(changed), False),
        (MlDsaSigner(bytes(32)).public if seed != bytes(32) else bytes(1312), message, signature, False),
    ):
        assert expected == verify_mldsa(public, bytes_signed, given_signature)
        assert expected == ML_DSA_44.verify(public, bytes_signed, given_signature)


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_malformed_input_is_no_signature(public: bytes, signature: bytes) -> None:
    """Keys and signatures of any other length verify nothing, and raise nothing."""
    whole = MlDsaSigner(bytes(32))
    assert not verify_mldsa(public, b"x", whole.sign(b"x"))
    assert not verify_mldsa(whole.public, b"x", signature)
    assert not verify_mldsa(whole.public, b"x", whole.sign(b"x") + b"\0")


def test_the_key_is_sealed_with_the_keyring(tmp_path: Path) -> None:
    """The key beside a sealed one is the same after every unlock, another after a rotation, and not its seed itself."""
    draws = iter(range(1, 200))

    def entropy(count: int) -> bytes:
        return hashlib.shake_128(bytes([next(draws)])).digest(count)

    ring = Keyring.create(tmp_path / "ring", b"open", entropy, CHEAP)
    made = MlDsaSigner.beside(ring.create_key("log-pq", "host", "checkpoints", entropy))
    again = Keyring.unlock(tmp_path / "ring", b"open")
    assert made.public == MlDsaSigner.beside(again.signer("log-pq")).public
    assert made.public != MlDsaSigner(again.signer("log-pq").seed()).public
    again.rotate("log-pq", entropy)
    assert made.public != MlDsaSigner.beside(again.signer("log-pq")).public


def test_without_the_extra_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where cryptography is not installed, signing and verifying are KeyFaults that name the extra, never a pass."""
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.mldsa", None)
    for act in (lambda: MlDsaSigner.beside(LocalSigner(bytes(32))), lambda: verify_mldsa(b"", b"", b"")):
        with pytest.raises(KeyFault, match=r"nimmerverse\[pq\]"):
            act()
