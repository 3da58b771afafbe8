"""Metrics beside what is demanded of them: as lines of a terminal, and as an SVG drawing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import cast

from shared.constant import constant
from shared.policy import Policies
from shared.shares import MICRO
from shared.subjects.evaluation import Evaluated, Metric

METRICS_WIDTH = constant(760, "px", "ILL-06")
ROW = constant(26, "px", "ILL-06")
LEFT = constant(300, "px", "ILL-06")
RIGHT = constant(90, "px", "ILL-06")
CELLS = constant(30, "characters", "ILL-06")
#: The three that a promotion asks for: the policy's limit, and whether a model has to stay below it.
GATED = {"quality": False, "hallucination": True, "bias": True}


def demanded(family: str) -> dict[str, tuple[int, bool]]:
    """Return each gated metric's limit in millionths, and whether it is one to stay below."""
    limits = Policies.shipped().limits
    by_family = cast("Mapping[str, int]", limits["quality_ppm"])
    quality = by_family.get(family, cast("int", limits["quality_of_others_ppm"]))
    least = {"quality": quality, "hallucination": limits["hallucination_ppm"], "bias": limits["bias_ppm"]}
    return {name: (cast("int", least[name]), below) for name, below in GATED.items()}


def verdict(metric: Metric, family: str) -> str:
    """Return whether a metric is what is demanded of it; nothing where nothing is."""
    limit = demanded(family).get(metric.name)
    if limit is None:
        return ""
    return "holds" if (metric.ppm < limit[0] if limit[1] else metric.ppm >= limit[0]) else "FAILS"


def lines(found: Evaluated) -> list[str]:
    """Return a line for each metric, then one for each that is demanded and was not measured."""
    beside = {"without a model": found.baseline, "the default": found.default}
    known = {what: {metric.name: metric for metric in reversed(metrics)} for what, metrics in beside.items()}
    rows = [
        _line(metric, found.family, {what: named[metric.name] for what, named in known.items() if metric.name in named})
        for metric in found.metrics
    ]
    return [*rows, *(f"{name:<32} not measured: MISSING" for name in missing(found))]


def missing(found: Evaluated) -> list[str]:
    """Return what is demanded of every model and was not measured."""
    names = {metric.name for metric in found.metrics}
    return [name for name in GATED if name not in names]


def svg(evaluations: Sequence[Evaluated]) -> str:
    """Return every gated metric as a bar with its interval, and the limit as a line."""
    rows = [(found, metric) for found in evaluations for metric in found.metrics if metric.name in GATED]
    height = ROW * (len(rows) + 2)
    title = f"model {evaluations[0].model[:16]}"
    drawn = [part for place, (found, metric) in enumerate(rows) for part in _bar(place, found, metric)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {METRICS_WIDTH} {height}" font-size="12">',
            f"<title>{escape(title)}</title>",
            f'<text x="8" y="16">{escape(title)}: measured, with 95 % intervals; red: what is demanded</text>',
            *drawn,
            "</svg>\n",
        ]
    )


def _line(metric: Metric, family: str, others: Mapping[str, Metric]) -> str:
    bar = "".join("█" if cell < metric.ppm * CELLS // MICRO else "░" for cell in range(CELLS))
    share = f"{metric.ppm / 10_000:6.2f} % ({metric.low_ppm / 10_000:.2f} to {metric.high_ppm / 10_000:.2f})"
    limit = demanded(family).get(metric.name)
    asked = f" {'<' if limit[1] else '≥'} {limit[0] / 10_000:g} % {verdict(metric, family)}" if limit else ""
    beside = "".join(f"; {what} {other.ppm / 10_000:.2f} %" for what, other in others.items())
    said = f"; {metric.detail}" if metric.detail else ""
    return f"{metric.name:<32} {bar} {share}{asked}, {metric.examples} examples{beside}{said}"


def _bar(place: int, found: Evaluated, metric: Metric) -> list[str]:
    top, middle = ROW * (place + 1), ROW * (place + 1) + ROW // 2
    inside = METRICS_WIDTH - LEFT - RIGHT

    def at(ppm: int) -> float:
        return LEFT + inside * ppm / MICRO

    limit, _ = demanded(found.family)[metric.name]
    colour = "orange" if verdict(metric, found.family) == "FAILS" else "steelblue"
    width = f"{at(metric.ppm) - LEFT:.1f}"
    named = escape(f"{metric.name} by {found.suite}")
    return [
        f'<text x="8" y="{middle + 4}">{named}</text>',
        f'<rect x="{LEFT}" y="{top + 6}" width="{width}" height="{ROW - 12}" fill="{colour}"/>',
        f'<path d="M{at(metric.low_ppm):.1f} {middle}H{at(metric.high_ppm):.1f}" stroke="black" stroke-width="2"/>',
        f'<path d="M{at(limit):.1f} {top + 2}V{top + ROW - 2}" stroke="red" stroke-width="2"/>',
        f'<text x="{METRICS_WIDTH - RIGHT + 6}" y="{middle + 4}">{metric.ppm / 10_000:.2f} %</text>',
    ]
