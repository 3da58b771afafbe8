"""The thalamus nerve: decides how high each verified signal climbs, within what the beat can pay."""

from __future__ import annotations

from typing import ClassVar, TypeAlias

import msgspec

from nerves.thalamus.account import ACCOUNT_MS, START_ULF, added, allowed, closed
from nerves.thalamus.attention import mode_of
from nerves.thalamus.routes import ORGANS, Route, route
from shared.constant import constant
from shared.part import Nerve
from shared.subjects.gates import GateTransition, Outcome, OutcomeJudged, ReflexActed, SignalVerified
from shared.subjects.system import Heartbeat, Tick
from shared.subjects.thalamus import AttentionChanged, BeatClosed, Escalated, Mode, Routed, Withheld

MIND = constant("nyx", "identity", "NIM-15")
RECENT = constant(32, "outcomes", "X-12")
PARTS = constant(64, "parts", "X-12")
GATES = constant(64, "gates", "X-12")
QUIET_BEATS = constant(20, "beats", "NIM-10")

Hears: TypeAlias = SignalVerified | OutcomeJudged | GateTransition | ReflexActed | Heartbeat | Tick
Says: TypeAlias = Routed | Escalated | Withheld | BeatClosed | AttentionChanged


class Account(msgspec.Struct, frozen=True):
    """What there is to spend; the fold of its own decisions."""

    balance_ulf: int = START_ULF
    beat: int = 0  #: the last that was closed


class Spent(msgspec.Struct, frozen=True, array_like=True):
    """What a part had spent in all when its heart last beat."""

    part: str
    boot: str
    spent_ulf: int


class Attention(msgspec.Struct, frozen=True):
    """What it attends to, and what this beat saw so far; lost in a crash."""

    mode: Mode = "IDLE"
    open_gates: tuple[str, ...] = ()
    escalated: tuple[str, ...] = ()  #: the open gates whose signal woke somebody
    reflex_ms: int | None = None
    closed_ms: int | None = None
    recent: tuple[tuple[str, Outcome], ...] = ()
    parts: tuple[Spent, ...] = ()
    spent_ulf: int = 0
    earned_ulf: int = 0
    escalations: int = 0


class ThalamusNerve(Nerve[Account, Attention]):
    """Verified signals in; Routed for what stays low, Escalated or Withheld for what climbs, and each beat's sum."""

    name: ClassVar[str] = "thalamus"
    version: ClassVar[str] = "1.0.0"
    cost_ulf: ClassVar[int] = constant(500_000, "micro-lifeforce", "NIM-10")

    def entity(self, message: Hears) -> str | None:
        return None if isinstance(message, Tick) else MIND

    def evolve(self, state: Account, decision: Escalated | Withheld | BeatClosed) -> Account:
        match decision:
            case Escalated():
                return msgspec.structs.replace(state, balance_ulf=decision.balance_ulf)
            case BeatClosed():
                return Account(decision.balance_ulf, decision.beat)
            case Withheld():
                return state

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
            case Heartbeat():
                window = _measured(window, message)
            case Tick():
                window = _beat(state, window, now_ms, said)
        return _attend(state, window, now_ms, said), said


def _climb(state: Account, window: Attention, signal: SignalVerified, now_ms: int, said: list[Says]) -> Attention:
    """Route one signal: low it is only said, high it is decided, and only within the budget."""
    outcomes: list[Outcome] = [outcome for domain, outcome in window.recent if domain == signal.domain]
    way = route(signal, outcomes)
    if way.tier < ORGANS:
        said.append(Routed(signal.domain, signal.signal, way.tier, way.why, way.cost_ulf, now_ms))
        return msgspec.structs.replace(window, spent_ulf=added(window.spent_ulf, way.cost_ulf))
    left = allowed(state.balance_ulf - window.spent_ulf, way.tier)
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


def _measured(window: Attention, heart: Heartbeat) -> Attention:
    """Add what a part spent since its last heartbeat, by measurement; the first of a start only sets the mark."""
    known = {spent.part: spent for spent in window.parts}
    before = known.get(heart.part)
    same = before is not None and before.boot == heart.boot
    more = max(heart.spent_ulf - before.spent_ulf, 0) if same and before is not None else 0
    known[heart.part] = Spent(heart.part, heart.boot, heart.spent_ulf)
    parts = tuple(known[name] for name in sorted(known))[:PARTS]
    return msgspec.structs.replace(window, parts=parts, spent_ulf=added(window.spent_ulf, more))


def _beat(state: Account, window: Attention, now_ms: int, said: list[Says]) -> Attention:
    """Close the beats that are over. One in which nothing was woken or earned waits for its twentieth."""
    beat = now_ms // ACCOUNT_MS - 1  #: the last that is over
    beats = beat - state.beat if state.beat else 1
    stirred = window.escalations > 0 or window.earned_ulf != 0
    if beats < 1 or (state.beat and not stirred and beats < QUIET_BEATS):
        return window
    balance = closed(state.balance_ulf, window.spent_ulf, window.earned_ulf, beats)
    said.append(BeatClosed(MIND, beat, window.spent_ulf, window.earned_ulf, balance, window.escalations))
    return msgspec.structs.replace(window, spent_ulf=0, earned_ulf=0, escalations=0)


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
