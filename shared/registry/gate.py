"""What the policy of promotions is asked: the evidence about exactly this model and this manifest, and nothing else.

What nobody noted is left out, and what is left out blocks. Whole numbers alone; one that no policy could read is no
measurement.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from shared.policy.policies import MAX_INTEGER
from shared.registry.family import Family, is_full
from shared.registry.manifest import Manifest
from shared.subjects.registry import Digest, EvidenceNoted

PACKAGE = "nimmerverse.promotion"
DEFAULT_QUALITY = "default_quality"  #: among a note's values: of what stands in where no model is in force
PPM = 1_000_000
MS = 1_000


def asked(known: Family, manifest: Manifest, now_ms: int) -> dict[str, object]:
    """Return the policy's input for a promotion, by what is known of the family now."""
    facts = known.models[manifest.model]
    own = [note for note in known.notes if note.model == manifest.model]
    proposals = [note for note in own if note.evidence == "proposal" and note.digest == facts.record]
    given: dict[str, object] = {
        "family": manifest.family,
        "target": manifest.target,
        "high_risk": facts.high_risk or any(note.values.get("high_risk") for note in proposals),
        "emergency": manifest.emergency,
        "datasets": list(facts.datasets),
        "provenance": list(_provenance(known.notes)),
        "approvals": _words(known.notes, manifest.digest, ("approval", "override"), now_ms),
        "signatures": _words(known.notes, manifest.digest, ("signature",), now_ms),
    }
    if not is_full(known, manifest.model):  # what else was measured nobody knows
        given["suites"] = sorted({note.name for note in own if note.evidence == "evaluation"})
    given |= _power(known.notes, now_ms) | _measured(own) | _proposal(proposals) | _before(known, manifest)
    for note in own:
        if note.evidence == "run" and note.digest == facts.record:
            given |= _whole({name: note.values.get(name) for name in ("consensus_ppm", "workers")})
    return given


def signers(known: Family, manifest: Digest, life_s: int, now_ms: int) -> list[str]:
    """Return the voters whose signature under a manifest is a pass that still lives, in order."""
    words = _words(known.notes, manifest, ("signature",), now_ms)
    return sorted(str(word["voter"]) for word in words if int(str(word["age_s"])) <= life_s)


def word_of(role: str, voter: str) -> str:
    """Return what a voter's word is called among the notes."""
    return f"{role} {voter}"


def _power(notes: Iterable[EvidenceNoted], now_ms: int) -> dict[str, object]:
    for note in notes:
        if note.evidence == "power":
            found = {name: note.values.get(name) for name in ("power_kw", "nox_mg_h", "nox_permit_mg_h")}
            age_s = note.values.get("age_s")
            given = _whole({**found, "power_age_s": None if age_s is None else age_s + _age_s(note, now_ms)})
            return given | {name: bool(note.values[name]) for name in ("measured", "turbines") if name in note.values}
    return {}


def _provenance(notes: Iterable[EvidenceNoted]) -> Iterator[dict[str, object]]:
    for note in notes:
        if note.evidence == "dataset":
            proved = {name: bool(note.values.get(name)) for name in ("merkle_valid", "anchored")}
            yield {"dataset": note.digest, **proved}


def _measured(own: Iterable[EvidenceNoted]) -> dict[str, object]:
    """Return the worst of what any suite measured."""
    suites = [note.values for note in own if note.evidence == "evaluation"]
    quality = [values["quality"] for values in suites if "quality" in values]
    given = {"quality_ppm": min(quality, default=None)}
    for name in ("bias", "hallucination"):
        given[f"{name}_ppm"] = max((values[name] for values in suites if name in values), default=None)
    return _whole(given)


def _proposal(proposals: list[EvidenceNoted]) -> dict[str, object]:
    """Return the state of the proposal of this model and this run; one that was accepted counts before others."""
    if not proposals:
        return {}
    if any(note.values.get("accepted") for note in proposals):
        return {"proposal": "accepted"}
    return {"proposal": "rejected" if proposals[-1].values.get("rejected") else "under_review"}


def _before(known: Family, manifest: Manifest) -> dict[str, object]:
    """Return what stands at the target now and how good that was measured to be, and whether the model is staged."""
    there, staging = known.at(manifest.target), known.at("staging")
    given: dict[str, object] = {
        "in_force": there is not None,
        "staged": staging is not None and staging.model == manifest.model,
    }
    if there is None:
        return given | {"by_default": [*_by_default(known, manifest.model)]}
    measured = _measured([note for note in known.notes if note.model == there.model])
    return given | _whole({"in_force_quality_ppm": measured.get("quality_ppm")})


def _by_default(known: Family, model: Digest) -> Iterator[dict[str, object]]:
    """Yield each suite that measured quality: the model's, and that of what stands in while nothing is in force."""
    for note in known.notes:
        if note.evidence == "evaluation" and note.model == model:
            qualities = {f"{name}_ppm": note.values.get(name) for name in ("quality", DEFAULT_QUALITY)}
            if whole := _whole(qualities):
                yield {"suite": note.name, **whole}


def _words(
    notes: Iterable[EvidenceNoted], manifest: Digest, kinds: tuple[str, ...], now_ms: int
) -> list[dict[str, object]]:
    """Return who passed a manifest, in which role, and how long ago that was noted."""
    found: list[dict[str, object]] = []
    for note in notes:
        if note.evidence in kinds and note.digest == manifest and note.values.get("pass"):
            role, _, voter = note.name.partition(" ")
            found.append({"role": role, "voter": voter, "age_s": _age_s(note, now_ms)})
    return found


def _age_s(note: EvidenceNoted, now_ms: int) -> int:
    return max(0, now_ms - note.at_ms) // MS


def _whole(given: Mapping[str, object]) -> dict[str, object]:
    """Return the numbers of an input that a policy can read."""
    return {
        name: value for name, value in given.items() if isinstance(value, int) and -MAX_INTEGER <= value <= MAX_INTEGER
    }
