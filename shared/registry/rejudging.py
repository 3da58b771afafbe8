"""The unified verifier's half about promotions: each is judged again from the notes before it, by the same policies.

The other half is the log's own: whole, as signed, by whom. Together they say that what was in force was in force for
the reasons that the log gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from shared.errors import Refused
from shared.policy import Policies
from shared.registry.family import Family, RegistryDecision, evolved
from shared.registry.gate import PACKAGE, asked
from shared.registry.manifest import manifest_of
from shared.subjects.registry import ModelPromoted, PromotionBlocked


class Rejudged(msgspec.Struct, frozen=True):
    """What came of judging one decision again."""

    index: int
    family: str
    model: str
    target: str
    outcome: Literal["promoted", "blocked"]
    verdict: Literal["same", "other", "other_policies"]
    detail: str


def rejudged(decisions: Iterable[tuple[RegistryDecision, int]], policies: Policies) -> Iterator[Rejudged]:
    """Yield each promotion of one family, judged again; decisions come in their order, with their indices."""
    family = Family()
    for decision, index in decisions:
        if isinstance(decision, ModelPromoted | PromotionBlocked):
            promoted = isinstance(decision, ModelPromoted)
            about = (index, decision.family, decision.model, decision.target, "promoted" if promoted else "blocked")
            yield Rejudged(*about, *_again(family, decision, policies))
        family = evolved(family, decision)


def _again(
    family: Family, decision: ModelPromoted | PromotionBlocked, policies: Policies
) -> tuple[Literal["same", "other", "other_policies"], str]:
    """Return whether the same notes give the same judgement, and what differs first."""
    said = decision.judgement
    if decision.model not in family.models:
        return "other", "no such model was registered before it"
    about = (decision.family, family, decision.model, decision.target, said.policy)
    manifest = manifest_of(*about, emergency=_emergency(decision))
    given = asked(family, manifest, decision.at_ms)
    try:
        found = policies.again(said.policy, said.engine, PACKAGE, given).judgement()
    except Refused as no:
        return "other_policies", no.refusal.detail
    if manifest.digest != decision.manifest:
        return "other", f"the manifest is {manifest.digest}, the decision says {decision.manifest}"
    if found.input_digest != said.input_digest:
        return "other", "the notes before it give the policy another input"
    if found != said or found.allowed != isinstance(decision, ModelPromoted):
        return "other", "the policy says otherwise"
    return "same", ""


def _emergency(decision: ModelPromoted | PromotionBlocked) -> bool:
    """Return whether an emergency was declared; of a blocked one its rows say so."""
    if isinstance(decision, ModelPromoted):
        return decision.emergency
    return any(row.name.startswith("override_") for row in decision.judgement.rows)
