"""Evaluation: what was measured of a model, by which suite, and never what was not (ILL-06, COL-10)."""

from __future__ import annotations

from typing import Literal

import msgspec

from shared.message import Decision, Ppm, Reply, Request

Digest = str  #: BLAKE3, 64 hexadecimal digits
Recommendation = Literal["promote", "demote", "keep"]


class Metric(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One measured share, with how many examples it rests on and its 95 % interval."""

    name: str  #: `quality`, `bias`, `hallucination`, and others under fairlearn's names
    ppm: Ppm
    low_ppm: Ppm
    high_ppm: Ppm
    examples: int
    detail: str  #: for instance the worst group; empty where there is nothing to say


class Evaluated(Decision, subject="lifecycle.evaluation.event.{model}.evaluated"):
    """A model was measured by one suite; what is not in `metrics` was not measured, and counts as missing."""

    model: Digest
    family: str
    suite: str  #: name and version
    dataset: Digest  #: the suite's registered dataset
    report: Digest  #: artifact with every single answer
    metrics: list[Metric]
    baseline: list[Metric]  #: the same metrics of what needs no model, for instance length alone
    elapsed_ms: int
    default: tuple[Metric, ...] = ()  #: of what stands in for a model where none is in force; empty of most families


class EvaluationDone(Reply, subject="lifecycle.evaluation.run.reply"):
    """Where the evaluation stands in the log, and what it found."""

    model: Digest
    suite: str
    metrics: list[Metric]
    report: Digest


class EvaluateModel(Request, subject="lifecycle.evaluation.run.request", reply=EvaluationDone):
    """Measure a model by a suite. Refused V001 to V004."""

    model: Digest
    family: str
    suite: str


class Recommended(Decision, subject="lifecycle.evaluation.event.{model}.recommended"):
    """What an evaluation speaks for: that a model be promoted, demoted, or that things stay as they are (ILL-19).

    It binds nobody: promotion is the registry's, by its own policy and everybody's word.
    """

    model: Digest
    family: str
    suite: str
    report: Digest  #: the answers that it rests on
    recommendation: Recommendation
    against: Digest  #: the model that is in force in prod; empty where none is
    metric: Metric | None  #: of this model, the one that decided it; None where that was not measured
    in_force: Metric | None  #: the same of the model in force, or the default; None where this suite did not measure it
    reason: str
