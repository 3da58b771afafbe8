"""The motors organ: obeys commands by rank and number, stops at once for a reflex, and reports what evasions found."""

from __future__ import annotations

from organs.motors.authority import Authority as Authority
from organs.motors.authority import Motion as Motion
from organs.motors.drive import Drive as Drive
from organs.motors.organ import MotorsOrgan as MotorsOrgan
from organs.motors.port import BenchMotors as BenchMotors
from organs.motors.port import Motors as Motors
