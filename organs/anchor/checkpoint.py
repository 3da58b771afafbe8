"""What of a log checkpoint is anchored: the text that its signatures are over."""

from __future__ import annotations

import hashlib

from shared.errors import Refusal, Refused


def checkpoint_digest(note: bytes) -> bytes:
    """Return the SHA-256 of a signed note's body: all up to and including the newline before the blank line.

    Signatures may be added later (witnesses do); what was anchored stays the same. Refused A002 for what is no note.
    """
    body, blank, signatures = note.partition(b"\n\n")
    if not (body and blank and signatures.startswith("— ".encode())):
        raise Refused(Refusal("A002", f"a signed note is expected, its text and signatures apart; found {note[:60]!r}"))
    return hashlib.sha256(body + b"\n").digest()
