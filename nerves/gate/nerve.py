"""The gate nerve: opens a region's gate when several sources agree, acts by reflex where trust was earned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, TypeAlias

import msgspec

from nerves.gate.dynamics import REFRACTORY_MS, WINDOW_MS, Collapse, collapse, label, pushed
from nerves.gate.nodes import HandedOn, Node, after, best, changes, voices
from nerves.gate.weights import faded, learned, seed_of
from nerves.gate.window import SUMMARY_CHARS, Heard, Window, cosines_ppm
from shared.constant import constant
from shared.errors import Refusal
from shared.part import Nerve
from shared.subjects.gates import (
    REFLEX_PPM,
    GateReply,
    GateRequest,
    GateState,
    GateTransition,
    OutcomeJudged,
    ReflexActed,
    ReflexFired,
    ReflexGranted,
    SignalVerified,
    WavesCorrelated,
    WeightChanged,
)
from shared.subjects.meaning import WaveFelt
from shared.subjects.system import Tick

REFLEX_REST_MS = constant(100, "ms", "NIM-06")
UNRESOLVED = constant(64, "signals", "X-12")

_RESULTS = {"OPEN": "opened", "CLOSED": "closed", "STABLE": "stayed_stable"}

Says: TypeAlias = (
    GateTransition
    | WavesCorrelated
    | ReflexActed
    | SignalVerified
    | ReflexGranted
    | ReflexFired
    | WeightChanged
    | GateReply
)


class GateTrust(msgspec.Struct, frozen=True):
    """What a gate earned; the fold of its own decisions."""

    weight_ppm: int | None = None  #: None while nothing was learned
    learned_ms: int = 0
    reflex: bool = False  #: a standing grant is in the log
    nodes: tuple[Node, ...] = ()  #: what its sources earned
    unresolved: tuple[HandedOn, ...] = ()  #: what it handed on and nobody said what became of
    opened_ms: int | None = None  #: when it last opened
    fired: tuple[bytes, ...] = ()  #: the waves whose reflexes are in the log, the newest last


class GateNerve(Nerve[GateTrust, Window]):
    """Waves and outcomes in; transitions, verified signals, reflexes and changed weights out. One gate per region."""

    name: ClassVar[str] = "gate"
    version: ClassVar[str] = "1.1.0"
    cost_ulf: ClassVar[int] = constant(500_000, "micro-lifeforce", "NIM-10")
    unchecked: ClassVar[Mapping[str, str]] = {
        "rerun": "made-up waves come alone and open nothing; tests/simulation/test_attention.py re-runs its decisions",
        "window": "waves come too seldom there to fill it; tests/spec/test_gates.py holds it to its 20",
    }

    def entity(self, message: WaveFelt | OutcomeJudged | GateRequest | Tick) -> str | None:
        match message:
            case Tick():
                return None
            case WaveFelt():
                return message.region
            case _:
                return message.domain

    def evolve(
        self, state: GateTrust, decision: SignalVerified | ReflexGranted | ReflexFired | WeightChanged
    ) -> GateTrust:
        match decision:
            case SignalVerified():
                handed = HandedOn(decision.signal, *(voices(decision.shares, side) for side in (1, -1)))
                return msgspec.structs.replace(_handed_on(state, handed), opened_ms=decision.at_ms)
            case ReflexFired():
                fired = (*state.fired, decision.wave_id)[-UNRESOLVED:]
                handed = HandedOn(decision.wave_id, (decision.source,))
                return msgspec.structs.replace(_handed_on(state, handed), fired=fired)
            case ReflexGranted():
                return msgspec.structs.replace(state, reflex=decision.granted)
            case WeightChanged():
                left = tuple(handed for handed in state.unresolved if handed.signal != decision.signal)
                learned_ms, nodes = decision.at_ms, after(state.nodes, decision)
                return GateTrust(
                    decision.after_ppm, learned_ms, state.reflex, nodes, left, state.opened_ms, state.fired
                )

    def acted(self, window: Window, urgent: Sequence[ReflexActed], now_ms: int) -> Window:
        known = {fired.wave_id for fired in window.owed}
        owed = tuple(_firing(act, now_ms) for act in urgent if act.wave_id not in known)
        return msgspec.structs.replace(window, owed=(*window.owed, *owed), fired_until_ms=now_ms + REFLEX_REST_MS)

    def decide(
        self, state: GateTrust, window: Window, message: WaveFelt | OutcomeJudged | GateRequest | Tick, now_ms: int
    ) -> tuple[Window, list[Says] | Refusal]:
        match message:
            case WaveFelt():
                return _felt(state, window, message, now_ms)
            case OutcomeJudged():
                return window, _learned(state, message, now_ms)
            case GateRequest():
                return window, [*_grant(state, message.domain, now_ms), _look(state, window, message.domain, now_ms)]
            case Tick():
                window, said = _owed(state, window)
                after = _renamed(state, window.aged(now_ms), Collapse(0, 0, 0, 0), (), said)
                return (Window() if after.quiet(now_ms) else after), said


def weight_of(state: GateTrust, domain: str, now_ms: int) -> int:
    """Return how much a gate is trusted now, in ppm."""
    seed = seed_of(domain)
    return seed if state.weight_ppm is None else faded(state.weight_ppm, seed, now_ms - state.learned_ms)


def _felt(state: GateTrust, window: Window, felt: WaveFelt, now_ms: int) -> tuple[Window, list[Says] | Refusal]:
    """Weigh one wave; it may act by reflex, and it may open or close the gate."""
    if felt.taken_ms > now_ms + WINDOW_MS:
        early_ms = felt.taken_ms - now_ms
        return window, Refusal("R001", f"felt {early_ms} ms in the future, the window is {WINDOW_MS} ms")
    if now_ms - felt.taken_ms > WINDOW_MS:
        return window, Refusal("R001", f"felt {now_ms - felt.taken_ms} ms ago, the window is {WINDOW_MS} ms")
    if window.knows(felt.wave_id):
        return window, []
    if felt.taken_ms > now_ms:  # a clock that is ahead makes nothing count for longer
        felt = msgspec.structs.replace(felt, taken_ms=now_ms)
    window, acted = _reflex(state, window, felt, now_ms)
    window, said = _owed(state, window)
    window = _renamed(state, window.aged(now_ms), Collapse(0, 0, 0, 0), (), said)
    window = window.with_wave(felt)
    counting = window.counting()
    collapsed = collapse([heard.share for heard in counting])
    resting = state.opened_ms is not None and now_ms < state.opened_ms + REFRACTORY_MS
    moved = msgspec.structs.replace(window, state_ppm=_moved(window, collapsed, resting=resting))
    after = _renamed(state, moved, collapsed, counting, said)
    if after.label == "OPEN" and window.label != "OPEN":
        said.append(_verified(state, felt, collapsed, counting, now_ms))
        after = after.opened()
    turned = after.label != window.label
    if collapsed.voices > 1 and (turned or now_ms - after.correlated_ms >= WINDOW_MS):
        said.append(_correlated(after, collapsed, counting))
        after = msgspec.structs.replace(after, correlated_ms=now_ms)
    return after, [*_grant(state, felt.region, now_ms), *acted, *said]


def _moved(window: Window, collapsed: Collapse, *, resting: bool) -> int:
    """Return the state after the window's waves were weighed; at rest only a contradiction moves it, downwards."""
    after = pushed(window.state_ppm, collapsed)
    if resting:
        return min(window.state_ppm, after) if collapsed.against_ppm else window.state_ppm
    return after


