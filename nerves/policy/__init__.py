"""The policy nerve: drafts, moves and checks of added policies in, `governance.policy.event.{policy}` out."""

from __future__ import annotations

from nerves.policy.nerve import PolicyNerve as PolicyNerve
