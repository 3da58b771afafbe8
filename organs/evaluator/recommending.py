"""What an evaluation speaks for, from what was measured and what is in force: the rule, in one place (ILL-19).

The thresholds are the promotion policy's own rows, so a recommendation never says less than the gate demands. A model
is better than the one in force, or than the default where nothing is, only where the intervals of their quality, by
the same suite, do not touch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from organs.evaluator.sitting import BIAS, HALLUCINATION, QUALITY
from shared.policy import Policies, PolicyRow
from shared.registry.gate import PACKAGE
from shared.subjects.evaluation import Evaluated, Metric, Recommendation, Recommended

ROWS = (HALLUCINATION, BIAS, QUALITY)  #: what a single evaluation can say; in this order one that fails is named


def recommended(found: Evaluated, in_force: str, known: Evaluated | None, policies: Policies) -> Recommended:
    """Return what an evaluation speaks for. `known` is the same suite's about the model `in_force`, if there is one."""
    measured = {metric.name: metric for metric in found.metrics}
    failing = next((row for row in rows(found, policies) if not row.holds), None)
    quality = measured.get(QUALITY)
    beside = found.default if not in_force else known.metrics if known is not None else []
    before = next((metric for metric in beside if metric.name == QUALITY), None)
    if failing is not None:
        metric, other = measured.get(failing.name), None
        word: Recommendation = "demote" if found.model == in_force else "keep"
        reason = f"{failing.name} is {_told(metric)}, demanded {failing.demanded}"
    elif found.model == in_force:
        word, metric, other, reason = "keep", quality, None, "it is in force, and every row holds"
    elif in_force or found.family in policies.with_default:
        metric, other = quality, before
        word, reason = _compared(quality, before, "the model in force" if in_force else "the default")
    else:
        word, metric, other, reason = "promote", quality, None, "nothing is in force, and every row holds"
    about = (found.model, found.family, found.suite, found.report)
    return Recommended(*about, word, in_force, metric, other, reason)


def rows(found: Evaluated, policies: Policies) -> Sequence[PolicyRow]:
    """Return the rows of the promotion policy that an evaluation can fill; what was not measured does not hold."""
    measured = {f"{metric.name}_ppm": metric.ppm for metric in found.metrics if metric.name in ROWS}
    given: Mapping[str, object] = {"family": found.family, **measured}
    judged = policies.evaluate(PACKAGE, given)
    by_name = {row.name: row for row in judged.rows}
    missing = PolicyRow("policy", "an answer", None, holds=False, reason="MISSING_POLICY")
    return [by_name.get(name, msgspec.structs.replace(missing, name=name)) for name in ROWS]


def _compared(quality: Metric | None, before: Metric | None, what: str) -> tuple[Recommendation, str]:
    """Return what to say of a model all of whose rows hold, beside what it would replace."""
    assert quality is not None, "its row holds"
    if before is None:
        return "keep", f"{what} was not measured by this suite; evaluate it, then compare"
    if quality.low_ppm > before.high_ppm:
        return "promote", f"its quality {_told(quality)} is above {_told(before)} of {what}"
    if quality.high_ppm < before.low_ppm:
        return "keep", f"its quality {_told(quality)} is below {_told(before)} of {what}"
    return "keep", f"its quality {_told(quality)} and {_told(before)} of {what} are not told apart"


def _told(metric: Metric | None) -> str:
    if metric is None:
        return "not measured"
    return f"{metric.ppm} ({metric.low_ppm} to {metric.high_ppm})"
