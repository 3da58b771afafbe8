"""What parts cost, from what their hearts say they used: sums since the last account, and a moving mean (NIM-10)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from nerves.thalamus.routes import COGNITION, COSTS
from shared.constant import constant
from shared.subjects.cognition import Answered
from shared.subjects.system import Heartbeat
from shared.subjects.thalamus import CostsObserved, Observed

PARTS = constant(64, "parts", "X-12")
USED_MOST = constant(1_125_899_906_842_624, "of any unit", "X-12")
MEMORY = constant(16, "accounts", "NIM-10")  # a mean follows this many
PRICED = constant(3, "accounts", "NIM-10")  # from so many on the measured price counts, until then the designed one
ANSWERS = "tier 4"  #: no part's name has a space


class Used(msgspec.Struct, frozen=True, array_like=True):
    """What something has used in all."""

    messages: int = 0
    cpu_us: int = 0
    energy_uj: int | None = None
    moved_bytes: int = 0
    elapsed_us: int = 0
    cost_ulf: int = 0


class Heart(msgspec.Struct, frozen=True, array_like=True):
    """One start of a part: what it had used at the last account, and when its heart last beat."""

    part: str
    boot: str
    since: Used
    now: Used


class Profile(msgspec.Struct, frozen=True, array_like=True):
    """What one message of something has cost lately."""

    what: str
    mean_ulf: int
    spread_ulf: int
    observations: int


def heard(hearts: tuple[Heart, ...], beat: Heartbeat) -> tuple[tuple[Heart, ...], int]:
    """Return the hearts after one beat, the last heard last, and what it spent since; its first only sets the mark."""
    now = _used(beat)
    known = next((heart for heart in hearts if (heart.part, heart.boot) == (beat.part, beat.boot)), None)
    more = 0 if known is None else max(now.cost_ulf - known.now.cost_ulf, 0)
    heart = Heart(beat.part, beat.boot, now if known is None else known.since, now)
    return (*(other for other in hearts if other is not known), heart)[-PARTS:], more


def observed(hearts: Sequence[Heart], answers: Sequence[int], profiles: Sequence[Profile]) -> tuple[Observed, ...]:
    """Return what each part used since the last account, and what answering escalations cost, each with its profile."""
    known = {profile.what: profile for profile in profiles}
    sums = {part: _sum(h for h in hearts if h.part == part) for part in sorted({heart.part for heart in hearts})}
    if answers:
        sums[ANSWERS] = Used(len(answers), cost_ulf=min(sum(answers), USED_MOST))
    return tuple(_observed(what, used, known.get(what)) for what, used in sums.items() if any(_numbers(used)))


def settled(hearts: Iterable[Heart]) -> tuple[Heart, ...]:
    """Return the hearts after an account."""
    return tuple(msgspec.structs.replace(heart, since=heart.now) for heart in hearts)


def profiled(profiles: Sequence[Profile], decision: CostsObserved) -> tuple[Profile, ...]:
    """Return the profiles after an account; beyond the bound whoever was observed longest ago is forgotten."""
    new = [Profile(o.what, o.mean_ulf, o.spread_ulf, o.observations) for o in decision.costs]
    names = {profile.what for profile in new}
    return (*(old for old in profiles if old.what not in names), *new)[-PARTS:]


def prices(profiles: Iterable[Profile]) -> tuple[int, ...]:
    """Return the price of each tier: as designed, but for cognition, once enough of its answers were measured."""
    measured = [p.mean_ulf + p.spread_ulf for p in profiles if p.what == ANSWERS and p.observations >= PRICED]
    return (*COSTS[:COGNITION], *(measured or [COSTS[COGNITION]]), *COSTS[COGNITION + 1 :])


def cost_of(answered: Answered) -> int:
    """Return what an answer cost, within what can be counted."""
    return _bounded(answered.cost_ulf)


def _observed(what: str, used: Used, profile: Profile | None) -> Observed:
    mean, spread, count = (profile.mean_ulf, profile.spread_ulf, profile.observations) if profile else (0, 0, 0)
    if used.messages:
        one, among = used.cost_ulf // used.messages, min(count + 1, MEMORY)
        spread += (abs(one - mean) - spread) // among if count else 0
        mean, count = mean + (one - mean) // among, count + 1
    numbers = (used.messages, used.cpu_us, used.energy_uj, used.moved_bytes, used.elapsed_us, used.cost_ulf)
    return Observed(what, *numbers, mean, spread, count)


def _used(beat: Heartbeat) -> Used:
    energy = None if beat.energy_uj is None else _bounded(beat.energy_uj)
    moved = _bounded(beat.received_bytes) + _bounded(beat.sent_bytes)
    cost = _bounded(beat.spent_ulf)
    return Used(_bounded(beat.handled), _bounded(beat.cpu_us), energy, moved, _bounded(beat.elapsed_us), cost)


def _sum(hearts: Iterable[Heart]) -> Used:
    """Return what the starts of one part used since the last account; energy that one does not know, nobody knows."""
    pairs = [(heart.since, heart.now) for heart in hearts]
    energy: int | None = 0
    for since, now in pairs:
        if energy is None or since.energy_uj is None or now.energy_uj is None:
            energy = None
        else:
            energy += max(now.energy_uj - since.energy_uj, 0)
    return Used(
        sum(max(now.messages - since.messages, 0) for since, now in pairs),
        sum(max(now.cpu_us - since.cpu_us, 0) for since, now in pairs),
        energy,
        sum(max(now.moved_bytes - since.moved_bytes, 0) for since, now in pairs),
        sum(max(now.elapsed_us - since.elapsed_us, 0) for since, now in pairs),
        sum(max(now.cost_ulf - since.cost_ulf, 0) for since, now in pairs),
    )


def _numbers(used: Used) -> tuple[int, ...]:
    return used.messages, used.cpu_us, used.energy_uj or 0, used.moved_bytes, used.elapsed_us, used.cost_ulf


def _bounded(number: int) -> int:
    """Return what a neighbour claims, within what can be counted."""
    return max(0, min(number, USED_MOST))
