"""The gate nerve: `nervous.meaning.felt.{region}` in; transitions, verified signals and reflexes out."""

from __future__ import annotations

from nerves.gate.nerve import GateNerve as GateNerve
