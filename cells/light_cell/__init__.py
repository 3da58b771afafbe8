"""The light cell: a beat in, `nervous.cells.light.wave` out."""

from __future__ import annotations

from cells.light_cell.cell import Light as Light
from cells.light_cell.cell import LightCell as LightCell
from cells.light_cell.cell import LightSensor as LightSensor
