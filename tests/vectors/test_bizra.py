"""The `bizra-pci-v1` profile against vectors measured from the source's implementation."""

from __future__ import annotations

import json

import pytest

from shared.envelope.bizra import NUMBERS, canonical, digest, judge, seal
from shared.keys import LocalSigner

SIGNER = LocalSigner(bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))
WRITTEN_MS = 1_770_076_800_000  # 2026-02-03T00:00:00Z
SIGNATURE = (
    "84067d391ef75036ef7f65f5ccd4809d4223241d97c0078f402c50df550f5c26"
    "c829830d22c30342b34544dc037605c19f9d9072684e787c7875b845296fd103"
)


def unsigned(**changed: object) -> dict[str, object]:
    """The source's example envelope without its signature."""
    return {
        "version": "1.0.0",
        "envelope_id": "00000000-0000-4000-8000-000000000001",
        "timestamp": "2026-02-03T00:00:00Z",
        "nonce": "aa" * 32,
        "sender": {"agent_type": "PAT", "agent_id": "node0", "public_key": SIGNER.public.hex()},
        "payload": {"action": "infer", "data": {"x": 1}, "policy_hash": "p", "state_hash": "s"},
        "metadata": {"ihsan_score": 0.97, "snr_score": 0.9, "urgency": "REAL_TIME"},
        **changed,
    }


@pytest.mark.spec("BIZ-01")
@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"", "f5fa1b2c12fd108f109f6b5e858ac45350dbc876c897fec20a6818049ef2aaff"),
        (b"hello bizra", "c05bf844556babc164032a2144a8453f361569235e65455ffd0f81823fb6e126"),
        (b"test", "0bbdef8293f984af94003a072f565b4748c4ee3ced68f4945ef3827d08e06695"),
        (
            canonical({"c": True, "b": "hello", "a": 1}),
            "e0c6a97a7f74a2c6c4bfec7569d0e856efd7e613be4aef79cdbaa009e259ee29",
        ),
        (canonical({}), "348dac1f6eb723eddf13f5fba26689ad34e56f350719bae74f56a6ecd7d95610"),
    ],
)
def test_digests_match_the_source(message: bytes, expected: str) -> None:
    """The domain-separated digest is the source's, byte for byte."""
    assert expected == digest(message).hex()


@pytest.mark.spec("BIZ-01")
def test_the_example_envelope_matches_the_source() -> None:
    """Sealing the source's example gives its digest and its signature, and the envelope is accepted."""
    assert digest(canonical(unsigned())).hex() == "9d12d2a51d84df9a9741b5f82639207d22d8b79905e54626cf080a775b53e608"
    sealed = seal(unsigned(), SIGNER)
    assert json.loads(sealed)["signature"]["value"] == SIGNATURE
    assert judge(sealed, {SIGNER.public}, WRITTEN_MS) is None
    assert judge(sealed, set(), WRITTEN_MS, reference=True) is None


@pytest.mark.spec("BIZ-01")
def test_a_key_inside_the_envelope_proves_nothing() -> None:
    """The source accepts any self-made key; ours refuses a signer that is not registered."""
    stranger = LocalSigner(bytes(range(32)))
    forged = seal(
        unsigned(sender={"agent_type": "SAT", "agent_id": "x", "public_key": stranger.public.hex()}), stranger
    )
    assert judge(forged, {SIGNER.public}, WRITTEN_MS, reference=True) is None
    refused = judge(forged, {SIGNER.public}, WRITTEN_MS)
    assert refused is not None
    assert refused.code == "R002"


@pytest.mark.spec("BIZ-01")
@pytest.mark.parametrize(
    ("changed", "at_ms", "expected"),
    [
        ({}, WRITTEN_MS + 300_001, "R001"),
        ({}, WRITTEN_MS - 30_001, "R001"),
        ({"metadata": {"ihsan_score": 0.94, "snr_score": 0.1, "urgency": "x"}}, WRITTEN_MS, "R003"),
        ({"metadata": {"ihsan_score": 0.95, "snr_score": 0.84, "urgency": "x"}}, WRITTEN_MS, "R004"),
        ({"version": "2.0.0"}, WRITTEN_MS, "R005"),
        ({"extra": 1}, WRITTEN_MS, "R005"),
        ({"timestamp": "yesterday"}, WRITTEN_MS, "R005"),
    ],
)
def test_each_refusal_has_its_code(changed: dict[str, object], at_ms: int, expected: str) -> None:
    """Expiry, scores and malformed fields are refused by name, in that order."""
    refused = judge(seal(unsigned(**changed), SIGNER), {SIGNER.public}, at_ms)
    assert refused is not None
    assert expected == refused.code
    assert expected in NUMBERS


@pytest.mark.spec("BIZ-01")
def test_the_reference_order_proves_the_signature_first() -> None:
    """An expired envelope with a broken signature is R001 for us and R002 for the source."""
    broken = seal(unsigned(), SIGNER).replace(SIGNATURE[:8], "00000000")
    at_ms = WRITTEN_MS + 10_000_000
    ours, theirs = judge(broken, {SIGNER.public}, at_ms), judge(broken, {SIGNER.public}, at_ms, reference=True)
    assert ("R001", "R002") == (ours.code if ours else "", theirs.code if theirs else "")


@pytest.mark.spec("BIZ-01")
@pytest.mark.parametrize("garbage", [b"", b"{", b"\xff\xfe", b"[1]", b'{"version": NaN}', b"[" * 100_000])
def test_garbage_is_refused_by_name(garbage: bytes) -> None:
    """Whatever the bytes, the answer is R005 and never an exception."""
    refused = judge(garbage, {SIGNER.public}, WRITTEN_MS)
    assert refused is not None
    assert refused.code == "R005"
