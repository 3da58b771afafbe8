"""The overload nerve: `nervous.cells.sensor.wave` in, `nervous.overload.event.{site}.assessed` out."""

from __future__ import annotations

from nerves.overload.nerve import OverloadNerve as OverloadNerve
