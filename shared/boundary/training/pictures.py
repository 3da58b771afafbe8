"""A loss curve to look at: as an SVG file, and as one line of a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from shared.constant import constant

WIDTH = constant(640, "px", "NIM-14")
HEIGHT = constant(240, "px", "NIM-14")
MARGIN = constant(32, "px", "NIM-14")
BARS = "▁▂▃▄▅▆▇█"
MICRO = 1_000_000

Curve = Sequence[tuple[int, int]]


def sparkline(curve: Curve) -> str:
    """Return the losses as bars, the highest at full height."""
    highest = max((loss for _, loss in curve), default=0) or 1
    return "".join(BARS[min(max(loss, 0) * len(BARS) // highest, len(BARS) - 1)] for _, loss in curve)


def svg(curve: Curve, title: str) -> str:
    """Return the losses as an SVG drawing: steps to the right, loss upwards from zero."""
    last, highest = curve[-1][0], max(loss for _, loss in curve) or 1
    inner_width, inner_height = WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN
    points = " ".join(
        f"{MARGIN + step * inner_width / last:.1f},{HEIGHT - MARGIN - loss * inner_height / highest:.1f}"
        for step, loss in curve
    )
    said = f"{title}: loss {highest / MICRO:.3f} to {curve[-1][1] / MICRO:.4f}"
    bottom, right = HEIGHT - MARGIN, WIDTH - MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-size="12">',
            f"<title>{title}</title>",
            f'<path d="M{MARGIN} {MARGIN}V{bottom}H{right}" fill="none" stroke="grey"/>',
            f'<polyline points="{points}" fill="none" stroke="violet" stroke-width="2"/>',
            f'<text x="{MARGIN}" y="{MARGIN - 8}">{said}</text>',
            f'<text x="{right}" y="{HEIGHT - 10}" text-anchor="end">{last} steps</text>',
            "</svg>\n",
        ]
    )
