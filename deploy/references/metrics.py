"""The page `docs/metrics.md`: what a part tells Prometheus."""

from __future__ import annotations

from deploy.load import BUILT_IN, ON_REQUEST, find_part
from deploy.references.page import page, table
from shared.part.metrics import METRICS, Declared


def every_metric() -> list[Declared]:
    """Return what every part tells, and then what some parts alone do."""
    return [*METRICS, *(metric for name in (*BUILT_IN, *ON_REQUEST) for metric in find_part(name).metrics)]


def render() -> str:
    """Return `docs/metrics.md`."""
    rows = [
        (f"`{m.name}`", m.kind, ", ".join(f"`{label}`" for label in m.labels), m.help, m.row) for m in every_metric()
    ]
    about = (
        "Read on demand from the counters that each runner and bus keep; a restart begins at zero. Served on 127.0.0.1."
    )
    return page("Metrics", about, table(("metric", "kind", "labels", "meaning", "row"), rows))
