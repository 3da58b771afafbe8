"""The registry nerve: keeps a family's versions and evidence, and decides what is in force (ILL-01, ILL-07, COL-10).

What others decided becomes a note on the family's lane; a promotion is judged by the notes alone, by policy, and both
outcomes stand in the log. Whoever replays it judges again: the policies' digest is part of the evidence.
"""

from __future__ import annotations

from typing import ClassVar, TypeAlias

from nerves.registry.noting import Evidence, Place, family_of, noted
from nerves.registry.promoting import Gate, Said
from nerves.registry.stating import stated
from shared.constant import constant
from shared.errors import Refusal
from shared.log.entry import Position
from shared.part import Garden, Nerve
from shared.policy import Policies
from shared.registry import Family, evolved
from shared.registry.family import EVALUATIONS, RegistryDecision, is_full, subject_of
from shared.subjects.registry import (
    EvidenceNoted,
    FamilyStatus,
    ModelRegistered,
    PromoteModel,
    RegisterModel,
    RollBackModel,
    StateManifest,
)
from shared.subjects.system import Tick

Asked: TypeAlias = RegisterModel | PromoteModel | RollBackModel | FamilyStatus | StateManifest
Heard: TypeAlias = Asked | Evidence | Tick


class RegistryNerve(Nerve[Family, Place]):
    """What is asked about models, and what is evidence for them, in; what became of it out. A lane for each family."""

    name: ClassVar[str] = "registry"
    version: ClassVar[str] = "1.0.0"
    garden: ClassVar[Garden] = "real"
    remembers: ClassVar[bool] = True  #: an emergency runs out, whoever was restarted meanwhile
    cost_ulf: ClassVar[int] = constant(1_000_000, "micro-lifeforce", "ILL-01")

    def __init__(self) -> None:
        self.gate = Gate(Policies.shipped())

    def digests(self) -> dict[str, str]:
        return {"policy": self.gate.policies.digest}

    def entity(self, message: Heard) -> str | None:
        match message:
            case Tick():
                return None
            case RegisterModel() | PromoteModel() | RollBackModel() | FamilyStatus() | StateManifest():
                return message.family
            case _:
                return family_of(message)

    def placed(self, window: Place, at: Position) -> Place:
        return Place(at.index, at.offset)

    def evolve(self, state: Family, decision: RegistryDecision) -> Family:
        return evolved(state, decision)

    def decide(self, state: Family, window: Place, message: Heard, now_ms: int) -> tuple[Place, list[Said] | Refusal]:
        if isinstance(message, Tick):
            return Place(), [*self.gate.expired(state, now_ms)]
        if isinstance(message, Asked):
            return Place(), self._answered(state, message, now_ms)
        return Place(), self._noted(state, window, message, now_ms)

    def _answered(self, state: Family, asked: Asked, now_ms: int) -> list[Said] | Refusal:
        match asked:
            case RegisterModel():
                return _registered(state, asked)
            case FamilyStatus():
                return _unknown(state, asked.family) or [stated(asked.family, state)]
            case StateManifest():
                return self.gate.stated(state, asked, now_ms)
            case PromoteModel():
                return self.gate.promoted(state, asked, now_ms)
            case RollBackModel():
                return self.gate.rolled_back(state, asked, now_ms)

    def _noted(self, state: Family, at: Place, heard: Evidence, now_ms: int) -> list[Said] | Refusal:
        """Note what was decided elsewhere; about a family that nobody knows only a run says anything."""
        note = noted(heard, at, now_ms)
        if isinstance(note, Refusal):
            return note
        if note is None or (not state.known and note.evidence != "run"):
            return []
        if note.evidence == "evaluation" and is_full(state, note.model) and not _replaces(state, note):
            found = f"{note.model} was measured by {EVALUATIONS} suites, and none of that is forgotten"
            return Refusal("N009", f"{found}; train a version that fewer are asked about")
        decisions: list[Said] = [note]
        if note.evidence == "signature":
            decisions += self.gate.ratified(evolved(state, note), note, now_ms)
        return decisions


def _registered(state: Family, asked: RegisterModel) -> list[Said] | Refusal:
    """Register a version whose run is noted, and of which is said what that run says."""
    known = state.models.get(asked.model)
    if known is not None:
        what = "with these facts" if known == asked.facts else f"as {known.version}, with other facts"
        return Refusal("N002", f"{asked.model} is registered {what}")
    taken = next((model for model, facts in state.models.items() if facts.version == asked.facts.version), None)
    if taken is not None:
        return Refusal("N002", f"{asked.family} {asked.facts.version} is {taken}")
    run = next(
        (
            note
            for note in state.notes
            if note.evidence == "run" and (note.model, note.digest) == (asked.model, asked.facts.record)
        ),
        None,
    )
    if run is None:
        return Refusal("N003", f"no run with the record {asked.facts.record[:80]!r} left {asked.model[:80]!r}")
    wrong = _differs(run, asked)
    if wrong:
        return Refusal("N003", f"the run of {asked.model} says otherwise about its {' and '.join(wrong)}")
    return [ModelRegistered(asked.family, asked.model, asked.facts)]


def _differs(run: EvidenceNoted, asked: RegisterModel) -> list[str]:
    """Return what is said of a model that its run does not say."""
    return [
        name
        for name, said, found in (
            ("job", asked.facts.job, run.name),
            ("datasets", tuple(asked.facts.datasets), run.parts),
            ("parents", asked.facts.parents, [run.base] if run.base else []),
        )
        if said != found
    ]


def _replaces(state: Family, note: EvidenceNoted) -> bool:
    return any(subject_of(one) == subject_of(note) for one in state.notes)


def _unknown(state: Family, family: str) -> Refusal | None:
    if state.known:
        return None
    return Refusal("N001", f"found {family[:80]!r}; `nimmerverse registry list` shows the families")
