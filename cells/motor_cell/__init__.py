"""The motor cell: a beat in, `nervous.cells.motor.wave` out."""

from __future__ import annotations

from cells.motor_cell.cell import MotorCell as MotorCell
from cells.motor_cell.cell import MotorReading as MotorReading
from cells.motor_cell.cell import MotorSense as MotorSense
