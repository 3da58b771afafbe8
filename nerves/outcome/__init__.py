"""The outcome nerve: `nervous.outcome.report.request` in, `nervous.outcome.event.{domain}.judged` out."""

from __future__ import annotations

from nerves.outcome.nerve import OutcomeNerve as OutcomeNerve
