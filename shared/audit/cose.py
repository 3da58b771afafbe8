"""A COSE receipt of inclusion: the same proof as a `.tlog-proof`, in CBOR, signed over the root by the log's key.

    receipt   = 18([protected, {396: {-1: [proof]}}, nil, signature])        COSE_Sign1, the payload (the root) detached
    protected = bstr {1: -8 (EdDSA), 4: key id, 395: 1 (RFC9162_SHA256)}
    proof     = bstr [tree size, leaf index, [hash, …]]
    signed    = ["Signature1", protected, h'', root]

The log's key signs the root here, not the note, so only who holds that key can make one: the notary.
Sources: RFC 9052 sections 4.2 and 4.4, draft-ietf-cose-merkle-tree-proofs (Receipt of Inclusion, RFC9162_SHA256).
"""

from __future__ import annotations

from typing import Final, TypeAlias, cast

from shared.keys import Signer
from shared.log.proof import ProofFile

ALG: Final = 1
KID: Final = 4
EDDSA: Final = -8
VDS: Final = 395
RFC9162_SHA256: Final = 1
VDP: Final = 396
INCLUSION: Final = -1
SIGN1_TAG: Final = 18
_BREAKS: Final = ((24, 0, 0), (1 << 8, 24, 1), (1 << 16, 25, 2), (1 << 32, 26, 4), (1 << 64, 27, 8))

Cbor: TypeAlias = "int | bytes | str | list[Cbor] | dict[int, Cbor] | None"


def receipt(proof: ProofFile, size: int, root: bytes, signer: Signer) -> bytes:
    """Return the receipt that leaf `proof.index` is in the tree of `size` leaves with this root (32 bytes)."""
    protected = cbor({ALG: EDDSA, KID: bytes.fromhex(signer.key_id), VDS: RFC9162_SHA256})
    inclusion = cbor([size, proof.index, list(proof.path)])
    signature = signer.sign(signed_bytes(protected, root))
    return _head(6, SIGN1_TAG) + cbor([protected, {VDP: {INCLUSION: [inclusion]}}, None, signature])


def signed_bytes(protected: bytes, root: bytes) -> bytes:
    """Return the Sig_structure that a receipt's signature covers."""
    return cbor(["Signature1", protected, b"", root])


def cbor(value: Cbor) -> bytes:
    """Return deterministic CBOR (RFC 8949 section 4.2.1) of integers, bytes, text, nil, arrays, and maps by integer."""
    if value is None:
        return b"\xf6"
    if isinstance(value, int):
        return _head(0, value) if value >= 0 else _head(1, -1 - value)
    if isinstance(value, bytes):
        return _head(2, len(value)) + value
    if isinstance(value, str):
        raw = value.encode()
        return _head(3, len(raw)) + raw
    if isinstance(value, list):
        return _head(4, len(value)) + b"".join(cbor(item) for item in value)
    pairs = sorted((cbor(name), cbor(item)) for name, item in cast("dict[int, Cbor]", value).items())
    return _head(5, len(pairs)) + b"".join(name + item for name, item in pairs)


def _head(major: int, number: int) -> bytes:
    """Return the shortest header of a major type and a number."""
    for below, info, size in _BREAKS:
        if number < below:
            return bytes([major << 5 | (info or number)]) + (number.to_bytes(size, "big") if size else b"")
    raise ValueError(f"{number} has more than 64 bits")
