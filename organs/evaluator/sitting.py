"""What a family of models is measured by: its suites, the questions in them, and what answers to them are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from shared.errors import Refusal, Refused
from shared.fairness import Gap
from shared.shares import ppm, wilson
from shared.subjects.evaluation import Metric

QUALITY, BIAS, HALLUCINATION = "quality", "bias", "hallucination"


class Measured(msgspec.Struct, frozen=True):
    """What answers are worth: metrics, what needs no model beside them, and every single answer with its verdict."""

    metrics: list[Metric]
    baseline: list[Metric]
    answers: list[dict[str, Any]]
    default: list[Metric] = []  #: of what stands in where no model is in force

    def beside(self, default: Measured) -> Measured:
        """Return the same with what the default's answers are worth beside it, and each of these answers."""
        both = zip(self.answers, default.answers, strict=True)
        answers = [{**mine, "default": other["answer"]} for mine, other in both]
        return Measured(self.metrics, self.baseline, answers, default.metrics)


class Sitting(Protocol):
    """One suite, read: what is asked, and how answers are judged."""

    @property
    def questions(self) -> Sequence[str]: ...

    def judge(self, answers: Sequence[str]) -> Measured:
        """Return what the answers, one for each question, are worth; what cannot be measured by them is left out."""
        ...


class Family(Protocol):
    """One family of models."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """Of the datasets that it is measured by."""
        ...

    @property
    def shipped(self) -> Mapping[str, bytes]:
        """The product's own suites by name and version, each a content of lines; the same bytes everywhere."""
        ...

    def read(self, lines: Sequence[bytes]) -> Sitting:
        """Return the sitting of a suite's lines. Refused V003 names the first line that is none."""
        ...


def share(name: str, part: int, of: int, detail: str = "", independent: int | None = None) -> list[Metric]:
    """Return a share as a metric; nothing where there was nothing to share."""
    if not of:
        return []
    low, high = wilson(part, of, independent)
    return [Metric(name, ppm(part, of), low, high, of, detail)]


def gap(name: str, found: Gap | None, detail: str = "") -> list[Metric]:
    """Return a difference between groups as a metric; nothing where it was not measured."""
    if found is None:
        return []
    said = f"{detail}{found.most} against {found.least}"
    return [Metric(name, found.ppm, *found.interval, found.examples, said)]


def worst(name: str, metrics: Sequence[Metric]) -> list[Metric]:
    """Return the largest of some metrics under another name, with its own as the detail."""
    if not metrics:
        return []
    found = max(metrics, key=lambda metric: metric.ppm)
    return [msgspec.structs.replace(found, name=name, detail=f"{found.name}: {found.detail}")]


def no_row(number: int, why: object) -> Refused:
    """The refusal for a line of a suite that is none."""
    return Refused(Refusal("V003", f"line {number} of the suite is none of its family's: {str(why)[:200]}"))
