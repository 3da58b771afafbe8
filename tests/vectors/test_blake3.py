"""BLAKE3's own published vectors: what names contents, leaves and nodes hashes as its authors say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from blake3 import blake3

from shared.artifacts import MemoryStore
from shared.log.tree import blake3_hash

VECTORS = Path(__file__).parents[3] / "shared" / "vectors" / "blake3" / "test_vectors.json"

pytestmark = pytest.mark.skipif(not VECTORS.is_file(), reason=f"the published vectors are not at {VECTORS}")


def published() -> tuple[str, list[dict[str, str]]]:
    """The context of the derived keys, and the cases."""
    found = json.loads(VECTORS.read_text())
    return found["context_string"], found["cases"]


def content(size: int) -> bytes:
    """The input of so many bytes that every case uses."""
    return bytes(n % 251 for n in range(size))


@pytest.mark.spec("COL-04", "BIZ-04")
def test_digests_and_derived_keys_are_as_published() -> None:
    """The tree's digest and the derivation that names lineage nodes give the published bytes at every length."""
    context, cases = published()
    assert 35 == len(cases)
    for case in cases:
        raw = content(int(case["input_len"]))
        assert case["hash"][:64] == blake3_hash(raw).hex()
        assert case["derive_key"][:64] == blake3(raw, derive_key_context=context).hexdigest()


@pytest.mark.spec("COL-08", "ILL-05")
def test_contents_are_named_as_published() -> None:
    """A store names each published input by its published digest, in whatever pieces it comes."""

    async def pieces(raw: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(raw), 1_000):
            yield raw[start : start + 1_000]

    async def body() -> None:
        store = MemoryStore()
        for case in published()[1]:
            put = await store.put(pieces(content(int(case["input_len"]))), "application/octet-stream")
            assert case["hash"][:64] == put.blake3

    asyncio.run(body())
