"""A gate's table as people see it: in the terminal and as a picture, every row with what was demanded and found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from rich.table import Table

from shared.subjects.registry import Judgement, Row

ROW, WIDE = 22, 720
COLUMNS = (0, 220, 420, 560)


def table(judgement: Judgement) -> Table:
    """Return the table of a judgement."""
    made = Table("row", "demanded", "found", "holds", "why not")
    for row in judgement.rows:
        style = "" if row.holds else "bold red"
        made.add_row(*_cells(row)[:3], "yes" if row.holds else "NO", row.reason, style=style)
    return made


def svg(judgement: Judgement, title: str) -> str:
    """Return the same as an SVG document."""
    tall = ROW * (len(judgement.rows) + 3)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-10 -10 {WIDE + 20} {tall}" font-family="sans-serif" '
    return "\n".join([head + 'font-size="13">', *_shapes(judgement.rows, title, judgement.allowed), "</svg>", ""])


def _shapes(rows: Sequence[Row], title: str, allowed: bool) -> Iterator[str]:  # noqa: FBT001 - as judged
    verdict = "allowed" if allowed else "blocked"
    yield f'<text x="0" y="14" font-weight="bold">{escape(title)}: {verdict}</text>'
    for n, row in enumerate(rows):
        top = ROW * (n + 1) + 4
        colour = "#e3f2e1" if row.holds else "#f8d7d7"
        yield f'<rect x="-4" y="{top}" width="{WIDE}" height="{ROW - 2}" fill="{colour}"/>'
        for left, text in zip(COLUMNS, _cells(row), strict=True):
            yield f'<text x="{left}" y="{top + 15}">{escape(text)}</text>'


def _cells(row: Row) -> tuple[str, str, str, str]:
    found = "nothing" if row.found is None else str(row.found)
    return row.name, row.demanded, found, row.reason or "holds"
