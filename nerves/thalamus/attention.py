"""The mode of attention, read off the open gates and the reflexes (NIM-11)."""

from __future__ import annotations

from collections.abc import Collection

from shared.constant import constant
from shared.subjects.thalamus import Mode

OVERWHELMED_GATES = constant(4, "open gates", "NIM-11")
REFLEX_MS = constant(2_000, "ms", "NIM-11")
SETTLE_MS = constant(5_000, "ms", "NIM-11")
DIALOGUE_DOMAIN = constant("speech", "region", "NIM-11")


def mode_of(open_gates: Collection[str], *, escalated: bool, reflex_ms: int | None, quiet_ms: int | None) -> Mode:
    """Return what is attended to.

    `reflex_ms` and `quiet_ms` say how long ago a reflex acted and the last gate closed; None for never. `escalated`
    says that an open gate's signal woke an organ or cognition.
    """
    if len(open_gates) >= OVERWHELMED_GATES:
        return "OVERWHELMED"
    if reflex_ms is not None and reflex_ms < REFLEX_MS:
        return "REFLEX"
    if DIALOGUE_DOMAIN in open_gates:
        return "DIALOGUE"
    if open_gates:
        return "FOCUSED" if escalated else "ALERT"
    return "SETTLE" if quiet_ms is not None and quiet_ms < SETTLE_MS else "IDLE"
