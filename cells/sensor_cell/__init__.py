"""The sensor cell: a beat in, `nervous.cells.sensor.wave` out."""

from __future__ import annotations

from cells.sensor_cell.cell import SensorCell as SensorCell
