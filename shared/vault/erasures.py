"""What the log says of erasures: all that a reader without a vault needs to answer `erased at`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from shared.decisions import decisions_in
from shared.envelope import Verdict
from shared.log.entry import Position
from shared.subjects.privacy import PersonErased


def erasures(verdicts: Iterable[Verdict]) -> dict[str, Position]:
    """Return where each erasure was completed, by the pseudonym's digits; the first such position holds."""
    found: dict[str, Position] = {}
    for verdict in verdicts:
        for person, at in erased_by(verdict):
            found.setdefault(person, at)
    return found


def erased_by(verdict: Verdict) -> Iterator[tuple[str, Position]]:
    """Yield whose erasure one judged entry completes, and where it stands."""
    for erased, at in decisions_in(verdict, PersonErased):
        yield erased.person, at
