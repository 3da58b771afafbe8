"""Published Ed25519 vectors: Wycheproof judges the verifier, C2SP's CCTV the registration of keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import msgspec
import pytest

from shared.errors import KeyFault
from shared.keys import check_public, is_canonical, is_low_order, verify
from shared.keys.signer import LOW_ORDER

VECTORS = Path(__file__).parents[3] / "shared" / "vectors"

pytestmark = [
    pytest.mark.spec("BIZ-01"),
    pytest.mark.skipif(not VECTORS.is_dir(), reason=f"the published vectors are not at {VECTORS}"),
]


class EdgeCase(msgspec.Struct):
    """One case of CCTV."""

    number: int
    key: str
    sig: str
    msg: str
    flags: list[str] | None


def edge_cases() -> list[EdgeCase]:
    """All cases of CCTV."""
    data = (VECTORS / "cctv-ed25519" / "ed25519vectors.json").read_bytes()
    return msgspec.json.decode(data, type=list[EdgeCase])


def refused(public: bytes) -> bool:
    """Whether the key may not be registered."""
    try:
        check_public(public)
    except KeyFault:
        return True
    return False


def test_wycheproof() -> None:
    """Every Wycheproof case verifies exactly as its result says."""
    data = json.loads((VECTORS / "wycheproof" / "ed25519_test.json").read_bytes())
    judged = 0
    for group in data["testGroups"]:
        public = bytes.fromhex(group["publicKey"]["pk"])
        for case in cast("list[dict[str, str]]", group["tests"]):
            accepted = verify(public, bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"]))
            assert (case["result"] == "valid") == accepted, case
            judged += 1
    assert data["numberOfTests"] == judged


def test_wycheproof_keys_may_be_registered() -> None:
    """Honest keys are never refused."""
    data = json.loads((VECTORS / "wycheproof" / "ed25519_test.json").read_bytes())
    assert not any(refused(bytes.fromhex(group["publicKey"]["pk"])) for group in data["testGroups"])


def test_low_order_keys_are_refused() -> None:
    """All fourteen published encodings of low order, and nothing else there, count as low order."""
    cases = edge_cases()
    low = {bytes.fromhex(case.key) for case in cases if "low_order_A" in (case.flags or [])}
    others = {bytes.fromhex(case.key) for case in cases} - low
    assert (14, low) == (len(low), set(LOW_ORDER))
    assert all(is_low_order(key) and refused(key) for key in low)
    assert not any(is_low_order(key) for key in others)


def test_alternative_encodings_and_mixed_points_are_refused() -> None:
    """A key in an alternative encoding or with a part of low order cannot be registered."""
    for flag in ("non_canonical_A", "low_order_component_A"):
        keys = {bytes.fromhex(case.key) for case in edge_cases() if flag in (case.flags or [])}
        assert keys
        assert all(refused(key) for key in keys)


def test_every_encoding_beyond_the_prime_is_refused() -> None:
    """All y from p to 2^255 − 1, with either sign, are refused as not canonical or of low order."""
    for y in range(2**255 - 19, 2**255):
        for sign in (0, 1 << 255):
            public = (y | sign).to_bytes(32, "little")
            assert not is_canonical(public)
            assert refused(public)


def test_registration_leaves_no_edge_case() -> None:
    """Of 914 edge cases none verifies under a key that may be registered, unless key and signature are plain."""
    cases = edge_cases()
    assert 914 == len(cases)
    for case in cases:
        public, flags = bytes.fromhex(case.key), set(case.flags or [])
        if verify(public, case.msg.encode(), bytes.fromhex(case.sig)):
            assert not flags & {"low_order_A", "low_order_R", "non_canonical_A", "non_canonical_R", "low_order_residue"}
            assert refused(public) == ("low_order_component_A" in flags)
