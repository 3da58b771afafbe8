"""Pictures of a site's power windows over time: lines for a terminal, and SVG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from itertools import pairwise

from shared.constant import constant
from shared.subjects.energy import WindowReason

COLUMNS = constant(72, "characters", "COL-06")
WIDTH, HEIGHT, BAND = 960, 240, 16  #: of the SVG's drawing, in its own units
MARGIN = 60
BARS = " ▁▂▃▄▅▆▇█"
#: reason: (its mark on a terminal, its colour, what it says)
MARKS: dict[WindowReason, tuple[str, str, str]] = {
    "OK": ("█", "#2a9d4b", "open"),
    "OFFPEAK_REQUIRED": ("▒", "#e9a23b", "waits for off-peak"),
    "GRID_CONSTRAINT": ("░", "#d00000", "grid constraint"),
    "NO_READING": (" ", "#bbbbbb", "no reading"),
    "POLICY_FAILED": ("!", "#7b2cbf", "policy failed"),
}


@dataclass(frozen=True, slots=True)
class Moment:
    """What was read at a moment, and what the window was then."""

    at_ms: int
    power_kw: int
    soc_ppm: int
    reason: WindowReason


def lines(moments: Sequence[Moment], limit_kw: int, zone: tzinfo) -> list[str]:
    """Return power, charge and window as three lines of characters, with the hours below; needs one moment."""
    buckets = [*_buckets(moments)]
    most_kw = max(limit_kw, *(moment.power_kw for moment in moments))
    powers = "".join(_bar(max((m.power_kw for m in bucket), default=None), most_kw) for bucket in buckets)
    charges = "".join(_bar(min((m.soc_ppm for m in bucket), default=None), 1_000_000) for bucket in buckets)
    marks = "".join(_worst(bucket) for bucket in buckets)
    first, last = (f"{_there(m.at_ms, zone):%a %H:%M}" for m in (moments[0], moments[-1]))
    shown = {moment.reason for moment in moments}
    legend = ", ".join(f"{mark} {words}" for reason, (mark, _, words) in MARKS.items() if reason in shown)
    return [
        f"power   {powers}  up to {max(m.power_kw for m in moments) / 1_000:.1f} of {limit_kw / 1_000:.0f} MW",
        f"charge  {charges}  down to {min(m.soc_ppm for m in moments) / 10_000:.0f} %",
        f"window  {marks}  {legend}",
        f"        {first}  to  {last}",
    ]


def svg(moments: Sequence[Moment], limit_kw: int, zone: tzinfo) -> str:
    """Return the same as an SVG document; needs one moment."""
    box = f"{-MARGIN} -20 {WIDTH + 2 * MARGIN} {HEIGHT + BAND + 60}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" font-family="sans-serif" font-size="12">'
    return "\n".join([head, *_shapes(moments, limit_kw, zone), "</svg>", ""])


def _shapes(moments: Sequence[Moment], limit_kw: int, zone: tzinfo) -> Iterator[str]:
    begins, span = moments[0].at_ms, max(moments[-1].at_ms - moments[0].at_ms, 1)
    most_kw = max(limit_kw, *(moment.power_kw for moment in moments))

    def x(at_ms: int) -> float:
        return round(WIDTH * (at_ms - begins) / span, 1)

    def y(value: int, most: int) -> float:
        return round(HEIGHT * (1 - value / max(most, 1)), 1)

    yield f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fdfdf8" stroke="#333"/>'
    for one, other in _turns(moments):
        wide = round(x(other.at_ms) - x(one.at_ms), 1)
        yield f'<rect x="{x(one.at_ms)}" y="{HEIGHT}" width="{wide}" height="{BAND}" fill="{MARKS[one.reason][1]}"/>'
    limit = y(limit_kw, most_kw)
    yield f'<path d="M0 {limit}H{WIDTH}" stroke="#d00000" stroke-dasharray="6 4"/>'
    yield f'<text x="{WIDTH + 4}" y="{limit + 4}">{limit_kw / 1_000:.0f} MW</text>'
    few = [*moments[:: max(len(moments) // (2 * WIDTH), 1)], moments[-1]]
    for colour, points in (
        ("#2a6f97", [(x(m.at_ms), y(m.power_kw, most_kw)) for m in few]),
        ("#8a5a00", [(x(m.at_ms), y(m.soc_ppm, 1_000_000)) for m in few]),
    ):
        way = " ".join(f"{a},{b}" for a, b in points)
        yield f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
    yield f'<text x="{-MARGIN + 4}" y="12" fill="#2a6f97">power</text>'
    yield f'<text x="{-MARGIN + 4}" y="28" fill="#8a5a00">charge</text>'
    for place, moment, anchor in ((0, moments[0], "start"), (WIDTH, moments[-1], "end")):
        when = f"{_there(moment.at_ms, zone):%Y-%m-%d %H:%M}"
        yield f'<text x="{place}" y="{HEIGHT + BAND + 16}" text-anchor="{anchor}">{when}</text>'
    shown = [MARKS[reason] for reason in MARKS if any(moment.reason == reason for moment in moments)]
    for n, (_, colour, words) in enumerate(shown):
        left = 180 + 160 * n
        yield f'<rect x="{left}" y="{HEIGHT + BAND + 6}" width="10" height="10" fill="{colour}"/>'
        yield f'<text x="{left + 14}" y="{HEIGHT + BAND + 16}">{words}</text>'


def _turns(moments: Sequence[Moment]) -> Iterator[tuple[Moment, Moment]]:
    """Yield where each window begins and ends."""
    turns = [moments[0], *(other for one, other in pairwise(moments) if one.reason != other.reason), moments[-1]]
    return pairwise(turns)


def _buckets(moments: Sequence[Moment]) -> Iterator[list[Moment]]:
    begins, span = moments[0].at_ms, max(moments[-1].at_ms - moments[0].at_ms, 1)
    columns = min(COLUMNS, len(moments))
    found: list[list[Moment]] = [[] for _ in range(columns)]
    for moment in moments:
        found[min((moment.at_ms - begins) * columns // span, columns - 1)].append(moment)
    return iter(found)


def _bar(value: int | None, most: int) -> str:
    return " " if value is None else BARS[min((len(BARS) - 1) * value // max(most, 1), len(BARS) - 1)]


def _worst(bucket: list[Moment]) -> str:
    """Return the mark of what was least open in a while."""
    reasons = {moment.reason for moment in bucket}
    return next((mark for reason, (mark, _, _) in reversed(MARKS.items()) if reason in reasons), " ")


def _there(at_ms: int, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(at_ms / 1_000, UTC).astimezone(zone)