def _renamed(
    state: GateTrust, window: Window, collapsed: Collapse, counting: tuple[Heard, ...], said: list[Says]
) -> Window:
    """Name the state anew, and say so where it has another name."""
    now = label(window.state_ppm)
    if now == window.label:
        return window
    said.append(
        GateTransition(
            window.domain,
            window.label,
            now,
            window.state_ppm,
            collapsed.support_ppm,
            collapsed.against_ppm,
            weight_of(state, window.domain, window.at_ms),
            window.at_ms,
            tuple(heard.share for heard in counting),
        )
    )
    return msgspec.structs.replace(window, label=now)


def _reflex(state: GateTrust, window: Window, felt: WaveFelt, now_ms: int) -> tuple[Window, list[Says]]:
    """Act at once where the log holds a grant; what is sent first is logged after."""
    done = felt.wave_id in (*state.fired, *(fired.wave_id for fired in window.owed))  # here, or by a replica
    resting = now_ms < window.fired_until_ms or done
    if not state.reflex or felt.polarity < 0 or resting:
        return window, []
    act = ReflexActed(
        felt.region,
        felt.wave_id,
        felt.confidence_ppm,
        felt.polarity,
        felt.direction_cdeg,
        felt.content[:SUMMARY_CHARS],
        felt.taken_ms,
        felt.source,
    )
    return msgspec.structs.replace(window, fired_until_ms=now_ms + REFLEX_REST_MS), [act, _firing(act, now_ms)]


