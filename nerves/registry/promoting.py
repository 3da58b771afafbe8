"""Promoting and rolling back: what the policy says of the evidence, and how long an emergency lasts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import msgspec

from shared.constant import constant
from shared.errors import Refusal
from shared.policy import Judged, Policies
from shared.registry.family import TARGETS, Family, RegistryDecision, Standing
from shared.registry.gate import MS, PACKAGE, asked, signers
from shared.registry.manifest import Manifest, manifest_of
from shared.subjects.registry import (
    Digest,
    EvidenceNoted,
    FamilyStated,
    ManifestStated,
    ModelPromoted,
    ModelRolledBack,
    PromoteModel,
    PromotionBlocked,
    RollBackModel,
    StateManifest,
    Target,
)

Said: TypeAlias = RegistryDecision | FamilyStated | ManifestStated

PROMOTION_REASON_CHARS = constant(2_000, "characters", "X-12")
NOBODY = "registry"  #: by whom what runs out is taken back
UNRATIFIED = "UNRATIFIED: the emergency was not ratified in time"


class Terms(msgspec.Struct, frozen=True):
    """What the policy says beside yes and no; where it could not be asked there is no time and no signature enough."""

    approval_life_s: int = 0
    ratify_within_s: int = 0
    ratify_signatures: int = constant(1_000_000, "signers", "X-06")


class Gate:
    """The policy of promotions, asked about a family."""

    def __init__(self, policies: Policies) -> None:
        self.policies = policies

    def stated(self, state: Family, request: StateManifest, now_ms: int) -> list[Said] | Refusal:
        """Return what there is to sign, and what stands against a promotion now."""
        no = _no_model(state, request.family, request.model)
        if no is not None:
            return no
        manifest, judged, _ = self._judged(state, request, now_ms)
        said = (request.family, request.model, request.target, manifest.digest, manifest.text)
        return [ManifestStated(*said, judged.judgement())]

    def promoted(self, state: Family, request: PromoteModel, now_ms: int) -> list[Said] | Refusal:
        """Return that a model is in force from here on, or that it is not, with every row of why."""
        no = _no_model(state, request.family, request.model)
        if no is not None:
            return no
        if request.emergency and not request.reason.strip():
            return Refusal("B002", "an emergency is declared with its reason: `--reason TEXT`")
        there = state.at(request.target)
        if request.emergency and there is not None and there.model == request.model:
            found = f"{request.model} stands at {request.target}"
            return Refusal("N008", f"{found}; an emergency is ratified by signing {there.manifest}")
        manifest, judged, terms = self._judged(state, request, now_ms)
        family, model, target, by = request.family, request.model, request.target, request.by
        if not judged.allowed:
            return [PromotionBlocked(family, model, target, judged.judgement(), by, manifest.digest, now_ms)]
        counted = signers(state, manifest.digest, terms.approval_life_s, now_ms)
        emergency = request.emergency
        return [
            ModelPromoted(
                family,
                model,
                target,
                manifest=manifest.digest,
                signatures=counted,
                judgement=judged.judgement(),
                replaces=there.model if there is not None else "",
                emergency=emergency,
                by=by,
                reason=request.reason[:PROMOTION_REASON_CHARS],
                at_ms=now_ms,
                ratify_by_ms=now_ms + terms.ratify_within_s * MS if emergency else 0,
                ratify_signatures=terms.ratify_signatures if emergency else 0,
            )
        ]

    def ratified(self, state: Family, note: EvidenceNoted, now_ms: int) -> Iterator[EvidenceNoted]:
        """Yield that an emergency is ratified, once enough signers of its manifest said so in time."""
        for target in TARGETS:
            there = state.at(target)
            if there is None or there.manifest != note.digest or not there.emergency or there.ratified:
                continue
            names = signers(state, there.manifest, (there.ratify_by_ms - there.at_ms) // MS, now_ms)
            if not there.expired(now_ms) and len(names) >= there.ratify_signatures:
                said = (note.family, there.model, "ratification", target, there.manifest)
                yield EvidenceNoted(*said, {"signers": len(names)}, note.index, note.offset, now_ms)

    def rolled_back(self, state: Family, request: RollBackModel, now_ms: int) -> list[Said] | Refusal:
        """Return that what is in force is so no more. Refused N005 where nothing is."""
        if not request.reason.strip():
            return Refusal("B002", "say why with `--reason TEXT`: the log keeps it")
        there = state.at(request.target)
        if there is None:
            return Refusal("N005", f"nothing of {request.family[:80]!r} is in force at {request.target}")
        reason = request.reason[:PROMOTION_REASON_CHARS]
        return [_taken_back(state, request.family, request.target, there, reason, request.by, now_ms)]

    def expired(self, state: Family, now_ms: int) -> Iterator[ModelRolledBack]:
        """Yield what is taken back because its emergency ran out: one at a time, what it restores is looked at next."""
        for target in TARGETS:
            there = state.at(target)
            if there is not None and there.expired(now_ms):
                yield _taken_back(state, state.name, target, there, UNRATIFIED, NOBODY, now_ms)

    def _judged(
        self, state: Family, request: PromoteModel | StateManifest, now_ms: int
    ) -> tuple[Manifest, Judged, Terms]:
        about = (request.family, state, request.model, request.target, self.policies.digest)
        manifest = manifest_of(*about, emergency=request.emergency)
        judged = self.policies.evaluate(PACKAGE, asked(state, manifest, now_ms))
        return manifest, judged, msgspec.convert(judged.values, Terms)


def _no_model(state: Family, family: str, model: Digest) -> Refusal | None:
    if model in state.models:
        return None
    return Refusal(
        "N004", f"{family[:80]!r} has no {model[:80]!r}; `nimmerverse registry show FAMILY` lists what it has"
    )


def _taken_back(  # noqa: PLR0913, PLR0917 - each word of a decision is its own fact
    state: Family, family: str, target: Target, there: Standing, reason: str, by: str, now_ms: int
) -> ModelRolledBack:
    before = state.history(target)[:-1]
    return ModelRolledBack(family, there.model, target, before[-1].model if before else "", reason, by, now_ms)
