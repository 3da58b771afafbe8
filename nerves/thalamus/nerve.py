"""The thalamus nerve: decides how high each verified signal climbs, within what the beat can pay."""

from __future__ import annotations

from typing import ClassVar, TypeAlias

import msgspec

from nerves.thalamus.account import ACCOUNT_MS, Account, added, allowed, closed, due, evolved, rests
from nerves.thalamus.attention import mode_of
from nerves.thalamus.costs import Heart, cost_of, heard, observed, prices, settled
from nerves.thalamus.routes import ORGANS, Route, route
from shared.constant import constant
from shared.part import Nerve
from shared.subjects.cognition import Answered
from shared.subjects.gates import GateTransition, Outcome, OutcomeJudged, ReflexActed, SignalVerified
from shared.subjects.system import Heartbeat, LifeforceTold, Tick
from shared.subjects.thalamus import (
    AttentionChanged,
    BeatClosed,
    CostsObserved,
    Escalated,
    Mode,
    Rested,
    Routed,
    Withheld,
)

MIND = constant("nyx", "identity", "NIM-15")
RECENT = constant(32, "outcomes", "X-12")
ANSWERED = constant(64, "answers", "X-12")
TELL_MS = constant(5_000, "ms", "NIM-10")
GATES = constant(64, "gates", "X-12")
QUIET_BEATS = constant(20, "beats", "NIM-10")

Hears: TypeAlias = SignalVerified | OutcomeJudged | GateTransition | ReflexActed | Answered | Heartbeat | Tick
Says: TypeAlias = Routed | Escalated | Withheld | BeatClosed | CostsObserved | Rested | AttentionChanged | LifeforceTold


class Attention(msgspec.Struct, frozen=True):
    """What it attends to, and what this beat saw so far; lost in a crash."""

    mode: Mode = "IDLE"
    open_gates: tuple[str, ...] = ()
    escalated: tuple[str, ...] = ()  #: the open gates whose signal woke somebody
    reflex_ms: int | None = None
    closed_ms: int | None = None
    recent: tuple[tuple[str, Outcome], ...] = ()
    hearts: tuple[Heart, ...] = ()
    answers: tuple[int, ...] = ()  #: what each answer to an escalation cost since the last account
    told_ms: int = 0  #: when it last said that there is no lifeforce
    spent_ulf: int = 0
    earned_ulf: int = 0
    escalations: int = 0


class ThalamusNerve(Nerve[Account, Attention]):
    """Verified signals in; Routed for what stays low, Escalated or Withheld for what climbs, and accounts of beats."""

    name: ClassVar[str] = "thalamus"
    version: ClassVar[str] = "1.1.0"
    cost_ulf: ClassVar[int] = constant(500_000, "micro-lifeforce", "NIM-10")

    def entity(self, message: Hears) -> str | None:
        return None if isinstance(message, Tick) else MIND

    def evolve(self, state: Account, decision: Escalated | Withheld | BeatClosed | CostsObserved | Rested) -> Account:
        return state if isinstance(decision, Withheld) else evolved(state, decision)

    def decide(self, state: Account, window: Attention, message: Hears, now_ms: int) -> tuple[Attention, list[Says]]:
        said: list[Says] = []
        match message:
            case SignalVerified():
                window = _climb(state, window, message, now_ms, said)
            case OutcomeJudged():
                recent = (*window.recent, (message.domain, message.outcome))[-RECENT:]
                earned = added(window.earned_ulf, message.reward_ulf)
                window = msgspec.structs.replace(window, recent=recent, earned_ulf=earned)
            case GateTransition():
                window = _gate(window, message, now_ms)
            case ReflexActed():
                window = msgspec.structs.replace(window, reflex_ms=now_ms)
            case Answered():
                if message.asked_by == "escalation":
                    answers = (*window.answers, cost_of(message))[-ANSWERED:]
                    window = msgspec.structs.replace(window, answers=answers)
            case Heartbeat():
                hearts, more = heard(window.hearts, message)
                spent = added(window.spent_ulf, more)
                window = msgspec.structs.replace(window, hearts=hearts, spent_ulf=spent)
            case Tick():
                window = _beat(state, window, now_ms, said)
        return _attend(state, window, now_ms, said), said