def _firing(act: ReflexActed, now_ms: int) -> ReflexFired:
    return ReflexFired(act.domain, act.wave_id, act.taken_ms, now_ms, act.confidence_ppm, act.source)


def _owed(state: GateTrust, window: Window) -> tuple[Window, list[Says]]:
    """Log what acted and lost its place on the lane to another decision, unless a replica logged the same."""
    owed: list[Says] = [fired for fired in window.owed if fired.wave_id not in state.fired]
    return msgspec.structs.replace(window, owed=()), owed


def _grant(state: GateTrust, domain: str, now_ms: int) -> list[Says]:
    """Grant a reflex where trust passed the bound, withdraw it where it fell below; else nothing."""
    weight = weight_of(state, domain, now_ms)
    earned = weight > REFLEX_PPM
    if earned == state.reflex:
        return []
    bound = f"{weight} ppm of trust, more than {REFLEX_PPM} is needed"
    return [ReflexGranted(domain, earned, weight, bound)]


def _verified(
    state: GateTrust, felt: WaveFelt, collapsed: Collapse, counting: tuple[Heard, ...], now_ms: int
) -> SignalVerified:
    """Return what the virtual garden hands to the real one."""
    agreeing = [heard for heard in counting if heard.share.polarity > 0]
    strongest = max(agreeing, key=lambda heard: (heard.share.confidence_ppm, heard.share.wave_id))
    directions = {heard.direction_cdeg for heard in agreeing} - {None}
    return SignalVerified(
        domain=felt.region,
        signal=felt.wave_id,
        confidence_ppm=collapsed.support_ppm,
        summary=strongest.content,
        weight_ppm=weight_of(state, felt.region, now_ms),
        node_ppm=best(state.nodes, felt.region, voices((heard.share for heard in counting), 1), now_ms),
        sources=tuple(sorted({heard.share.source for heard in agreeing})),
        direction_cdeg=strongest.direction_cdeg if directions else None,
        ambiguous=all(heard.ambiguous for heard in agreeing),
        shares=tuple(heard.share for heard in counting),
        at_ms=now_ms,
    )


def _correlated(window: Window, collapsed: Collapse, counting: tuple[Heard, ...]) -> WavesCorrelated:
    """Return the correlation of the waves that counted: each with each."""
    result: GateState = window.label
    return WavesCorrelated(
        domain=window.domain,
        result=_RESULTS[result],  # pyright: ignore[reportArgumentType] - the three results
        first_ms=min(heard.share.taken_ms for heard in counting),
        last_ms=max(heard.share.taken_ms for heard in counting),
        shares=tuple(heard.share for heard in counting),
        matrix_ppm=tuple(cell for row in cosines_ppm(counting) for cell in row),
        aggregate_ppm=collapsed.value_ppm,
    )


def _learned(state: GateTrust, judged: OutcomeJudged, now_ms: int) -> list[Says] | Refusal:
    """Change the weights by what became of a signal; only of one that this gate handed on, and once."""
    handed = next((known for known in state.unresolved if known.signal == judged.signal), None)
    if handed is None:
        return Refusal("B012", f"the gate {judged.domain} handed on no signal {judged.signal.hex()[:32]} that is open")
    before = weight_of(state, judged.domain, now_ms)
    weight = learned(before, judged.outcome)
    nodes = changes(state.nodes, judged.domain, handed, judged.outcome, now_ms)
    changed = WeightChanged(judged.domain, judged.signal, judged.outcome, before, weight, nodes, now_ms)
    then = msgspec.structs.replace(state, weight_ppm=weight, learned_ms=now_ms)
    return [changed, *_grant(then, judged.domain, now_ms)]


def _look(state: GateTrust, window: Window, domain: str, now_ms: int) -> GateReply:
    now = window.aged(now_ms)
    return GateReply(
        domain, label(now.state_ppm), now.state_ppm, weight_of(state, domain, now_ms), state.reflex, len(now.waves)
    )


def _handed_on(state: GateTrust, handed: HandedOn) -> GateTrust:
    kept = (*(known for known in state.unresolved if known.signal != handed.signal), handed)[-UNRESOLVED:]
    return msgspec.structs.replace(state, unresolved=kept)
