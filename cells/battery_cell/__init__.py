"""The battery cell: a beat in, `nervous.cells.battery.wave` out."""

from __future__ import annotations

from cells.battery_cell.cell import BatteryCell as BatteryCell