def _climb(state: Account, window: Attention, signal: SignalVerified, now_ms: int, said: list[Says]) -> Attention:
    """Route one signal: low it is only said, high it is decided, and only within the budget."""
    outcomes: list[Outcome] = [outcome for domain, outcome in window.recent if domain == signal.domain]
    way = route(signal, outcomes, prices(state.profiles))
    if way.tier < ORGANS:
        said.append(Routed(signal.domain, signal.signal, way.tier, way.why, way.cost_ulf, now_ms))
        return window  # what it really costs is measured
    left = allowed(state, window.spent_ulf, way.tier, now_ms // ACCOUNT_MS)
    if way.cost_ulf > left:
        said.append(_withheld(way, signal, left, now_ms))
        return window
    said.append(
        Escalated(
            MIND,
            way.tier,
            way.why,
            signal.domain,
            signal.signal,
            signal.summary,
            way.cost_ulf,
            state.balance_ulf - way.cost_ulf,
            now_ms // ACCOUNT_MS,
        )
    )
    escalated = tuple(sorted({*window.escalated, signal.domain}))[-GATES:]
    return msgspec.structs.replace(window, escalated=escalated, escalations=window.escalations + 1)


def _withheld(way: Route, signal: SignalVerified, left_ulf: int, now_ms: int) -> Withheld:
    return Withheld(MIND, way.tier, way.why, signal.domain, signal.signal, way.cost_ulf, left_ulf, now_ms // ACCOUNT_MS)


def _gate(window: Attention, gate: GateTransition, now_ms: int) -> Attention:
    opened = {*window.open_gates, gate.domain} if gate.after == "OPEN" else {*window.open_gates} - {gate.domain}
    kept = tuple(sorted(opened))[:GATES]
    escalated = tuple(domain for domain in window.escalated if domain in opened)
    closed_ms = now_ms if window.open_gates and not kept else window.closed_ms
    return msgspec.structs.replace(window, open_gates=kept, escalated=escalated, closed_ms=closed_ms)


def _beat(state: Account, window: Attention, now_ms: int, said: list[Says]) -> Attention:
    """Close the beats that are over, quiet ones twenty at a time, and say where that leaves no lifeforce."""
    beat = now_ms // ACCOUNT_MS - 1  #: the last that is over
    beats = beat - state.beat if state.beat else 1
    spent, earned, resting = window.spent_ulf, window.earned_ulf, state.resting
    starving = resting or due(state, spent, earned, beats) <= 0
    stirred = window.escalations > 0 or state.held_ulf > 0 or earned != 0 or starving
    if beats >= 1 and (not state.beat or stirred or beats >= QUIET_BEATS):
        balance = closed(state, spent, earned, beats)
        said.append(BeatClosed(MIND, beat, state.held_ulf, spent, earned, balance, window.escalations))
        costs = observed(window.hearts, window.answers, state.profiles)
        if costs:
            said.append(CostsObserved(MIND, beat, costs))
        resting = rests(state, balance)
        if resting != state.resting:
            said.append(Rested(MIND, resting, balance, beat))
        hearts = settled(window.hearts)
        window = msgspec.structs.replace(window, spent_ulf=0, earned_ulf=0, escalations=0, hearts=hearts, answers=())
        state = msgspec.structs.replace(state, balance_ulf=balance)
    return _tell(state, window, now_ms, said, resting=resting)


def _tell(state: Account, window: Attention, now_ms: int, said: list[Says], *, resting: bool) -> Attention:
    """Say that there is no lifeforce every five seconds, and once that there is some again."""
    if not (resting and now_ms >= window.told_ms + TELL_MS) and (resting or not window.told_ms):
        return window
    said.append(LifeforceTold(resting, state.balance_ulf, now_ms // ACCOUNT_MS, now_ms))
    return msgspec.structs.replace(window, told_ms=now_ms if resting else 0)


def _attend(state: Account, window: Attention, now_ms: int, said: list[Says]) -> Attention:
    """Say what is attended to where that changed."""
    mode = mode_of(
        window.open_gates,
        escalated=bool(window.escalated),
        reflex_ms=None if window.reflex_ms is None else now_ms - window.reflex_ms,
        quiet_ms=None if window.closed_ms is None else now_ms - window.closed_ms,
    )
    if mode == window.mode:
        return window
    balance = state.balance_ulf - window.spent_ulf
    said.append(AttentionChanged(mode, window.mode, window.open_gates, balance, now_ms // ACCOUNT_MS, now_ms))
    return msgspec.structs.replace(window, mode=mode)


__all__ = ["MIND", "Account", "Attention", "ThalamusNerve"]
