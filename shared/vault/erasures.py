"""What the log says of erasures: all that a reader without a vault needs to answer `erased at`."""

from __future__ import annotations

from collections.abc import Iterable

from shared.codec import decode
from shared.envelope import Verdict
from shared.log.entry import Position
from shared.message import lookup
from shared.subjects.privacy import PersonErased


def erasures(verdicts: Iterable[Verdict]) -> dict[str, Position]:
    """Return where each erasure was completed, by the pseudonym's digits; the first such position holds."""
    found: dict[str, Position] = {}
    for verdict in verdicts:
        if lookup(verdict.entry.subject) is not PersonErased:
            continue
        for offset, event in verdict.admitted():
            person = decode(PersonErased, bytes(event.data)).person
            found.setdefault(person, Position(verdict.entry.index, offset))
    return found
