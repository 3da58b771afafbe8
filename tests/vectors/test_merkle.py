"""Published Merkle tree vectors judge our proofs: inclusion, consistency, and the hashes underneath."""

from __future__ import annotations

import json
from base64 import b64decode
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from shared.log.tree import BadProof, blake3_hash, verify_consistency, verify_inclusion

VECTORS = Path(__file__).parents[3] / "shared" / "vectors"
CASES = VECTORS / "rfc6962-merkle" / "testdata"

pytestmark = [
    pytest.mark.spec("X-04"),
    pytest.mark.skipif(not VECTORS.is_dir(), reason=f"the published vectors are not at {VECTORS}"),
]


def cases(kind: str) -> list[tuple[str, dict[str, Any]]]:
    """Every case of a kind, with its file's name."""
    files = sorted((CASES / kind).rglob("*.json"))
    return [(str(path.relative_to(CASES)), json.loads(path.read_bytes())) for path in files]


def raw(text: str | None) -> bytes:
    """The bytes of a case's base 64; nothing where there is none."""
    return b64decode(text or "")


def accepts_inclusion(case: dict[str, Any]) -> bool:
    """Whether our verifier accepts a proof of inclusion."""
    proof = [raw(one) for one in case["proof"] or []]
    try:
        verify_inclusion(case["leafIdx"], case["treeSize"], raw(case["leafHash"]), proof, raw(case["root"]))
    except BadProof:
        return False
    return True


def accepts_consistency(case: dict[str, Any]) -> bool:
    """Whether our verifier accepts a proof of consistency."""
    proof = [raw(one) for one in case["proof"] or []]
    try:
        verify_consistency(case["size1"], case["size2"], proof, raw(case["root1"]), raw(case["root2"]))
    except BadProof:
        return False
    return True


def test_inclusion() -> None:
    """Every published inclusion case is judged exactly as it says."""
    found = [(name, accepts_inclusion(case)) for name, case in cases("inclusion")]
    expected = [(name, not case["wantErr"]) for name, case in cases("inclusion")]
    assert expected == found
    assert 5 <= sum(accepted for _, accepted in found) < len(found) - 50


def test_consistency() -> None:
    """Every published consistency case is judged exactly as it says."""
    found = [(name, accepts_consistency(case)) for name, case in cases("consistency")]
    expected = [(name, not case["wantErr"]) for name, case in cases("consistency")]
    assert expected == found
    assert 5 <= sum(accepted for _, accepted in found) < len(found) - 50


def test_blake3() -> None:
    """Our BLAKE3 is the published one, plain and in key derivation mode, for every published length."""
    data = json.loads((VECTORS / "blake3" / "test_vectors.json").read_bytes())
    assert 35 == len(data["cases"])
    for case in data["cases"]:
        text = bytes(islice(cycle(range(251)), case["input_len"]))
        assert case["hash"][:64] == blake3_hash(text).hex()
        length = len(case["derive_key"]) // 2
        derived = blake3(text, derive_key_context=data["context_string"]).digest(length)
        assert case["derive_key"] == derived.hex()
