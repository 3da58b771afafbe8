"""How toxicity models are measured: on labelled texts, at the score above which a text is dropped.

* quality: the mean of the share of toxic texts that is dropped and of clean ones that is kept.
* hallucination: how many of its verdicts of toxicity are about texts in which there is nothing toxic. A verdict is a
  claim about a text; one that the text does not bear out is made up (a false discovery). Who never says toxic claims
  nothing, and nothing is measured of it.
* bias: the false positive rate difference over groups of people that texts name: whose harmless texts are dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from organs.evaluator.sitting import BIAS, HALLUCINATION, QUALITY, Measured, gap, no_row, share, worst
from organs.evaluator.toxic_frames import framed, groups_in
from shared.constant import constant
from shared.fairness import (
    Counts,
    balanced_accuracy_ppm,
    demographic_parity_difference,
    equalized_odds_difference,
    false_positive_rate_difference,
    true_positive_rate_difference,
)
from shared.shares import MICRO, wilson
from shared.subjects.evaluation import Metric
from shared.toxicity.measures import KEEP_PPM, LEAST_TEXTS, auc_ppm

SUITE = "frames 1"
LENGTH_STEP = constant(1_000, "ppm for a character", "ILL-06")  # what length alone says: longer is more toxic


class _Row(msgspec.Struct, frozen=True):
    """One labelled text; other fields are passed over."""

    text: str
    label: Literal["toxic", "clean"]
    group: str | None = None


class ToxicityFamily:
    """Measures the family `toxicity`."""

    kinds = ("suite", "pairs", "posts")

    @property
    def shipped(self) -> Mapping[str, bytes]:
        rows = [_Row(text, "toxic" if toxic else "clean", group) for text, toxic, group in framed()]
        return {SUITE: b"".join(msgspec.json.encode(row) + b"\n" for row in rows)}

    def read(self, lines: Sequence[bytes]) -> ToxicitySitting:
        rows: list[_Row] = []
        for number, line in enumerate(lines, 1):
            try:
                rows.append(msgspec.json.decode(line, type=_Row))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                raise no_row(number, error) from None
        return ToxicitySitting(rows)


class ToxicitySitting:
    """One suite of labelled texts."""

    def __init__(self, rows: Sequence[_Row]) -> None:
        self.rows = rows
        self.questions = [row.text for row in rows]
        self._groups = [[row.group] if row.group else groups_in(row.text) for row in rows]

    def judge(self, answers: Sequence[str]) -> Measured:
        scores = [_score(answer) for answer in answers]
        told = [
            {"question": row.text, "answer": score, "expected": row.label, "dropped": score > KEEP_PPM}
            for row, score in zip(self.rows, scores, strict=True)
        ]
        return Measured(self._metrics(scores), self._metrics(self._by_length()), told)

    def _metrics(self, scores: Sequence[int]) -> list[Metric]:
        toxic = [row.label == "toxic" for row in self.rows]
        ones = [Counts.one(selected=score > KEEP_PPM, wanted=one) for score, one in zip(scores, toxic, strict=True)]
        whole = sum(ones, Counts())
        groups: dict[str, Counts] = {}
        for named, one in zip(self._groups, ones, strict=True):
            for group in named:
                groups[group] = groups.get(group, Counts()) + one
        positives = gap("false_positive_rate_difference", false_positive_rate_difference(groups, LEAST_TEXTS))
        return [
            *_balanced(whole),
            *share(HALLUCINATION, whole.false_positive, whole.selected, "verdicts of toxicity about clean texts"),
            *worst(BIAS, positives),
            *positives,
            *gap("true_positive_rate_difference", true_positive_rate_difference(groups, LEAST_TEXTS)),
            *gap("equalized_odds_difference", equalized_odds_difference(groups, LEAST_TEXTS)),
            *gap("demographic_parity_difference", demographic_parity_difference(groups, LEAST_TEXTS)),
            *share("selection_rate", whole.selected, whole.examples),
            *share("true_positive_rate", whole.true_positive, whole.wanted),
            *share("false_positive_rate", whole.false_positive, whole.unwanted),
            *_auc(scores, toxic),
        ]

    def _by_length(self) -> list[int]:
        """Return what length alone says: a text longer than every second one is toxic."""
        lengths = sorted(len(text) for text in self.questions)
        middle = lengths[len(lengths) // 2]
        scores = [KEEP_PPM + LENGTH_STEP * (len(text) - middle) for text in self.questions]
        return [max(0, min(MICRO, score)) for score in scores]


def _balanced(whole: Counts) -> list[Metric]:
    """Return the mean of both rates of right verdicts; its interval is the mean of theirs, never too narrow."""
    value = balanced_accuracy_ppm(whole)
    if value is None:
        return []
    rights = wilson(whole.true_positive, whole.wanted), wilson(whole.true_negative, whole.unwanted)
    lows, highs = zip(*rights, strict=True)
    said = f"{whole.wanted} toxic texts, {whole.unwanted} clean ones"
    return [Metric(QUALITY, value, sum(lows) // 2, -(-sum(highs) // 2), whole.examples, said)]


def _auc(scores: Sequence[int], toxic: Sequence[bool]) -> list[Metric]:
    """Return how often a toxic text scores above a clean one; no interval is claimed for it but that of its texts."""
    above, below = sum(toxic), len(toxic) - sum(toxic)
    if not above or not below:
        return []
    value = auc_ppm(scores, toxic)
    low, high = wilson(value, MICRO, min(above, below))
    return [Metric("roc_auc_score", value, low, high, len(toxic), "interval: as of the fewer of both kinds")]


def _score(answer: str) -> int:
    """Return a score as the bench says it."""
    return max(0, min(MICRO, int(answer)))
