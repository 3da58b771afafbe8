"""`bench gates`: what weighing a wave costs, beside reading its bytes alone; embedding is not part of it.

Both are measured in one run, in processor time, on the same bytes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from nerves.gate import GateNerve
from shared.codec import decode, encode
from shared.constant import constant
from shared.errors import Refusal
from shared.message import MESSAGE_ID_BYTES, Decision
from shared.subjects.meaning import VECTOR_BYTES, Candidate, WaveFelt
from shared.world import World, now_ms

DOMAINS = constant(100, "domains", "NIM-05")
SOURCES = constant(8, "sources", "NIM-05")
WAVES_PER_S = constant(2_000, "waves/s", "NIM-05")
LATE_MS = constant(300, "ms", "NIM-05")


@dataclass(frozen=True, slots=True)
class GateFigure:
    """Processor microseconds per wave: from bytes to published transition, and for reading the bytes alone."""

    waves: int
    gate_us: float
    decode_us: float
    per_core_s: float  #: waves per second of one core
    transitions: int
    verified: int


def measure_gates(world: World, waves: int) -> GateFigure:
    """Let waves of eight sources fall on a hundred domains, and weigh each as the mind does: decide, evolve, encode."""
    drawn = _waves(world, waves)
    start = world.cpu_s()
    for _, raw in drawn:
        decode(WaveFelt, raw)
    read = world.cpu_s() - start
    nerve, states, windows, said = GateNerve(), dict[str, Any](), dict[str, Any](), Counter[str]()
    start = world.cpu_s()
    for at_ms, raw in drawn:
        wave = decode(WaveFelt, raw)
        region = wave.region
        state = states.get(region) or nerve.start()
        windows[region], outputs = nerve.decide(state, windows.get(region) or nerve.empty(), wave, at_ms)
        for output in outputs if not isinstance(outputs, Refusal) else ():
            said[type(output).__name__] += 1
            encode(output)
            if isinstance(output, Decision):
                state = nerve.evolve(state, output)  # pyright: ignore[reportArgumentType] - its own decisions
        states[region] = state
    spent = world.cpu_s() - start
    each = 1e6 / waves
    return GateFigure(waves, spent * each, read * each, waves / spent, said["GateTransition"], said["SignalVerified"])


def _waves(world: World, count: int) -> list[tuple[int, bytes]]:
    start_ms, vectors = now_ms(world), [world.entropy(VECTOR_BYTES) for _ in range(DOMAINS)]
    out: list[tuple[int, bytes]] = []
    for n in range(count):
        at_ms = start_ms + n * 1_000 // WAVES_PER_S
        domain = int(DOMAINS * world.chance())
        wave = WaveFelt(
            region=f"domain-{domain}",
            source=f"nervous.cells.cell-{int(SOURCES * world.chance())}",
            wave_id=n.to_bytes(MESSAGE_ID_BYTES, "big"),
            taken_ms=at_ms - int(LATE_MS * world.chance()),
            confidence_ppm=int(1_000_000 * world.chance()),
            similarity_ppm=1_000_000,
            declared=True,
            polarity=1,
            direction_cdeg=None,
            content="something is felt",
            cost_ulf=300_000,
            candidates=(Candidate(f"domain-{domain}", 1_000_000),),
            vector=vectors[domain],
            catalogue="0" * 32,
        )
        out.append((at_ms, encode(wave)))
    return out


def table(figure: GateFigure) -> str:
    """Return a figure for reading."""
    return (
        f"{figure.waves} waves of {SOURCES} sources on {DOMAINS} domains\n"
        f"  weigh one, from its bytes to what is published  {figure.gate_us:8.1f} us of processor time\n"
        f"  read its bytes alone                             {figure.decode_us:8.1f} us\n"
        f"  per core                                         {figure.per_core_s:8,.0f} waves/s\n"
        f"  {figure.transitions} transitions, {figure.verified} verified signals"
    )
