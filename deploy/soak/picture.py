"""A soak as an SVG drawing: what each process held, what was acknowledged, and when what struck."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from deploy.soak.judge import MIB
from deploy.soak.outcome import Outcome
from deploy.soak.samples import JUDGED_SHARE
from shared.constant import constant

SOAK_WIDTH = constant(900, "px", "X-07")
PANEL = constant(180, "px", "X-07")
SOAK_LEFT = constant(60, "px", "X-07")
SOAK_RIGHT = constant(170, "px", "X-07")
GAP = constant(34, "px", "X-07")
INK = ("#2a6f97", "#d00000", "#2a9d4b", "#e08e00", "#7b2cbf", "#00838f", "#8d5524", "#555555", "#c2185b", "#4361ee")

Points = Sequence[tuple[float, float]]


def svg(out: Outcome) -> str:
    """Return the drawing: three panels over one axis of time; grey: the strikes, shaded: where growth is judged."""
    samples = out.samples.of
    panels: list[tuple[str, dict[str, Points]]] = [
        ("memory, MiB", {name: [(s.at_s, s.memory_bytes / MIB) for s in taken] for name, taken in samples.items()}),
        ("open files", {name: [(s.at_s, s.handles) for s in taken] for name, taken in samples.items()}),
        ("acknowledged appends", {"writers": out.acknowledged}),
    ]
    height = len(panels) * (PANEL + GAP) + GAP
    title = f"soak of seed {out.seed}: {out.seconds:.0f} s; {out.summary}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SOAK_WIDTH} {height}" font-size="11">'
    drawn = [line for row, (name, curves) in enumerate(panels) for line in _panel(out, row, name, curves)]
    named = f'<text x="{SOAK_LEFT}" y="14">{escape(title)}</text>'
    return "\n".join([head, f"<title>{escape(title)}</title>", named, *drawn, "</svg>\n"])


def _panel(out: Outcome, row: int, name: str, curves: dict[str, Points]) -> Iterator[str]:
    top = GAP + row * (PANEL + GAP)
    inside, end_s = SOAK_WIDTH - SOAK_LEFT - SOAK_RIGHT, max(out.seconds, 1.0)
    most = max((value for points in curves.values() for _, value in points), default=0) or 1

    def x(at_s: float) -> float:
        return SOAK_LEFT + inside * min(at_s / end_s, 1)

    def y(value: float) -> float:
        return top + PANEL * (1 - value / most)

    judged = x(end_s * (1 - JUDGED_SHARE))
    yield f'<rect x="{judged:.1f}" y="{top}" width="{x(end_s) - judged:.1f}" height="{PANEL}" fill="#f0f0e8"/>'
    yield f'<path d="M{SOAK_LEFT} {top}V{top + PANEL}H{x(end_s):.1f}" fill="none" stroke="grey"/>'
    yield f'<text x="{SOAK_LEFT - 6}" y="{top + 10}" text-anchor="end">{most:.0f}</text>'
    yield f'<text x="{SOAK_LEFT - 6}" y="{top + PANEL}" text-anchor="end">0</text>'
    yield f'<text x="{SOAK_LEFT + 4}" y="{top - 4}">{escape(name)}</text>'
    yield f'<text x="{x(end_s):.1f}" y="{top + PANEL + 12}" text-anchor="end">{end_s:.0f} s</text>'
    for one in out.struck:
        what = escape(f"{one.at_s} s: {one.what}")
        line = f'<path d="M{x(one.at_s):.1f} {top}V{top + PANEL}" stroke="#bbb"/>'
        yield f"<g><title>{what}</title>{line}</g>"
    for place, (curve, points) in enumerate(sorted(curves.items())):
        ink = INK[place % len(INK)]
        drawn = " ".join(f"{x(at_s):.1f},{y(value):.1f}" for at_s, value in points)
        yield f'<polyline points="{drawn}" fill="none" stroke="{ink}" stroke-width="1.5"/>'
        yield f'<text x="{SOAK_WIDTH - SOAK_RIGHT + 8}" y="{top + 12 + 14 * place}" fill="{ink}">{escape(curve)}</text>'
