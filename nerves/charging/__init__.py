"""The charging nerve: battery, light and distance in, `nervous.charging.event.{site}.decided` and commands out."""

from __future__ import annotations

from nerves.charging.nerve import ChargingNerve as ChargingNerve
