"""`bench gates`: what weighing a wave costs, beside reading its bytes alone; embedding is not part of it.

First the nerve alone, from a wave's bytes to those of what it says. Then the whole way on a real server, from the
wave's publishing to what the gates publish and log, beside raw nats-py that receives and decodes the same. All in
processor time, in one run; the load is published by the same process, so its cost is in each figure of the second part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg

from deploy.attach import living
from deploy.host import OPERATOR
from nerves.gate import GateNerve
from shared.bus.connecting import connect
from shared.codec import decode, encode
from shared.config import load
from shared.constant import constant
from shared.envelope import rfc3339
from shared.errors import Refusal
from shared.home import nkey_path
from shared.message import MESSAGE_ID_BYTES, Decision
from shared.subjects.meaning import VECTOR_BYTES, Candidate, WaveFelt
from shared.world import RealWorld, World, new_id, now_ms

DOMAINS = constant(100, "domains", "NIM-05")
SOURCES = constant(8, "sources", "NIM-05")
WAVES_PER_S = constant(2_000, "waves/s", "NIM-05")
LATE_MS = constant(300, "ms", "NIM-05")
FAINT = constant(20, "times", "NIM-05")  # so much fainter are waves that open nothing
WAY_BURST = constant(50, "waves", "NIM-05")
WAY_LOOK_S = constant(0.001, "s", "NIM-05")


@dataclass(frozen=True, slots=True)
class GateFigure:
    """Processor microseconds per wave: from bytes to published transition, and for reading the bytes alone."""

    waves: int
    gate_us: float
    decode_us: float
    per_core_s: float  #: waves per second of one core
    transitions: int
    verified: int


@dataclass(frozen=True, slots=True)
class WayFigure:
    """Processor microseconds per wave over a real server, its publishing included; `ratio` is to raw nats-py."""

    what: str
    waves: int
    us: float
    ratio: float
    emitted: int
    logged: int


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


async def measure_way(waves: int) -> list[WayFigure]:
    """Let a gate nerve hear waves over a server of its own: faint ones that open nothing, and such as open gates."""
    with TemporaryDirectory(prefix="nimmerverse-bench-") as folder:
        nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
        chosen = {"env": "dev", "site": "bench", "home": folder, "log_level": "error", "database_url": nowhere}
        async with living(load({}, chosen, "bench"), ("nerves.gate",)) as (host, organism):
            runner, nkey = organism.runners["gate"], nkey_path(host.settings, OPERATOR)
            wire = await connect(host.url, OPERATOR, nkey=nkey, private_inbox=False)
            way, figures = _Way(RealWorld("dev"), wire.client, waves), list[tuple[str, float, int, int]]()
            for what, fainter in (("gates, of faint waves", FAINT), ("gates, of such as open them", 1)):
                emitted, logged = runner.bus.counters.emitted, runner.bus.counters.appended
                us = await way.spent_us(fainter, lambda: runner.work.handled)
                counters = runner.bus.counters
                figures.append((what, us, counters.emitted - emitted, counters.appended - logged))
            await runner.stop()
            raw = await way.raw_us()
            await wire.close()
    told = [WayFigure(what, waves, round(us, 1), round(us / raw, 2), out, kept) for what, us, out, kept in figures]
    return [WayFigure("raw nats-py, received and decoded", waves, round(raw, 1), 1.0, 0, 0), *told]


class _Way:
    """Publishes waves in bursts, each when the one before was heard, and measures what all of that costs."""

    def __init__(self, world: RealWorld, client: Client, waves: int) -> None:
        self.world, self.client, self.waves = world, client, waves
        self._drawn = [decode(WaveFelt, raw) for _, raw in _waves(world, WAY_BURST * DOMAINS)]
        self._heard = 0

    async def raw_us(self) -> float:
        """Return what hearing costs where nats-py calls back with bytes and they are decoded, and nothing else."""

        async def receive(message: Msg) -> None:
            decode(WaveFelt, message.data)
            self._heard += 1

        await self.client.subscribe(WaveFelt.pattern(self.world.env), cb=receive)  # pyright: ignore[reportUnknownMemberType] - untyped in nats-py
        return await self.spent_us(1, lambda: self._heard)

    async def spent_us(self, fainter: int, heard: Callable[[], int]) -> float:
        """Return the processor microseconds of each wave, until it is heard."""
        spent = 0.0
        for start in range(0, self.waves, WAY_BURST):
            burst = self._burst(start, min(WAY_BURST, self.waves - start), fainter)
            until, before = heard() + len(burst), self.world.cpu_s()
            for subject, raw, headers in burst:
                await self.client.publish(subject, raw, headers=headers)
            await self.client.flush()
            while heard() < until:
                await self.world.sleep(WAY_LOOK_S)
            spent += self.world.cpu_s() - before
        return 1e6 * spent / self.waves

    def _burst(self, start: int, count: int, fainter: int) -> Sequence[tuple[str, bytes, dict[str, str]]]:
        at_ms, out = now_ms(self.world), list[tuple[str, bytes, dict[str, str]]]()
        for n in range(start, start + count):
            drawn, wave_id = self._drawn[n % len(self._drawn)], new_id(self.world)
            fields = {"taken_ms": at_ms, "wave_id": wave_id, "confidence_ppm": drawn.confidence_ppm // fainter}
            wave = msgspec.structs.replace(drawn, **fields)
            headers = {"ce-id": wave_id.hex(), "ce-source": "meaning", "ce-time": rfc3339(at_ms)}
            out.append((wave.subject(self.world.env), encode(wave), headers))
        return out


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


def table(figure: GateFigure, way: Sequence[WayFigure]) -> str:
    """Return the figures for reading."""
    lines = [f"{'over a server, publishing included':<38}{'us/wave':>9}{'× raw':>8}{'said':>8}{'logged':>8}"]
    lines += [f"  {f.what:<36}{f.us:>9.1f}{f.ratio:>8.2f}{f.emitted:>8}{f.logged:>8}" for f in way]
    return "\n".join([_alone(figure), *lines])


def _alone(figure: GateFigure) -> str:
    return (
        f"{figure.waves} waves of {SOURCES} sources on {DOMAINS} domains\n"
        f"  weigh one, from its bytes to what is published  {figure.gate_us:8.1f} us of processor time\n"
        f"  read its bytes alone                             {figure.decode_us:8.1f} us\n"
        f"  per core                                         {figure.per_core_s:8,.0f} waves/s\n"
        f"  {figure.transitions} transitions, {figure.verified} verified signals"
    )
