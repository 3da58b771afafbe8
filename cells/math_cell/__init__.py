"""The math cell: `nervous.cells.math.request` in, `.response` and `.wave` out."""

from cells.math_cell.cell import MathCell as MathCell
