"""The energy nerve: readings of a site's meters in, `site.energy.event.{site}.window` out."""

from __future__ import annotations

from nerves.energy.nerve import EnergyNerve as EnergyNerve
