"""The energy cell: a beat in, `site.energy.reading.{site}` out."""

from __future__ import annotations

from cells.energy_cell.cell import EnergyCell as EnergyCell
