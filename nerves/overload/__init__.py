"""The overload nerve: `nervous.cells.sensor.wave` in, `nervous.overload.event.{site}.assessed` out."""

from nerves.overload.nerve import OverloadNerve as OverloadNerve
