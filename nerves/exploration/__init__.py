"""The exploration nerve: distance waves in, `nervous.exploration.event.{site}.decided` and commands out."""

from __future__ import annotations

from nerves.exploration.nerve import ExplorationNerve as ExplorationNerve
