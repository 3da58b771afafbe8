"""The math cell: `nervous.cells.math.request` in, `.response` and `.wave` out."""

from __future__ import annotations

from cells.math_cell.cell import MathCell as MathCell
