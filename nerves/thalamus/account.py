"""What a beat of 30 seconds may spend: income, balance, and shares of it for organs and for cognition (NIM-10)."""

from __future__ import annotations

from typing import Final

import msgspec

from nerves.thalamus.costs import Profile, profiled
from nerves.thalamus.routes import COGNITION, ORGANS
from shared.constant import constant
from shared.subjects.thalamus import BeatClosed, CostsObserved, Escalated, Rested

ACCOUNT_MS = constant(30_000, "ms", "NIM-10")
START_ULF = constant(100_000_000, "micro-lifeforce", "NIM-10")
INCOME_ULF = constant(30_000_000, "micro-lifeforce per beat", "NIM-10")
MOST_ULF = constant(200_000_000, "micro-lifeforce", "NIM-10")
WAKE_ULF = constant(30_000_000, "micro-lifeforce", "NIM-10")
ORGANS_SHARE_PPM = constant(400_000, "ppm", "NIM-10")
COGNITION_SHARE_PPM = constant(500_000, "ppm", "NIM-10")

_SHARES: Final = {ORGANS: ORGANS_SHARE_PPM, COGNITION: COGNITION_SHARE_PPM}


class Account(msgspec.Struct, frozen=True):
    """What there is to spend, and what things cost; the fold of the thalamus's own decisions."""

    balance_ulf: int = START_ULF
    beat: int = 0  #: the last that was closed
    acting: int = 0  #: the beat in which something was woken last
    opening_ulf: int = 0  #: what remained when something was woken in it first
    organs_ulf: int = 0  #: held for organs in that beat
    cognition_ulf: int = 0  #: held for cognition in that beat
    held_ulf: int = 0  #: held since the last account
    resting: bool = False
    profiles: tuple[Profile, ...] = ()


def evolved(state: Account, decision: Escalated | BeatClosed | CostsObserved | Rested) -> Account:
    """Return the account after a decision."""
    match decision:
        case Escalated():
            return _held(state, decision)
        case BeatClosed():
            return msgspec.structs.replace(state, balance_ulf=decision.balance_ulf, beat=decision.beat, held_ulf=0)
        case CostsObserved():
            return msgspec.structs.replace(state, profiles=profiled(state.profiles, decision))
        case Rested():
            return msgspec.structs.replace(state, resting=decision.resting)


def _held(state: Account, woken: Escalated) -> Account:
    """Hold the price of an escalation back, on the share of its tier in this beat."""
    same = woken.beat == state.acting
    organs, cognition = (state.organs_ulf, state.cognition_ulf) if same else (0, 0)
    return msgspec.structs.replace(
        state,
        balance_ulf=woken.balance_ulf,
        acting=woken.beat,
        opening_ulf=state.opening_ulf if same else added(woken.balance_ulf, woken.cost_ulf),
        organs_ulf=added(organs, woken.cost_ulf if woken.tier == ORGANS else 0),
        cognition_ulf=added(cognition, woken.cost_ulf if woken.tier == COGNITION else 0),
        held_ulf=added(state.held_ulf, woken.cost_ulf),
    )


def allowed(state: Account, spent_ulf: int, tier: int, beat: int) -> int:
    """Return what one more act at a tier may cost in a beat, with so much spent since the last account.

    Of what remained when the beat first woke something organs have 40 %, cognition 50 %; what neither takes is the
    virtual garden's. Nobody has more than is left.
    """
    left = max(state.balance_ulf - spent_ulf, 0)
    if tier not in _SHARES:
        return left
    opening, held = left, 0
    if beat == state.acting:
        opening, held = state.opening_ulf, state.organs_ulf if tier == ORGANS else state.cognition_ulf
    return max(min(opening * _SHARES[tier] // 1_000_000 - held, left), 0)


def added(sum_ulf: int, more_ulf: int) -> int:
    """Return a beat's sum with one more: whatever a neighbour claims, no more counts than can be kept."""
    return max(-MOST_ULF, min(sum_ulf + max(-MOST_ULF, min(more_ulf, MOST_ULF)), MOST_ULF))


def due(state: Account, spent_ulf: int, earned_ulf: int, beats: int) -> int:
    """Return what is left after `beats` beats; less than nothing where more was spent than there was."""
    return state.balance_ulf + state.held_ulf - spent_ulf + earned_ulf + beats * INCOME_ULF


def closed(state: Account, spent_ulf: int, earned_ulf: int, beats: int) -> int:
    """Return the balance after `beats` beats: never below zero, never above what can be kept."""
    return min(max(due(state, spent_ulf, earned_ulf, beats), 0), MOST_ULF)


def rests(state: Account, balance_ulf: int) -> bool:
    """Say whether whoever may rest rests at a balance: from nothing on, until a beat's income is there again."""
    return balance_ulf < WAKE_ULF if state.resting else balance_ulf <= 0
