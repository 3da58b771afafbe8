"""What the gates say: when waves agree, when an action is due at once, and what became of it."""

from __future__ import annotations

from typing import Literal

import msgspec

from shared.constant import constant
from shared.message import Decision, MessageId, Reply, Request, Signal
from shared.subjects.system import Decided

REFLEX_PPM = constant(800_000, "ppm", "NIM-06")  # trust beyond which a gate acts at once

GateState = Literal["CLOSED", "STABLE", "OPEN"]
Outcome = Literal["confirmed", "failed", "partial"]


class Share(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One wave's share in a collapse."""

    source: str
    wave_id: MessageId
    taken_ms: int
    confidence_ppm: int
    similarity_ppm: int
    polarity: int


class GateTransition(Signal, subject="nervous.gate.transition.{domain}", stream="transitions"):
    """A gate went from one of its three states to another; kept for a day."""

    domain: str
    before: GateState
    after: GateState
    state_ppm: int  #: from -1,000,000 to 1,000,000
    aggregate_ppm: int  #: of the waves that agree, by noisy-OR over their sources
    against_ppm: int  #: the same of those that contradict them
    weight_ppm: int
    taken_ms: int
    shares: tuple[Share, ...]


class WavesCorrelated(Signal, subject="nervous.gate.correlation.{domain}"):
    """The waves that moved a gate, and how alike their meanings are, each with each, row by row."""

    domain: str
    result: Literal["opened", "closed", "stayed_stable"]
    first_ms: int
    last_ms: int
    shares: tuple[Share, ...]
    matrix_ppm: tuple[int, ...]  #: cosines, n x n
    aggregate_ppm: int


class ReflexActed(Signal, subject="nervous.gate.reflex.{domain}", urgent=True):
    """Act now: sent before it is logged, under a grant that the log holds. `wave_id` makes a repeat a repeat."""

    domain: str
    wave_id: MessageId
    confidence_ppm: int
    polarity: int
    direction_cdeg: int | None
    content: str
    taken_ms: int
    source: str


class SignalVerified(Decision, subject="nervous.gate.event.{domain}.verified"):
    """A gate of the virtual garden opened and hands what it knows to the real one, once (NIM-08)."""

    domain: str
    signal: MessageId  #: the id of the wave that opened it
    confidence_ppm: int  #: the collapse's aggregate
    summary: str
    weight_ppm: int  #: how much the gate is trusted
    node_ppm: int  #: and the most trusted of the sources that agree
    sources: tuple[str, ...]
    direction_cdeg: int | None
    ambiguous: bool  #: another region was nearly as near
    shares: tuple[Share, ...]
    at_ms: int


class ReflexGranted(Decision, subject="nervous.gate.event.{domain}.granted"):
    """A standing grant: from here on any wave of the domain is acted on at once; or, not `granted`, no longer."""

    domain: str
    granted: bool
    weight_ppm: int
    reason: str


class ReflexFired(Decision, subject="nervous.gate.event.{domain}.fired"):
    """A reflex acted; logged after the act."""

    domain: str
    wave_id: MessageId
    taken_ms: int
    acted_ms: int
    confidence_ppm: int
    source: str


class NodeChanged(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What became of a signal changed how much one of its sources is trusted."""

    source: str
    before_ppm: int
    after_ppm: int


class WeightChanged(Decision, subject="nervous.gate.event.{domain}.weighed"):
    """What became of a signal changed how much its gate is trusted, and its sources (NIM-06, NIM-08)."""

    domain: str
    signal: MessageId
    outcome: Outcome
    before_ppm: int
    after_ppm: int
    nodes: tuple[NodeChanged, ...]
    at_ms: int


class OutcomeRequest(Request, subject="nervous.outcome.report.request", reply=Decided):
    """Say what became of a verified signal or a reflex: what was expected, what was found, in the same unit."""

    domain: str
    signal: MessageId  #: the signal's own id, or the wave id of a reflex
    expected: int
    found: int
    tolerance: int  #: a difference up to this confirms; up to three times this is partial
    content: str


class OutcomeJudged(Decision, subject="nervous.outcome.event.{domain}.judged"):
    """What became of a signal: confirmed, failed or partial; gates learn from it."""

    domain: str
    signal: MessageId
    outcome: Outcome
    expected: int
    found: int
    discrepancy: int
    content: str
    reward_ulf: int


class GateReply(Reply, subject="nervous.gate.look.reply"):
    """How a gate stands."""

    domain: str
    state: GateState
    state_ppm: int
    weight_ppm: int
    reflex: bool
    waves: int


class GateRequest(Request, subject="nervous.gate.look.request", reply=GateReply):
    """Ask how a gate stands."""

    domain: str
