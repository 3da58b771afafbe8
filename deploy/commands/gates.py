"""`watch --gates`: attention as it moves, a line for each turn; decisions are verified before they are shown."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from rich.text import Text

from deploy.commands.stored import Stored
from deploy.terminal import DOMAINS, Terminal
from shared.bus import Delivery
from shared.codec import decode_any
from shared.constant import constant
from shared.errors import Refused
from shared.message import Decision, Message, lookup
from shared.subjects.gates import (
    GateTransition,
    OutcomeJudged,
    ReflexActed,
    ReflexGranted,
    Share,
    SignalVerified,
    WeightChanged,
)
from shared.subjects.thalamus import AttentionChanged, BeatClosed, Escalated, Rested, Routed, Withheld

BAR = constant(20, "characters", "NIM-11")
SMALL_ULF = constant(1_000_000, "micro-lifeforce", "NIM-11")
DOMAIN_CHARS = constant(14, "characters", "NIM-11")

SHOWN = (
    *(GateTransition, ReflexActed, SignalVerified, ReflexGranted, WeightChanged, OutcomeJudged),
    *(Routed, Escalated, Withheld, AttentionChanged, BeatClosed, Rested),
)


async def show_turn(stored: Stored, delivery: Delivery, heard_s: float, terminal: Terminal) -> bool:
    """Print one message if it moves attention; say whether it did."""
    cls = lookup(delivery.subject)
    if cls not in SHOWN:
        return False
    verified = await _verified(stored, delivery, heard_s) if issubclass(cls, Decision) else [delivery.data]
    for raw in verified:
        try:
            message, _ = decode_any(cls, raw)
        except Refused:
            continue  # whoever hears it refuses it too
        shown = {"subject": delivery.subject, "data": msgspec.to_builtins(message, builtin_types=(bytes,))}
        terminal.give(shown, turn(message, datetime.fromtimestamp(stored.bus.world.now_ns() / 1e9, UTC)))
    return bool(verified)


async def _verified(stored: Stored, delivery: Delivery, heard_s: float) -> list[bytes]:
    """Return the events of a decision that the log admits."""
    verdict = await stored.verdict(delivery, heard_s)
    return [bytes(event.data) for _, event in verdict.admitted()] if verdict else []


def turn(message: Message, at: datetime) -> Text:
    """Return one line: when, which domain, what turned."""
    domain, said = _of_gate(message) or _of_thalamus(message) or ("", str(message))
    head = Text(f"{at:%H:%M:%S.%f}"[:-3] + "  ", "dim")
    return head.append(f"{domain[:DOMAIN_CHARS]:<{DOMAIN_CHARS}}  ", DOMAINS["nervous"]).append(said, "default")


def _of_gate(message: Message) -> tuple[str, str] | None:  # noqa: PLR0911 - a sentence for each kind of turn
    match message:
        case GateTransition():
            turned = f"{message.before} ▶ {message.after:<6} {bar(message.state_ppm)}"
            return message.domain, turned + _of(message.shares)
        case SignalVerified():
            agreed = f"{len(message.sources)} sources agree, {_share(message.confidence_ppm)}"
            return message.domain, f"verified: {agreed}: {message.summary}"
        case ReflexActed():
            return message.domain, f"⚡ reflex, {_share(message.confidence_ppm)}: {message.content}"
        case ReflexGranted():
            word = "granted" if message.granted else "withdrawn"
            return message.domain, f"reflex {word} at trust {_share(message.weight_ppm)}"
        case WeightChanged():
            changed = f"{_share(message.before_ppm)} ▶ {_share(message.after_ppm)}"
            nodes = ", ".join(f"{n.source.rpartition('.')[2]} {_share(n.after_ppm)}" for n in message.nodes)
            return message.domain, f"trust {changed} ({message.outcome})" + (f", of {nodes}" if nodes else "")
        case OutcomeJudged():
            return message.domain, f"{message.outcome}: expected {message.expected}, found {message.found}"
        case _:
            return None


def _of_thalamus(message: Message) -> tuple[str, str] | None:  # noqa: PLR0911 - a sentence for each kind of turn
    match message:
        case Routed():
            return message.domain, f"→ tier {message.tier} ({message.why}), {_lf(message.cost_ulf)}"
        case Escalated():
            left = f"{_lf(message.cost_ulf)}, {_lf(message.balance_ulf)} left"
            return message.domain, f"⇒ tier {message.tier} ({message.why}), {left}: {message.content}"
        case Withheld():
            lacks = f"{_lf(message.cost_ulf)} needed, {_lf(message.left_ulf)} allowed"
            return message.domain, f"✗ tier {message.tier} withheld ({message.why}): {lacks}"
        case AttentionChanged():
            gates = ", ".join(message.open_gates) or "no open gate"
            return "attention", f"{message.before} ▶ {message.mode} ({gates}), {_lf(message.balance_ulf)}"
        case BeatClosed():
            account = f"spent {_lf(message.spent_ulf)}, earned {_lf(message.earned_ulf)}"
            return "beat", f"{message.beat}: {account}, balance {_lf(message.balance_ulf)}"
        case Rested():
            word = "no lifeforce: who may rest rests" if message.resting else "lifeforce again: all work"
            return "lifeforce", f"{word} ({_lf(message.balance_ulf)})"
        case _:
            return None


def bar(state_ppm: int) -> str:
    """Return a gate's state as a mark between CLOSED (-1) and OPEN (+1)."""
    place = round((state_ppm + 1_000_000) * BAR / 2_000_000)
    return f"▕{'·' * place}●{'·' * (BAR - place)}▏ {state_ppm / 1e6:+.2f}"


def _of(shares: tuple[Share, ...]) -> str:
    told = [
        f"{'' if share.polarity > 0 else 'not '}{share.source.rpartition('.')[2]} {_share(share.confidence_ppm)}"
        f"×{_share(share.similarity_ppm)}"
        for share in shares
    ]
    return f"  {', '.join(told)}" if told else ""


def _share(ppm: int) -> str:
    return f"{ppm / 1e6:.2f}"


def _lf(ulf: int) -> str:
    """Return an amount in lifeforce; a small one with every digit that is not 0."""
    small = ulf and abs(ulf) < SMALL_ULF
    return f"{f'{ulf / 1e6:.6f}'.rstrip('0') if small else f'{ulf / 1e6:.1f}'} LF"
