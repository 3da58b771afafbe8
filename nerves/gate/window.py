"""What a gate remembers of the last second and a half: its waves, its state, and how long it rests."""

from __future__ import annotations

from math import isqrt
from typing import Final

import msgspec
import numpy as np

from nerves.gate.dynamics import ONE, WINDOW_MS, relaxed
from shared.constant import constant
from shared.subjects.gates import GateState, ReflexFired, Share
from shared.subjects.meaning import UNKNOWN, VECTOR_BYTES, WaveFelt

MAX_WAVES = constant(20, "waves", "NIM-05")
SUMMARY_CHARS = constant(80, "characters", "NIM-05")
AMBIGUOUS_PPM = constant(60_000, "ppm", "NIM-07")  # a second region this near to the first is a candidate too

_MIN_VECTORS: Final = 2
_CUBE: Final = ONE * ONE * ONE


class Heard(msgspec.Struct, frozen=True, array_like=True):
    """One wave as the window keeps it; what has opened the gate once stays known, and counts no more."""

    share: Share
    vector: bytes
    direction_cdeg: int | None
    content: str
    ambiguous: bool
    used: bool = False


class Window(msgspec.Struct, frozen=True):
    """The gate's working memory; lost in a crash, which relaxes the gate."""

    domain: str = ""
    state_ppm: int = 0
    at_ms: int = 0  #: when the state was last computed
    label: GateState = "STABLE"
    correlated_ms: int = 0  #: when its waves were last compared in public
    fired_until_ms: int = 0  #: no reflex acts again before
    waves: tuple[Heard, ...] = ()  #: in the order they came
    owed: tuple[ReflexFired, ...] = ()  #: reflexes that acted and are not in the log

    def knows(self, wave_id: bytes) -> bool:
        """Say whether a wave was heard already."""
        return wave_id in [heard.share.wave_id for heard in self.waves]

    def aged(self, now_ms: int) -> Window:
        """Return the window as it is now: what is too old forgotten, the state relaxed."""
        since_ms = now_ms - WINDOW_MS
        kept = tuple([heard for heard in self.waves if heard.share.taken_ms >= since_ms])
        state = relaxed(self.state_ppm, now_ms - self.at_ms)
        return msgspec.structs.replace(self, waves=kept, state_ppm=state, at_ms=max(now_ms, self.at_ms))

    def with_wave(self, felt: WaveFelt) -> Window:
        """Return the window with one more wave; beyond the bound the oldest of whoever has most is forgotten."""
        share = Share(felt.source, felt.wave_id, felt.taken_ms, felt.confidence_ppm, felt.similarity_ppm, felt.polarity)
        new = Heard(share, felt.vector, felt.direction_cdeg, felt.content[:SUMMARY_CHARS], _is_ambiguous(felt))
        waves = (*self.waves, new)
        if len(waves) > MAX_WAVES:
            oldest = _oldest_of_loudest([heard.share.source for heard in waves])
            waves = (*waves[:oldest], *waves[oldest + 1 :])
        return msgspec.structs.replace(self, domain=felt.region, waves=waves)

    def counting(self) -> tuple[Heard, ...]:
        """Return the waves that count.

        What is near no region resonates with itself alone: there a wave's nearness is that to the wave of another
        source that is most like it.
        """
        waves = tuple([heard for heard in self.waves if not heard.used])
        if self.domain != UNKNOWN:
            return waves
        alike = cosines_ppm(waves)
        return tuple(_with_similarity(one, _nearest_other(waves, i, alike[i])) for i, one in enumerate(waves))

    def opened(self) -> Window:
        """Return the window once the gate has forwarded: its waves are used."""
        return msgspec.structs.replace(
            self, waves=tuple(msgspec.structs.replace(heard, used=True) for heard in self.waves)
        )

    def quiet(self, now_ms: int) -> bool:
        """Say whether nothing is left to remember."""
        still = self.state_ppm == 0 and self.label == "STABLE" and now_ms >= self.fired_until_ms
        return still and not self.waves and not self.owed


def _oldest_of_loudest(sources: list[str]) -> int:
    """Return the place of the first wave of whoever has most; of several, of whoever came first."""
    counts = dict[str, int]()
    for source in sources:
        counts[source] = counts.get(source, 0) + 1
    return sources.index(max(counts, key=counts.__getitem__))


def _nearest_other(waves: tuple[Heard, ...], place: int, alike: list[int]) -> int:
    """Return how near the most similar wave of another source is."""
    own = waves[place].share.source
    return max((near for near, heard in zip(alike, waves, strict=True) if heard.share.source != own), default=0)


def cosines_ppm(waves: tuple[Heard, ...]) -> list[list[int]]:
    """Return how alike each wave's meaning is to each other's, in ppm, exact integers; 0 where one has none."""
    rows = np.frombuffer(b"".join([heard.vector for heard in waves]), np.int8).reshape(-1, VECTOR_BYTES).astype(float)
    dots = (rows @ rows.T).astype(int).tolist()  # whole numbers below 2^53: exact, in whatever order they are summed
    lengths = [isqrt(dots[i][i] * ONE * ONE) for i in range(len(waves))]
    half = [[_ratio(dots[i][j], lengths[i] * lengths[j]) for j in range(i + 1)] for i in range(len(waves))]
    return [[half[max(i, j)][min(i, j)] for j in range(len(waves))] for i in range(len(waves))]


def _ratio(dot: int, lengths: int) -> int:
    if not lengths:
        return 0
    ratio = dot * _CUBE // lengths
    return ONE if ratio > ONE else max(ratio, -ONE)


def _with_similarity(heard: Heard, similarity_ppm: int) -> Heard:
    share = msgspec.structs.replace(heard.share, similarity_ppm=max(similarity_ppm, 0))
    return msgspec.structs.replace(heard, share=share)


def _is_ambiguous(felt: WaveFelt) -> bool:
    if felt.declared or len(felt.candidates) < _MIN_VECTORS:
        return False
    first, second, *_ = felt.candidates
    return first.similarity_ppm - second.similarity_ppm < AMBIGUOUS_PPM
