"""A proposal's ethics, computed: policies judge what the log says of its data and its model (ZER-04).

A check that has nothing to rest on fails. Thresholds are the policies' own, so that a review and a gate never differ.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from organs.reviewer.evidence import Evidence
from shared.constant import constant
from shared.policy import TRAINING, Judged, Policies
from shared.subjects.consensus import EthicsReview, EthicsReviewed, ProposalMade
from shared.subjects.evaluation import Evaluated
from shared.subjects.registry import Row
from shared.training.permission import learned

SAFETY = "nimmerverse.training_safety"
NOT_ETHICS = ("proposal",)  #: the row by which a policy asks for what this review is a part of
PPM = 1_000_000
LINE_CHARS = constant(500, "characters", "X-12")
#: What to do about a check that failed.
ADVICE: Final[dict[str, str]] = {
    "hallucination": "have the model measured by a suite with this metric, and bring it below the limit",
    "bias": "have the model measured by a suite that names groups, and even out what it learns from",
    "consensus": "train again: the workers have to agree on the last checkpoint",
    "datasets": "name the registered datasets that it learns from",
    "use": "learn from no dataset that is kept for evaluation",
    "origin": "begin anew or from a recorded run, or have the weights from elsewhere approved by name",
    "licence": "take data under an open licence, or have the licence approved by name",
    "restrictions": "take data without this restriction, or have it approved by name",
    "pii": "seal what is personal, or have its use approved by name",
    "verified": "have every dataset read again: `nimmerverse dataset verify`",
}


def reviewed(made: ProposalMade, evidence: Evidence, policies: Policies) -> EthicsReviewed:
    """Return the review of a proposal from what is known now."""
    safety = policies.evaluate(SAFETY, _measured(made, evidence))
    data = policies.evaluate(
        TRAINING, {"datasets": [_about(dataset, evidence) for dataset in evidence.datasets_of(made)]}
    )
    rows = [*_rows(safety), *_rows(data), _verified(made, evidence)]
    failed = [row for row in rows if not row.holds]
    review = EthicsReview(
        PPM * (len(rows) - len(failed)) // len(rows),
        _assessment(made, evidence, rows)[:LINE_CHARS],
        [_told(row)[:LINE_CHARS] for row in rows],
        [f"{row.name}: {ADVICE.get(row.name, 'see what the policy demands')}" for row in failed],
    )
    return EthicsReviewed(made.proposal, review, [safety.judgement(), data.judgement()], evidence.cited(made))


def _rows(judged: Judged) -> Iterable[Row]:
    return (row for row in judged.rows if row.name not in NOT_ETHICS)


def _measured(made: ProposalMade, evidence: Evidence) -> dict[str, int]:
    """Return the worst that any suite measured of the model, and how far the run's workers agreed."""
    found: dict[str, int] = {}
    for name in ("hallucination", "bias"):
        measured = [metric.ppm for each in _suites(made, evidence) for metric in each.metrics if metric.name == name]
        if measured:
            found[f"{name}_ppm"] = max(measured)
    run = evidence.runs.get(made.facts.run)
    return found | ({"consensus_ppm": run[0].consensus_ppm} if run is not None else {})


def _suites(made: ProposalMade, evidence: Evidence) -> list[Evaluated]:
    return [evaluated for evaluated, _ in evidence.evaluated.get(made.facts.model, {}).values()]


def _about(dataset: str, evidence: Evidence) -> dict[str, object]:
    """Return what a policy is told of a dataset; of one that nobody registered nothing but its name."""
    known = evidence.registered.get(dataset)
    if known is None:
        return {"dataset": dataset}
    approved = {concern for one, _ in evidence.approved.get(dataset, ()) for concern in one.concerns}
    return msgspec.to_builtins(learned(dataset, known[0].facts, approved))


def _verified(made: ProposalMade, evidence: Evidence) -> Row:
    """Return whether every dataset was read again last with its roots valid and well enough anchored."""
    demanded, datasets = "every dataset", evidence.datasets_of(made)
    if not datasets:
        return Row("verified", demanded, None, holds=False, reason="MISSING_DATASETS")
    unsound = [dataset for dataset in datasets if not _sound(dataset, evidence)]
    reason = ", ".join(f"NOT_VERIFIED:{dataset[:16]}" for dataset in unsound)
    return Row("verified", demanded, len(datasets) - len(unsound), not unsound, reason)


def _sound(dataset: str, evidence: Evidence) -> bool:
    found = evidence.verified.get(dataset)
    return found is not None and found[0].merkle_valid and found[0].anchored


def _told(row: Row) -> str:
    if row.holds:
        return f"{row.name}: passed"
    found = "nothing was found" if row.found is None else f"found {row.found}"
    return f"{row.name}: failed: {row.reason} ({found}, demanded {row.demanded})"


def _assessment(made: ProposalMade, evidence: Evidence, rows: list[Row]) -> str:
    """Return in words how uneven the model was found, and by whom."""
    if not made.facts.model:
        return "the proposal names no model, so its bias was not measured"
    told = [
        f"{metric.ppm / PPM:.3f} by {each.suite} on {metric.examples} examples"
        + (f" ({metric.detail})" if metric.detail else "")
        for each in _suites(made, evidence)
        for metric in each.metrics
        if metric.name == "bias"
    ]
    if not told:
        return "no suite measured the model's bias"
    holds = next((row for row in rows if row.name == "bias"), None)
    limit = "" if holds is None else f"; {'within' if holds.holds else 'not within'} {holds.demanded} millionths"
    return f"bias {', '.join(told)}{limit}"
