"""How a ternary resonant gate moves: what agrees opens it, what contradicts closes it, silence relaxes it (NIM-05).

Everything is in integers, millionths and milliseconds, so that every processor finds the same. The state s lies in
[-1, 1]: OPEN above 0.5, CLOSED below -0.5, STABLE between. In a window of 1,500 ms the strongest wave of each source
counts, weighted by how near its meaning is to the gate's region; the *aggregate* of those that say the same is a
noisy-OR, 1 - (1 - c1·sim1)(1 - c2·sim2)…. With P the aggregate for the domain and N the one against it, the window says

    v = P - N - min(P, N)

so a contradiction counts twice: evidence that is disputed closes what agreement alone would open. One source alone
holds a gate at its threshold at most, however sure it is; a share below 0.1 is nobody's agreement.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from decimal import Decimal, localcontext
from typing import Final

import msgspec

from shared.constant import constant
from shared.subjects.gates import GateState, Share

ONE: Final = 1_000_000
OPEN_PPM = constant(500_000, "ppm", "NIM-05")
CLOSED_PPM = constant(-500_000, "ppm", "NIM-05")
WINDOW_MS = constant(1_500, "ms", "NIM-05")
RELAX_PPM = constant(950_000, "ppm per 100 ms", "NIM-05")
REFRACTORY_MS = constant(1_500, "ms", "NIM-05")
MIN_SOURCES = constant(2, "sources", "NIM-05")
MIN_SHARE_PPM = constant(100_000, "ppm", "NIM-05")  # what counts less agrees with nobody

_STEP_MS: Final = 100
_BITS: Final = 60
_DOUBLINGS: Final = 15  #: 2^15 ms and more of silence leave nothing that a millionth can say


def _powers() -> tuple[int, ...]:
    """Return what is left of a state after 1, 2, 4, … ms, in units of 2^-60; exact decimals, so the same everywhere."""
    with localcontext() as context:
        context.prec = 60
        one_ms = (Decimal(RELAX_PPM) / ONE) ** (Decimal(1) / _STEP_MS)
        return tuple(int(one_ms ** (1 << n) * (1 << _BITS)) for n in range(_DOUBLINGS))


_POWERS: Final = _powers()


def relaxed(state_ppm: int, elapsed_ms: int) -> int:
    """Return a state after some time without waves: 0.95 of it per 100 ms, rounded towards 0."""
    if elapsed_ms <= 0 or state_ppm == 0:
        return state_ppm
    if elapsed_ms >= 1 << _DOUBLINGS:
        return 0
    left = 1 << _BITS
    for n, power in enumerate(_POWERS[: elapsed_ms.bit_length()]):
        if elapsed_ms >> n & 1:
            left = left * power >> _BITS
    size = abs(state_ppm) * left >> _BITS
    return size if state_ppm > 0 else -size


def noisy_or(shares: Iterable[int]) -> int:
    """Return 1 - Π(1 - share), all in ppm: how sure several are together that are each that sure alone."""
    left = ONE
    for share in shares:
        left = left * (ONE - share) // ONE
    return ONE - left


def strength(share: Share) -> int:
    """Return what one wave counts, ppm: its confidence times how near its meaning is."""
    return share.confidence_ppm * share.similarity_ppm // ONE


class Collapse(msgspec.Struct, frozen=True):
    """What the waves of one window say together."""

    support_ppm: int  #: the aggregate of those that say so
    against_ppm: int  #: of those that say it is not so
    sources: int  #: how many different ones support it
    voices: int  #: how many different ones were heard at all

    @property
    def value_ppm(self) -> int:
        """What they say of the gate's state, in [-1, 1]: a contradiction counts twice."""
        return self.support_ppm - self.against_ppm - min(self.support_ppm, self.against_ppm)


def collapse(shares: Sequence[Share]) -> Collapse:
    """Return what the strongest wave of each source says, for and against, in whatever order they came."""
    support, against = dict[str, int](), dict[str, int]()
    for share in shares:
        best = support if share.polarity > 0 else against
        source, size = share.source, strength(share)
        if size > best.get(source, -1):
            best[source] = size
    agreed, denied = sorted(support.values()), sorted(against.values())
    sources = len(agreed) - bisect_left(agreed, MIN_SHARE_PPM)
    voices = len(support.keys() | against.keys()) if against else len(support)
    return Collapse(noisy_or(agreed), noisy_or(denied), sources, voices)


def pushed(state_ppm: int, said: Collapse) -> int:
    """Return a relaxed state after a window's waves were weighed."""
    value = said.value_ppm if said.sources >= MIN_SOURCES else min(said.value_ppm, OPEN_PPM)
    if said.against_ppm == 0:
        return max(state_ppm, value)
    return value if said.support_ppm else min(state_ppm, value)


def label(state_ppm: int) -> GateState:
    """Return the name of a state."""
    return "OPEN" if state_ppm > OPEN_PPM else "CLOSED" if state_ppm < CLOSED_PPM else "STABLE"
