"""The `bizra-pci-v1` profile: the source's JSON envelope, sealed and judged so that both sides understand each other.

    digest    = BLAKE3("bizra-pci-v1:" ‖ canonical JSON of everything but `signature`); Ed25519 signs its 32 bytes
    canonical = keys sorted by code point, no spaces, non-ASCII escaped, Python's shortest float form (not RFC 8785)

Ours is the default: the signer must be registered, and the order is expiry, signature, ihsan, snr. `reference` judges
as the source does: it trusts the key inside the envelope, allows 120 s of skew, and proves the signature first.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Literal

from blake3 import blake3
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.constant import constant
from shared.envelope.admission import CLOCK_SKEW_MS, IHSAN_FLOOR_PPM, SNR_FLOOR_PPM
from shared.errors import Refusal
from shared.keys import Signer, verify

DOMAIN = b"bizra-pci-v1:"
FRESH_MS = constant(300_000, "ms", "BIZ-01")
REFERENCE_SKEW_MS = constant(120_000, "ms", "BIZ-01")
SIGNED_FIELDS = ["version", "envelope_id", "timestamp", "nonce", "sender", "payload", "metadata"]

#: Our refusal codes as the source's numbers; its 5 (from the future) and 4 (stale) are both our R001.
NUMBERS: Mapping[str, int] = {"R001": 4, "R002": 2, "R003": 6, "R004": 7, "R005": 1, "R006": 3, "R007": 11, "R009": 12}


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Sender(_Model):
    """Who speaks: PAT (a person's agent) or SAT (the system's), and the key it claims."""

    agent_type: Literal["PAT", "SAT"]
    agent_id: str = Field(min_length=1)
    public_key: str = Field(pattern=r"^[0-9a-f]{64}$")


class Payload(_Model):
    """What is asked."""

    action: str
    data: dict[str, Any]
    policy_hash: str
    state_hash: str


class Metadata(_Model):
    """How good the sender says it is, both scores in [0, 1]."""

    ihsan_score: float = Field(ge=0, le=1)
    snr_score: float = Field(ge=0, le=1)
    urgency: str


class SignatureField(_Model):
    """The signature over the digest."""

    algorithm: Literal["ed25519"]
    value: str = Field(pattern=r"^[0-9a-f]{128}$")
    signed_fields: list[str]


class PciEnvelope(_Model):
    """The source's envelope, field for field."""

    version: Literal["1.0.0"]
    envelope_id: str
    timestamp: str
    nonce: str = Field(pattern=r"^[0-9a-f]{64}$")
    sender: Sender
    payload: Payload
    metadata: Metadata
    signature: SignatureField


def canonical(value: object) -> bytes:
    """Return the source's canonical JSON; ValueError for a number that is not finite."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def digest(message: bytes) -> bytes:
    """Return the 32-byte domain-separated digest of canonical bytes."""
    return blake3(DOMAIN + message).digest()


def seal(unsigned: Mapping[str, Any], signer: Signer) -> str:
    """Return the envelope's JSON with its signature; the sender must carry the signer's own public key."""
    value = signer.sign(digest(canonical(dict(unsigned)))).hex()
    signature = {"algorithm": "ed25519", "value": value, "signed_fields": SIGNED_FIELDS}
    return canonical({**unsigned, "signature": signature}).decode()


def judge(text: str | bytes, registered: Collection[bytes], at_ms: int, *, reference: bool = False) -> Refusal | None:
    """Return why an envelope is refused, or None; never raises, whatever the bytes."""
    try:
        envelope = PciEnvelope.model_validate_json(text)
        fields: dict[str, Any] = json.loads(text)
        written_ms = _milliseconds(envelope.timestamp)
        signed = digest(canonical({name: item for name, item in fields.items() if name != "signature"}))
    except (ValidationError, ValueError, RecursionError) as error:
        return Refusal("R005", f"not a bizra-pci-v1 envelope: {str(error).splitlines()[0]}")
    public, value = bytes.fromhex(envelope.sender.public_key), bytes.fromhex(envelope.signature.value)
    known = reference or public in registered
    proven = known and envelope.signature.signed_fields == SIGNED_FIELDS and verify(public, signed, value)
    bad = (
        None
        if proven
        else Refusal("R002", "signature does not verify" if known else "the sender's key is not registered")
    )
    late = _out_of_time(at_ms - written_ms, REFERENCE_SKEW_MS if reference else CLOCK_SKEW_MS, reference=reference)
    low = _too_low(envelope.metadata)
    return (bad or late or low) if reference else (late or bad or low)


def _out_of_time(age_ms: int, skew_ms: int, *, reference: bool) -> Refusal | None:
    oldest = skew_ms if reference else FRESH_MS
    if age_ms > oldest:
        return Refusal("R001", f"written {age_ms} ms ago, at most {oldest} are allowed")
    return (
        Refusal("R001", f"written {-age_ms} ms in the future, at most {skew_ms} are allowed")
        if -age_ms > skew_ms
        else None
    )


def _too_low(scores: Metadata) -> Refusal | None:
    if round(scores.ihsan_score * 1e6) < IHSAN_FLOOR_PPM:
        return Refusal("R003", f"ihsan {scores.ihsan_score}, at least {IHSAN_FLOOR_PPM / 1e6} required")
    if round(scores.snr_score * 1e6) < SNR_FLOOR_PPM:
        return Refusal("R004", f"snr {scores.snr_score}, at least {SNR_FLOOR_PPM / 1e6} required")
    return None


def _milliseconds(text: str) -> int:
    if not text.endswith("Z"):
        raise ValueError(f"timestamp {text!r} is not in UTC")
    return round(datetime.fromisoformat(text).timestamp() * 1000)
