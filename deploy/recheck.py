"""Reading a log back: every entry admitted again, every decision run again from the evidence it recorded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from shared.bus import Bus
from shared.codec import decode
from shared.envelope import Verdict
from shared.message import Decision, lookup, registered
from shared.part import Nerve, Part, declaration


@dataclass
class Recheck:
    """What a replay found: sizes, void events with their refusals, and decisions that come out differently.

    Only a nerve's own version repeats a decision for certain; what another made is counted apart.
    """

    entries: int = 0
    events: int = 0
    rerun: int = 0
    void: list[str] = field(default_factory=list[str])
    differing: list[str] = field(default_factory=list[str])
    other_versions: int = 0  #: run again by another version than decided them, and came out differently


class Rerun:
    """Runs one nerve's decisions again, in log order: state from the log, everything else from the evidence."""

    def __init__(self, nerve: Nerve[Any, Any]) -> None:
        self.nerve = nerve
        self.decides = declaration(nerve).decides()
        self.states: dict[str, Any] = {}
        self._before: dict[str, Any] = {}  #: the state before the batch an entry belongs to

    def take(self, verdict: Verdict) -> list[tuple[int, bool]]:
        """Return (offset, came out the same) of the nerve's admitted decisions in one entry, and evolve."""
        sealed, cls = verdict.sealed, lookup(verdict.entry.subject)
        if sealed is None or cls not in self.decides or sealed.attributes.source != self.nerve.name:
            return []
        assert issubclass(cls, Decision)
        out: list[tuple[int, bool]] = []
        for offset, event in verdict.admitted():
            decision = decode(cls, bytes(event.data))
            entity = str(getattr(decision, cls.entity_field()))
            state = self.states.get(entity, self.nerve.start())
            if sealed.attributes.batch == 0:
                self._before[entity] = state
            again = self.nerve.about(entity).decide_again(self._before[entity], event.evidence, registered())
            place = sealed.attributes.batch
            out.append((offset, place < len(again) and again[place] == bytes(event.data)))
            self.states[entity] = self.nerve.evolve(state, decision)
        return out


def reruns_of(parts: Iterable[Part]) -> list[Rerun]:
    """Return a rerun for every nerve among the parts."""
    return [Rerun(cast("Nerve[Any, Any]", part)) for part in parts if isinstance(part, Nerve)]


async def recheck(bus: Bus, trusted: str | None, parts: Sequence[Part]) -> Recheck:
    """Replay the whole log and return what was found; LogFault at a gap."""
    found = Recheck()
    reruns = reruns_of(parts)
    async for verdict in bus.replay(trusted):
        found.entries += 1
        found.events += len(verdict.admitted())
        found.void += [
            f"({verdict.entry.index}, {offset}) {verdict.entry.subject}: {no}" for offset, no in verdict.void()
        ]
        for rerun in reruns:
            for offset, same in rerun.take(verdict):
                found.rerun += 1
                version = verdict.sealed.attributes.version if verdict.sealed else ""
                if not same and version != rerun.nerve.version:
                    found.other_versions += 1
                elif not same:
                    found.differing.append(
                        f"({verdict.entry.index}, {offset}) of {rerun.nerve.name}, decided by version {version}"
                    )
    return found
