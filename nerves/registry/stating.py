"""What is told of a family: its newest versions, where each stands, and the evidence about it."""

from __future__ import annotations

from shared.constant import constant
from shared.registry import Family, status_of
from shared.subjects.registry import Digest, EvidenceNoted, FamilyStated, ModelStated

VERSIONS_TOLD = constant(32, "versions", "X-12")
NOTES_TOLD = constant(32, "notes", "X-12")  # of each version


def stated(name: str, family: Family) -> FamilyStated:
    """Return a family's status; versions and notes newest first."""
    models = [_model(family, model) for model in [*family.models][: -VERSIONS_TOLD - 1 : -1]]
    staging, prod = family.at("staging"), family.at("prod")
    return FamilyStated(name, models, staging.model if staging else "", prod.model if prod else "")


def _model(family: Family, model: Digest) -> ModelStated:
    facts = family.models[model]
    own = [note for note in family.notes if note.model == model or note.digest in facts.datasets]
    told = [_told(note) for note in own[: -NOTES_TOLD - 1 : -1]]
    return ModelStated(model, facts, status_of(family, model), told)


def _told(note: EvidenceNoted) -> str:
    values = ", ".join(f"{name} {value}" for name, value in sorted(note.values.items()))
    return f"{note.evidence} {note.name or note.digest[:16]} at ({note.index}, {note.offset}): {values}"
