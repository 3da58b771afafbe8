"""The battery cell: a beat in, `nervous.cells.battery.wave` out."""

from cells.battery_cell.cell import BatteryCell as BatteryCell
