"""Where attention goes: what is handled low, what is escalated, and what that may cost."""

from __future__ import annotations

from typing import Literal

import msgspec

from shared.message import Decision, MessageId, Signal

Mode = Literal["IDLE", "ALERT", "FOCUSED", "REFLEX", "DIALOGUE", "OVERWHELMED", "SETTLE"]
Why = Literal["weight", "novel_input", "ambiguous_input", "contextual_anomaly", "asked"]


class AttentionChanged(Signal, subject="nervous.thalamus.attention", stream="transitions"):
    """What the organism attends to, from its open gates and its reflexes."""

    mode: Mode
    before: Mode
    open_gates: tuple[str, ...]
    balance_ulf: int
    beat: int  #: of 30 seconds
    at_ms: int


class Routed(Signal, subject="nervous.thalamus.routed.{domain}", stream="transitions"):
    """A verified signal is handled low: at tier 0, 1 or 2."""

    domain: str
    signal: MessageId
    tier: int
    why: Why
    cost_ulf: int
    at_ms: int


class Escalated(Decision, subject="nervous.thalamus.event.{mind}.escalated"):
    """An organ (tier 3), cognition (4) or a person (5) is woken for this, at this price (NIM-07)."""

    mind: str  #: whose budget pays
    tier: int
    why: Why
    domain: str
    signal: bytes  #: the id of what it is about; empty where somebody asked
    content: str
    cost_ulf: int
    balance_ulf: int  #: after it
    beat: int


class Withheld(Decision, subject="nervous.thalamus.event.{mind}.withheld"):
    """What should have been escalated was not, for the budget of this beat does not carry it."""

    mind: str
    tier: int
    why: Why
    domain: str
    signal: MessageId
    cost_ulf: int
    left_ulf: int  #: what that tier still had
    beat: int


class BeatClosed(Decision, subject="nervous.thalamus.event.{mind}.beat"):
    """The account of the beats since the last one: what they spent, by measurement, and earned, and the balance.

    What was held back as the price of escalations is released: what they really cost is in what was spent.
    """

    mind: str
    beat: int  #: the last that is over
    released_ulf: int
    spent_ulf: int
    earned_ulf: int
    balance_ulf: int
    escalations: int


class Observed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What something used since the last account, by measurement, and what one message of it has cost lately."""

    what: str  #: a part; or `tier 4`, the answers to escalations
    messages: int
    cpu_us: int
    energy_uj: int | None  #: None where the machine reports none
    moved_bytes: int
    elapsed_us: int
    cost_ulf: int
    mean_ulf: int  #: of one message
    spread_ulf: int  #: how far messages lie from that mean, on average
    observations: int  #: how many accounts the mean rests on


class CostsObserved(Decision, subject="nervous.thalamus.event.{mind}.observed"):
    """What each part cost since the last account; prices follow from it (NIM-10)."""

    mind: str
    beat: int
    costs: tuple[Observed, ...]


class Rested(Decision, subject="nervous.thalamus.event.{mind}.rested"):
    """There is no lifeforce, so that parts which may rest take nothing; or, not `resting`, there is some again."""

    mind: str
    resting: bool
    balance_ulf: int
    beat: int
