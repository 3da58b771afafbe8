"""Canonical JSON: one text for one struct, so that its digest names what it says."""

from __future__ import annotations

import msgspec
from blake3 import blake3


def canonical(struct: msgspec.Struct) -> bytes:
    """Return a struct as canonical JSON: fields as declared, the keys of dicts in order, no spaces."""
    return msgspec.json.encode(struct, order="deterministic")


def digest_of(struct: msgspec.Struct) -> str:
    """Return BLAKE3 of a struct's canonical JSON, 64 hexadecimal digits."""
    return blake3(canonical(struct)).hexdigest()
