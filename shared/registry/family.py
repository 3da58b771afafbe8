"""A family of models as its lane says it: the versions, the evidence about them, and what is in force at each target.

One fold for whoever asks: the nerve that decides, the runtime that loads, the command that looks back. What was in
force at a time is the same fold, stopped there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias, cast, get_args

import msgspec
from msgspec.structs import replace

from shared.constant import constant
from shared.subjects.registry import (
    Digest,
    EvidenceKind,
    EvidenceNoted,
    ModelFacts,
    ModelPromoted,
    ModelRegistered,
    ModelRolledBack,
    ModelStatus,
    PromotionBlocked,
    Target,
)

NOTES = constant(128, "notes", "X-12")  # of a family beside what is measured; what is forgotten is missing, and blocks
EVALUATIONS = constant(64, "evaluations", "X-12")  # of a model; none is forgotten, and one that has so many is blocked
WORDS = constant(4, "notes", "X-12")  # of one voter in one role: nobody pushes what others said out
BEFORE = constant(32, "promotions", "X-12")  # how far back a target can be rolled
TARGETS: Final[tuple[Target, ...]] = get_args(Target)

VOTED: Final[tuple[EvidenceKind, ...]] = ("approval", "signature", "override")  #: what voters say about a manifest

RegistryDecision: TypeAlias = ModelRegistered | EvidenceNoted | ModelPromoted | PromotionBlocked | ModelRolledBack
DECISIONS: Final = cast("tuple[type[RegistryDecision], ...]", get_args(RegistryDecision))


class Standing(msgspec.Struct, frozen=True):
    """What is in force at a target, or was before what is now."""

    model: Digest
    manifest: Digest
    number: int  #: of the decision on its lane: the larger one is the later
    at_ms: int
    emergency: bool
    ratify_by_ms: int
    ratify_signatures: int
    ratified: bool

    def expired(self, now_ms: int) -> bool:
        """Say whether it was put in force in an emergency that nobody ratified in time."""
        return self.emergency and not self.ratified and now_ms > self.ratify_by_ms


class Family(msgspec.Struct, frozen=True):
    """Everything that was decided about a family. `staging` and `prod` end with what is in force."""

    name: str = ""
    models: dict[Digest, ModelFacts] = {}
    notes: tuple[EvidenceNoted, ...] = ()  #: the newest about each thing, oldest first
    staging: tuple[Standing, ...] = ()
    prod: tuple[Standing, ...] = ()
    promoted: tuple[Digest, ...] = ()  #: every model that was ever in force
    decided: int = 0  #: how many decisions were folded

    def history(self, target: Target) -> tuple[Standing, ...]:
        """Return what was put in force at a target and not taken back, first to last."""
        return self.staging if target == "staging" else self.prod

    def at(self, target: Target) -> Standing | None:
        """Return what is in force at a target."""
        history = self.history(target)
        return history[-1] if history else None

    @property
    def known(self) -> bool:
        """Whether anything was ever decided about this family."""
        return self.decided > 0


def evolved(family: Family, decision: RegistryDecision) -> Family:
    """Return a family after one more decision about it."""
    family = replace(family, name=decision.family, decided=family.decided + 1)
    match decision:
        case ModelRegistered():
            return replace(family, models={**family.models, decision.model: decision.facts})
        case EvidenceNoted():
            return _noted(family, decision)
        case ModelPromoted():
            return _promoted(family, decision)
        case ModelRolledBack():
            history = family.history(decision.target)
            return replace(family, **{decision.target: history[:-1]}) if history else family
        case PromotionBlocked():
            return family


def subject_of(note: EvidenceNoted) -> tuple[str, ...]:
    """Return what a note is about: a newer one about the same replaces it."""
    match note.evidence:
        case "power":
            return ("power",)
        case "dataset":
            return ("dataset", note.digest)
        case "run":
            return ("run", note.model, note.digest)
        case "evaluation":  # by what it was measured; a name is anybody's
            return ("evaluation", note.model, *note.parts)
        case "proposal":
            return ("proposal", note.model, note.name)
        case _:  # a voter's word about a manifest
            return (note.evidence, note.digest, note.name)


def is_full(family: Family, model: Digest) -> bool:
    """Say whether a model was measured by so many suites that no further one is noted."""
    return sum(note.evidence == "evaluation" and note.model == model for note in family.notes) >= EVALUATIONS


def status_of(family: Family, model: Digest) -> ModelStatus:
    """Return where a model stands: at prod, at staging, nowhere any more, or nowhere yet."""
    for target in reversed(TARGETS):
        standing = family.at(target)
        if standing is not None and standing.model == model:
            return target
    return "deprecated" if model in family.promoted else "draft"


def in_force(
    decisions: Iterable[tuple[RegistryDecision, int]], *, index: int | None = None, at_ms: int | None = None
) -> Family:
    """Return a family as it stood after index `index`, or at a time; each decision comes with its entry's index."""
    family = Family()
    for decision, place in decisions:
        if index is not None and place > index:
            break
        if at_ms is not None and time_of(decision) > at_ms:
            break
        family = evolved(family, decision)
    return family


def time_of(decision: RegistryDecision) -> int:
    """Return when a decision was made, 0 for a registration, which changes nothing that is in force."""
    return 0 if isinstance(decision, ModelRegistered) else decision.at_ms


def _noted(family: Family, note: EvidenceNoted) -> Family:
    about = subject_of(note)
    notes = [one for one in family.notes if subject_of(one) != about]
    notes.append(note)
    if note.evidence in VOTED:
        own = [one for one in notes if (one.evidence, one.name) == (note.evidence, note.name)]
        notes = [one for one in notes if one not in own[:-WORDS]]
    family = replace(family, notes=tuple(_kept(family, notes)))
    return _ratified(family, note.digest) if note.evidence == "ratification" else family


def _kept(family: Family, notes: list[EvidenceNoted]) -> list[EvidenceNoted]:
    """Return the notes without the oldest where there are too many; what could only be against a model stays."""
    fading = [one for one in notes if one.evidence != "evaluation" and not one.values.get("high_risk")]
    if len(fading) <= NOTES:
        return notes
    standing = {one.model for target in TARGETS if (one := family.at(target)) is not None}
    oldest = next((one for one in fading if one.model not in standing), fading[0])
    return [one for one in notes if one is not oldest]


def _promoted(family: Family, decision: ModelPromoted) -> Family:
    ratify = (decision.ratify_by_ms, decision.ratify_signatures)
    number, at_ms = family.decided, decision.at_ms
    standing = Standing(decision.model, decision.manifest, number, at_ms, decision.emergency, *ratify, ratified=False)
    history = family.history(decision.target)  # whole in an emergency, which may run out
    before = [one for one in history if decision.emergency or one.model != decision.model]
    promoted = tuple(dict.fromkeys((*family.promoted, decision.model)))
    return replace(family, promoted=promoted, **{decision.target: tuple([*before, standing][-BEFORE:])})


def _ratified(family: Family, manifest: Digest) -> Family:
    changed = {
        target: tuple(
            replace(one, ratified=True) if one.manifest == manifest else one for one in family.history(target)
        )
        for target in TARGETS
    }
    return replace(family, **changed)
