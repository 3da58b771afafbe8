"""Effects of several policies on one request, and which of them a canary is asked about (ILL-08)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from shared.constant import constant
from shared.subjects.policy import Effect, PolicyState

#: The harshest first: whatever one policy says, none that says less takes it back.
ORDER: tuple[Effect, ...] = ("deny", "quarantine", "remediate", "allow")
#: Where a policy is in use: whoever needs its permission asks it.
ASKED: tuple[PolicyState, ...] = ("simulating", "canary", "active")
WHOLE = constant(0xFFFF_FFFF, "of four bytes", "ILL-08")
PPM = 1_000_000


def final(effects: Iterable[Effect]) -> Effect:
    """Return the harshest of several effects; where no policy said anything, nothing is allowed (X-06)."""
    said = {*effects}
    for effect in ORDER:
        if effect in said:
            return effect
    return "deny"


def sampled(request: str, share_ppm: int) -> bool:
    """Say whether a request belongs to a canary's share: always the same ones, and more as the share grows."""
    drawn = int.from_bytes(hashlib.sha256(request.encode()).digest()[:4])
    return drawn * PPM < share_ppm * WHOLE
