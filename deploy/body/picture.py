"""Pictures of an arena and of the way a body took: for a terminal, and as SVG."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.body.arena import Arena
from deploy.body.layout import BODY_MM, DOCK_MM, Disc
from shared.constant import constant

COLUMN_MM = constant(60, "mm", "NIM-13")
ROW_MM = constant(120, "mm", "NIM-13")
LEGEND = "o obstacle, g glass, D dock, S start, . way, X collision, @ body"


def ascii_map(arena: Arena) -> str:
    """Return the arena as lines of text, a column for 6 cm and a row for 12 cm."""
    layout = arena.layout
    columns, rows = layout.width_mm // COLUMN_MM + 1, layout.depth_mm // ROW_MM + 1
    picture = [[_ground(arena, column, row) for column in range(columns)] for row in range(rows)]
    marks = [*((place, ".") for place in arena.track), (layout.start, "S"), *((place, "X") for place in arena.bumps)]
    for (x, y), mark in [*marks, (arena.position, "@")]:
        picture[min(max(y // ROW_MM, 0), rows - 1)][min(max(x // COLUMN_MM, 0), columns - 1)] = mark
    edge = "+" + "-" * columns + "+"
    return "\n".join([edge, *("|" + "".join(line) + "|" for line in picture), edge, LEGEND])


def _ground(arena: Arena, column: int, row: int) -> str:
    x, y = column * COLUMN_MM + COLUMN_MM // 2, row * ROW_MM + ROW_MM // 2
    for disc in arena.discs:
        if (disc.x_mm - x) ** 2 + (disc.y_mm - y) ** 2 <= max(disc.radius_mm, COLUMN_MM // 2) ** 2 and disc.radius_mm:
            return "g" if disc.glass else "o"
    dock_x, dock_y = arena.layout.dock
    return "D" if (dock_x - x) ** 2 + (dock_y - y) ** 2 <= DOCK_MM**2 else " "


def svg(arena: Arena) -> str:
    """Return the arena as an SVG document, one unit a millimetre."""
    width, depth = arena.layout.width_mm, arena.layout.depth_mm
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-20 -20 {width + 40} {depth + 40}" width="{width // 4}">'
    return "\n".join([head, *_shapes(arena), "</svg>", ""])


def _shapes(arena: Arena) -> Iterator[str]:
    layout, (x, y) = arena.layout, arena.position
    yield f'<rect width="{layout.width_mm}" height="{layout.depth_mm}" fill="#fdfdf8" stroke="#333" stroke-width="20"/>'
    yield f'<circle cx="{layout.dock[0]}" cy="{layout.dock[1]}" r="{DOCK_MM}" fill="#ffe9a8"/>'
    yield from (_disc(disc) for disc in arena.discs if disc.radius_mm)
    way = " ".join(f"{a},{b}" for a, b in [*arena.track, (x, y)])
    yield f'<polyline points="{way}" fill="none" stroke="#2a6f97" stroke-width="8"/>'
    yield f'<circle cx="{layout.start[0]}" cy="{layout.start[1]}" r="20" fill="#2a9d4b"/>'
    yield from (f'<circle cx="{a}" cy="{b}" r="26" fill="#d00000"/>' for a, b in arena.bumps)
    yield f'<circle cx="{x}" cy="{y}" r="{BODY_MM}" fill="#2a6f97" fill-opacity="0.6"/>'


def _disc(disc: Disc) -> str:
    fill = 'fill="#9bd3e6" fill-opacity="0.5"' if disc.glass else 'fill="#8d8d8d"'
    return f'<circle cx="{disc.x_mm}" cy="{disc.y_mm}" r="{disc.radius_mm}" {fill}/>'
