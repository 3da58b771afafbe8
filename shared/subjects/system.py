"""What every part says about itself: heartbeats, dead letters, the start-up handshake; and the steward's decisions."""

from __future__ import annotations

from typing import Literal

import msgspec

from shared.message import Decision, Reply, Request, Signal


class Heartbeat(Signal, subject="system.parts.heartbeat.{part}"):
    """A part is alive: its version, how much it did and what that cost since it started, by measurement (NIM-10)."""

    part: str
    version: str
    boot: str
    beat: int
    handled: int
    refused: int
    failed: int
    dropped: int
    cpu_us: int  #: its own, its threads' and its worker processes'
    energy_uj: int | None  #: its share of what the machine reports; None where the machine reports nothing
    received_bytes: int
    sent_bytes: int
    elapsed_us: int  #: how long it was at work on something
    spent_ulf: int  #: all of it in lifeforce
    resting: bool  #: it takes nothing, for there is no lifeforce


class LifeforceTold(Signal, subject="system.lifeforce.told", stream="transitions"):
    """Whether there is lifeforce; said again and again while there is none, and parts that may rest do (NIM-10)."""

    resting: bool
    balance_ulf: int
    beat: int
    at_ms: int


class Tick(Signal, subject="system.clock.tick.{part}"):
    """A beat of the part's own clock; silence arrives as a Tick. Never published: the runner makes it."""

    part: str
    boot: str
    beat: int
    now_ms: int


class DeadLetter(Signal, subject="system.dead.letter.{part}"):
    """A message nobody could use, with the reason; kept in a bounded stream until it is looked at or redriven."""

    part: str
    original: str  #: the subject it arrived on
    code: str
    detail: str
    data: bytes  #: the message's first bytes, whole if `whole`
    whole: bool
    headers: dict[str, str]


Phase = Literal["identity", "environment", "vocabulary", "connection", "attention"]
PHASES: tuple[Phase, ...] = ("identity", "environment", "vocabulary", "connection", "attention")


class HandshakeAck(Reply, subject="system.spark.handshake.ack"):
    """The steward's word on one phase: accepted, or the reason why not."""

    phase: str
    accepted: bool
    reason: str


class Handshake(Request, subject="system.spark.handshake.request", reply=HandshakeAck):
    """One phase of a part's start-up self-check (NIM-22); `claims` are what the phase asserts, by name."""

    phase: Phase
    part: str
    version: str
    boot: str
    claims: dict[str, str]


class Granted(Reply, subject="system.steward.grant.reply"):
    """The grant stands: the server knows the identity, the log knows the key, the consumers exist."""

    part: str
    index: int


class GrantRequest(Request, subject="system.steward.grant.request", reply=Granted):
    """Ask the steward to admit a part: what it publishes, hears and consumes, and with which keys it speaks."""

    part: str
    version: str
    owner: str
    nkey: str
    key_id: str
    public: bytes
    publish: list[str]
    subscribe: list[str]
    answers: bool
    grants: list[str]
    scored: list[str]
    consumers: dict[str, list[str]]  #: durable name → filters on the log
    traces: list[str]  #: the subjects of its own that are kept for seven days
    transitions: list[str]  #: and for a day
    endorsement: bytes = b""  #: where keys change: the part's current key signs for the new ones


class StreamsChanged(Decision, subject="system.steward.event.{scope}.streams"):
    """The steward is about to create a stream or a durable consumer; logged before it happens."""

    scope: str
    stream_name: str
    change: Literal["create", "consumer"]
    config: str  #: canonical JSON


class PartGranted(Decision, subject="system.steward.event.{scope}.granted"):
    """The steward is about to give a part its subjects on the server; logged before it happens."""

    scope: str
    part: str
    version: str
    publish: list[str]
    subscribe: list[str]


class Setting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One effective setting and where it came from."""

    name: str
    value: str
    origin: str


class Started(Decision, subject="system.steward.event.{scope}.started"):
    """The system was started with this effective configuration (COL-17); secrets are redacted."""

    scope: str
    boot: str
    version: str
    settings: list[Setting]


class Decided(Reply, subject="system.parts.decided.reply"):
    """A command was decided: the position of its event in the log, of an organ's several events that of the last.

    `proof` is pending until a checkpoint covers it.
    """

    subject_of_event: str
    id: str
    index: int
    offset: int
    duplicate: bool
    proof: str
