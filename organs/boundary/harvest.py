"""Trails out of the log: what this organism was asked, and the call that was right there.

What is right is said in one rule. A call by the translator is right, by the rules; a person's correction is right, and
stands above the rules. A model's call proves nothing about itself, so it teaches nothing until a person has said which
call is right in that state. Each state is one trail, by the last word about it: asked twice it neither weighs twice
nor stands both among what is learned and what is held out.
"""

from __future__ import annotations

import msgspec

from organs.boundary.organ import TRANSLATOR
from shared.boundary.task import Task
from shared.boundary.training.trails import Origin, Trail, Trails
from shared.decisions import decisions_in
from shared.envelope import Verdict
from shared.errors import Refused
from shared.log.entry import Position
from shared.subjects.boundary import Called, Corrected


class _Word(msgspec.Struct, frozen=True):
    """What is known to be right in a state, who says so, and where."""

    trail: Trail
    by_person: bool
    at: Position


class Harvest:
    """Hears every judged entry of a log in order, and keeps the last word about each state."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.others = 0  #: decisions of another task, or that this one does not allow
        self._words: dict[str, _Word] = {}
        self._models: set[str] = set()  #: states in which a model spoke

    @property
    def unjudged(self) -> int:
        """In how many states models spoke and nobody has said what is right."""
        return len(self._models - set(self._words))

    def take(self, verdict: Verdict) -> None:
        """Keep what an entry's admitted decisions say."""
        for said, at in decisions_in(verdict, Called, Corrected):
            self._keep(said, at)

    def trails(self, log: str) -> Trails:
        """Return the trails in the order of their places in the log whose genesis has this fingerprint."""
        words = sorted(self._words.values(), key=lambda word: (word.at.index, word.at.offset))
        places = [word.at.index for word in words]
        origin = Origin(log, places[0], places[-1], self.unjudged) if places else None
        return msgspec.structs.replace(Trails.of([word.trail for word in words]), origin=origin)

    def _keep(self, said: Called | Corrected, at: Position) -> None:
        trail = self._read(said)
        if trail is None:
            self.others += 1
            return
        state = self.task.prompt(trail.state)
        if isinstance(said, Called) and said.speaker != TRANSLATOR:
            self._models.add(state)
            return
        known, by_person = self._words.get(state), isinstance(said, Corrected)
        if known is None or by_person or not known.by_person:
            self._words[state] = _Word(trail, by_person, at)

    def _read(self, said: Called | Corrected) -> Trail | None:
        if said.task != self.task.digest:
            return None
        try:
            return Trail(self.task.read_call(said.call), self.task.checked(said.state))
        except (ValueError, Refused):
            return None
