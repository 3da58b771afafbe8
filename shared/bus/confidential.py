"""What may be said elsewhere about a message that carries personal data in the open: that it came, and the code."""

from __future__ import annotations

from shared.errors import CODES, Refusal
from shared.message import lookup


def is_confidential(subject: str) -> bool:
    """Say whether what arrives on a subject must not be kept or quoted."""
    cls = lookup(subject)
    return cls is not None and cls.confidential


def quotable(subject: str, refusal: Refusal) -> str:
    """Return the detail of a refusal as others may read it: a reader's error may quote the bytes that it met."""
    return CODES[refusal.code].when if is_confidential(subject) else refusal.detail
