"""Reading decisions out of judged entries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from shared.codec import decode
from shared.envelope import Verdict
from shared.log.entry import Position
from shared.message import Decision, lookup

D = TypeVar("D", bound=Decision)


def decisions_in(verdict: Verdict, *classes: type[D]) -> Iterator[tuple[D, Position]]:
    """Yield the admitted decisions of these classes in an entry, and where each stands."""
    found = lookup(verdict.entry.subject)
    for cls in classes:
        if cls is found:
            for offset, event in verdict.admitted():
                yield decode(cls, bytes(event.data)), Position(verdict.entry.index, offset)
