"""The consensus nerve: proposals and ballots in, `governance.consensus.event.{proposal}` out."""

from __future__ import annotations

from nerves.consensus.nerve import ConsensusNerve as ConsensusNerve
