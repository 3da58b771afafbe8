"""Reading decisions out of judged entries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from shared.codec import decode
from shared.envelope import Verdict
from shared.log.entry import Position
from shared.message import Decision, Message, lookup

D = TypeVar("D", bound=Decision)


def decisions_in(verdict: Verdict, *classes: type[D]) -> Iterator[tuple[D, Position]]:
    """Yield the admitted decisions of these classes in an entry, and where each stands.

    One that names another lane in its fields than the one it stands on is nobody's word, and left out.
    """
    found = lookup(verdict.entry.subject)
    for cls in classes:
        if cls is found:
            for offset, event in verdict.admitted():
                decision = decode(cls, bytes(event.data))
                if says_its_subject(decision, verdict.entry.subject):
                    yield decision, Position(verdict.entry.index, offset)


def says_its_subject(decision: Message, subject: str) -> bool:
    """Say whether a decision's own fields name the subject it was delivered on: what its key was entitled to."""
    env, _, _ = subject.partition(".")
    return decision.subject(env) == subject
