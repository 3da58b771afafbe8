"""`decision_trails`: what became of each signal and reflex, from the wave to the outcome (the seed's own table).

`beats`: what each beat of 30 seconds spent and earned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from organs.records.view import Change, Column, Table, Value, View
from shared.codec import decode
from shared.constant import constant
from shared.envelope import Verdict
from shared.envelope.envelope import parse_rfc3339
from shared.message import Message, lookup
from shared.subjects.cognition import Answered, Unavailable
from shared.subjects.gates import OutcomeJudged, ReflexFired, SignalVerified, WeightChanged
from shared.subjects.thalamus import BeatClosed, Escalated

TRAILS = Table(
    "decision_trails",
    ("domain", "signal"),
    (
        Column("domain", "text", "the region of meaning that it is about"),
        Column("signal", "text", "the id of the wave that opened the gate, hexadecimal"),
        Column("first_index", "bigint", "the index of its first entry", merge="first"),
        Column("last_index", "bigint", "the index of its last entry"),
        Column("mind", "text", "whose budget paid; empty: it was handled low", optional=True, merge="first"),
        Column("mode", "text", "deliberate, or reflex", merge="first"),
        Column("states_visited", "text[]", "what it went through, in order", merge="append"),
        Column("cells_read", "text[]", "the sources of the waves it rests on", merge="append"),
        Column("cells_commanded", "text[]", "where commands went", merge="append"),
        Column("feedback", "text[]", "what was said of its outcome", merge="append"),
        Column("outcome", "text", "confirmed, failed or partial; empty: not known yet", optional=True, merge="first"),
        Column("expected", "bigint", "what was expected, in the outcome's unit", optional=True, merge="first"),
        Column("found", "bigint", "what was found, in the same unit", optional=True, merge="first"),
        Column("lifeforce_cost_ulf", "bigint", "what was charged for it", merge="add"),
        Column("lifeforce_reward_ulf", "bigint", "what it earned", merge="add"),
        Column(
            "lifeforce_net_ulf",
            "bigint",
            "reward less cost",
            difference=("lifeforce_reward_ulf", "lifeforce_cost_ulf"),
        ),
        Column("measured_ulf", "bigint", "what answering it cost by measurement", merge="add"),
        Column("weight_before_ppm", "bigint", "its gate's weight before the outcome", optional=True, merge="first"),
        Column("weight_after_ppm", "bigint", "its gate's weight after it", optional=True, merge="first"),
        Column("started_ms", "bigint", "when its first wave was felt", optional=True, merge="first"),
        Column("completed_ms", "bigint", "when its outcome was judged", optional=True, merge="first"),
        Column(
            "latency_ms",
            "bigint",
            "from the first wave to the outcome",
            optional=True,
            difference=("completed_ms", "started_ms"),
        ),
    ),
    "what became of each signal and reflex",
    lookups=("signal",),
)

BEATS = Table(
    "beats",
    ("mind", "beat"),
    (
        Column("mind", "text", "whose budget it is"),
        Column("beat", "bigint", "the beat of 30 seconds"),
        Column("closed_index", "bigint", "the index of its account"),
        Column("spent_ulf", "bigint", "what was spent, by measurement"),
        Column("earned_ulf", "bigint", "what was earned"),
        Column("net_ulf", "bigint", "earned less spent", difference=("earned_ulf", "spent_ulf")),
        Column("balance_ulf", "bigint", "what was left"),
        Column("escalations", "bigint", "how often something higher was woken"),
    ),
    "the account of every beat",
)

MOST = constant(1_125_899_906_842_624, "of any unit", "X-12")  # 2 to the 50th: eight thousand of them are a bigint

Told = dict[str, Value]  #: what a decision says of a trail, beside whose it is
_NOTHING: Told = {
    "mode": "deliberate",
    "states_visited": (),
    "cells_read": (),
    "cells_commanded": (),
    "feedback": (),
    "lifeforce_cost_ulf": 0,
    "lifeforce_reward_ulf": 0,
    "measured_ulf": 0,
}


def project(verdict: Verdict) -> Iterator[Change]:
    """Fold what gates, the thalamus, cognition and outcomes decided about one signal into its trail."""
    cls, index = lookup(verdict.entry.subject), verdict.entry.index
    told = _TOLD.get(cast("type[Message]", cls))
    if verdict.sealed is None or (told is None and cls is not BeatClosed):
        return
    written_ms = parse_rfc3339(verdict.sealed.attributes.time)
    for _, event in verdict.admitted():
        said: Any = decode(cast("type[Message]", cls), bytes(event.data))
        if told is None:
            yield BEATS.put(**bounded(_account(said)), closed_index=index)
        elif signal := _signal_of(said):
            whose: Told = {"domain": said.domain, "signal": signal.hex(), "first_index": index, "last_index": index}
            yield TRAILS.put(**_NOTHING | whose | bounded(told(said, written_ms)))


VIEW = View("trails", 1, (TRAILS, BEATS), project)


def bounded(told: Told) -> Told:
    """Return what is told with every number within MOST: what is summed and subtracted stays a number of SQL."""
    return {name: max(-MOST, min(MOST, v)) if type(v) is int else v for name, v in told.items()}


def _account(said: BeatClosed) -> Told:
    return {
        "mind": said.mind,
        "beat": said.beat,
        "spent_ulf": said.spent_ulf,
        "earned_ulf": said.earned_ulf,
        "balance_ulf": said.balance_ulf,
        "escalations": said.escalations,
    }


def _signal_of(said: SignalVerified | Escalated | OutcomeJudged | ReflexFired) -> bytes:
    return said.wave_id if isinstance(said, ReflexFired) else said.signal


def _verified(said: SignalVerified, written_ms: int) -> Told:
    first_ms = min((share.taken_ms for share in said.shares), default=written_ms)
    return {"states_visited": ("verified",), "cells_read": tuple(said.sources), "started_ms": first_ms}


def _fired(said: ReflexFired, _written_ms: int) -> Told:
    command = f"nervous.gate.reflex.{said.domain}"
    return {
        "mode": "reflex",
        "states_visited": ("reflex",),
        "cells_commanded": (command,),
        "started_ms": said.taken_ms,
    }


def _escalated(said: Escalated, _written_ms: int) -> Told:
    return {
        "mind": said.mind,
        "states_visited": (f"escalated to tier {said.tier}: {said.why}",),
        "lifeforce_cost_ulf": said.cost_ulf,
    }


def _answered(said: Answered, _written_ms: int) -> Told:
    return {"states_visited": (f"answered: {said.decision}",), "measured_ulf": said.cost_ulf}


def _unavailable(said: Unavailable, _written_ms: int) -> Told:
    return {"states_visited": (f"unavailable: {said.code}",), "measured_ulf": said.cost_ulf}


def _judged(said: OutcomeJudged, written_ms: int) -> Told:
    return {
        "states_visited": (f"judged: {said.outcome}",),
        "feedback": (said.content,),
        "outcome": said.outcome,
        "expected": said.expected,
        "found": said.found,
        "lifeforce_reward_ulf": said.reward_ulf,
        "completed_ms": written_ms,
    }


def _weighed(said: WeightChanged, _written_ms: int) -> Told:
    weights: Told = {"weight_before_ppm": said.before_ppm, "weight_after_ppm": said.after_ppm}
    return {"states_visited": ("weighed",), **weights}


_TOLD: Mapping[type[Message], Callable[[Any, int], Told]] = {
    SignalVerified: _verified,
    ReflexFired: _fired,
    Escalated: _escalated,
    Answered: _answered,
    Unavailable: _unavailable,
    OutcomeJudged: _judged,
    WeightChanged: _weighed,
}
