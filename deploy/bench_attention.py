"""`bench attention`: how long each tier takes while a thousand waves a second are felt (NIM-07).

A whole organism of its own on a real server, all parts and the load in one process; so what is measured is no less than
a system of several processes would need.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias, cast

from deploy.attach import living
from deploy.host import OPERATOR
from shared.bus import Bus, Delivery
from shared.codec import decode, encode
from shared.config import load
from shared.constant import constant
from shared.envelope import read, read_event, rfc3339
from shared.message import AnyWaveFields, lookup
from shared.subjects.gates import ReflexActed, ReflexFired
from shared.subjects.meaning import UNKNOWN
from shared.subjects.nervous import MathRequest
from shared.subjects.thalamus import Escalated, Routed, Withheld
from shared.version import VERSION
from shared.world import RealWorld, new_id, now_ms

PARTS = ("organs.meaning", "nerves.gate", "nerves.outcome", "nerves.thalamus", "cells.math_cell")
LOAD_PER_S = constant(1_000, "waves/s", "NIM-07")
BURST = constant(10, "waves", "NIM-07")
LOAD_DOMAINS = ("light", "network", "vision", "speech", "motor", "position")
LOAD_SOURCES = constant(8, "sources", "NIM-07")
LOAD_PPM = constant(120_000, "ppm", "NIM-07")
PROBES = constant(300, "probes", "NIM-07")
WAIT_S = constant(10.0, "s", "NIM-07")
REST_S = constant(1.7, "s", "NIM-07")  # longer than a gate rests
REFLEX_REST_S = constant(0.12, "s", "NIM-07")
SLOW = 10  #: of so many probes only one can be made where a gate has to rest

Told: TypeAlias = ReflexActed | ReflexFired | Routed | Escalated | Withheld
Wanted: TypeAlias = tuple[type[Told], str]  #: a message about a domain

BOUNDS_MS = (10.0, 50.0, 200.0, 2_000.0, 4_000.0)


@dataclass(frozen=True, slots=True)
class TierFigure:
    """What one tier needed, in milliseconds, and the bound of the specification."""

    what: str
    probes: int
    p50_ms: float
    p99_ms: float
    bound_ms: float | None


class Prober:
    """Publishes waves as cells do, and takes the time until something is heard."""

    def __init__(self, bus: Bus) -> None:
        self.bus, self.world = bus, bus.world
        self.felt = 0
        self._waiting: dict[Wanted, asyncio.Event] = {}

    async def open(self) -> None:
        """Hear whatever a probe can wait for."""
        for cls in (ReflexActed, ReflexFired, Routed, Escalated, Withheld):
            await self.bus.subscribe(cls.pattern(self.bus.env), self._heard)

    def _heard(self, delivery: Delivery) -> None:
        for message in said_in(delivery):
            event = self._waiting.get((type(message), message.domain))
            if event is not None:
                event.set()

    async def feel(self, cell: str, domain: str, confidence_ppm: int, content: str = "") -> None:
        """Publish one wave."""
        wave = AnyWaveFields(domain, confidence_ppm, content or domain, 1)
        headers = {"ce-id": new_id(self.world).hex(), "ce-time": rfc3339(now_ms(self.world))}
        await self.bus.wire.publish(f"{self.bus.env}.bench.cells.{cell}.wave", encode(wave), headers)

    async def load(self) -> None:
        """Publish a thousand faint waves a second, for ever; what could not be published in time is not made up for."""
        while True:
            for _ in range(BURST):
                n, self.felt = self.felt, self.felt + 1
                await self.feel(f"load-{n % LOAD_SOURCES}", LOAD_DOMAINS[n % len(LOAD_DOMAINS)], LOAD_PPM)
            await self.world.sleep(BURST / LOAD_PER_S)

    async def timed(self, act: Callable[[], Awaitable[object]], *wanted: Sequence[Wanted]) -> list[float]:
        """Act, and return the milliseconds until each was heard, for every group of alternatives."""
        groups = [asyncio.Event() for _ in wanted]
        self._waiting = {one: event for group, event in zip(wanted, groups, strict=True) for one in group}
        start = self.world.elapsed_s()
        taken = [asyncio.create_task(self._until(event, start)) for event in groups]
        await act()
        return await asyncio.gather(*taken) if taken else [1_000 * (self.world.elapsed_s() - start)]

    async def _until(self, event: asyncio.Event, start: float) -> float:
        async with asyncio.timeout(WAIT_S):
            await event.wait()
        return 1_000 * (self.world.elapsed_s() - start)


def said_in(delivery: Delivery) -> list[Told]:
    """Return the messages of a delivery, a decision's from inside its envelope."""
    cls = lookup(delivery.subject)
    assert cls is not None
    raws = [delivery.data] if cls.kind == "signal" else [read_event(e).data for e in read(delivery.data).events]
    return [cast("Told", decode(cls, bytes(raw))) for raw in raws]


async def measure_attention(probes: int) -> tuple[list[TierFigure], float]:
    """Return the figures of each tier, and how many waves a second were really felt."""
    with TemporaryDirectory(prefix="nimmerverse-bench-") as folder:
        async with _organism(Path(folder)) as prober:
            task, start = asyncio.create_task(prober.load()), prober.world.elapsed_s()
            try:
                figures = [each async for each in _tiers(prober, probes)]
            finally:
                task.cancel()
            return figures, prober.felt / (prober.world.elapsed_s() - start)


@asynccontextmanager
async def _organism(folder: Path) -> AsyncGenerator[Prober]:
    chosen = {"env": "dev", "site": "bench", "home": str(folder), "log_level": "error"}
    loaded = load({}, chosen | {"database_url": "postgresql://nobody@127.0.0.1:1/nothing"}, "bench")
    async with living(loaded, PARTS) as (host, _):
        prober = Prober(Bus(RealWorld("dev"), await host.wire(OPERATOR), OPERATOR, VERSION, []))
        await prober.open()
        yield prober
        await prober.bus.drain()


async def _tiers(prober: Prober, probes: int) -> AsyncGenerator[TierFigure]:
    await _danger(prober)  # the first word of danger grants the reflex, and nothing more
    await prober.world.sleep(1.0)
    acted, logged = list[float](), list[float]()
    for _ in range(probes):
        to_act, to_log = await prober.timed(
            lambda: _danger(prober), [(ReflexActed, "danger")], [(ReflexFired, "danger")]
        )
        acted.append(to_act)
        logged.append(to_log)
        await prober.world.sleep(REFLEX_REST_S)
    yield figure("tier 0: from a wave of danger to the reflex", acted, BOUNDS_MS[0])
    yield figure("        from the same wave to its entry in the log", logged, None)
    asked = [(await prober.timed(lambda n=n: prober.bus.request(MathRequest(f"{n} * 7"))))[0] for n in range(probes)]
    yield figure("tier 1: a question to a cell and back", asked, BOUNDS_MS[1])
    few = max(probes // SLOW, 2)
    for name, domain, alternatives, bound_ms in (
        ("tier 2: from the second wave to the nerve's route", "battery", [Routed], BOUNDS_MS[2]),
        ("tier 3: to the logged escalation", "heat", [Escalated, Withheld], BOUNDS_MS[3]),
        ("tier 4: the same of what is unknown, embedded anew", UNKNOWN, [Escalated, Withheld], BOUNDS_MS[4]),
    ):
        taken = [await _pair(prober, domain, n, [(cls, domain) for cls in alternatives]) for n in range(few)]
        yield figure(name, taken, bound_ms)


async def _danger(prober: Prober) -> None:
    await prober.feel("bumper", "danger", 800_000)


async def _pair(prober: Prober, domain: str, n: int, wanted: Sequence[Wanted]) -> float:
    """Let one cell feel something, then time the second that agrees."""
    novel = domain == UNKNOWN
    told = ("zxqv", 900_000, f"purple elephants recite tax law, volume {n}") if novel else (domain, 800_000, domain)
    await prober.feel("one", *told)
    [taken] = await prober.timed(lambda: prober.feel("two", *told), wanted)
    await prober.world.sleep(REST_S)
    return taken


def figure(what: str, taken_ms: Sequence[float], bound_ms: float | None) -> TierFigure:
    """Return the median and the 99th percentile of what was measured."""
    ordered = sorted(taken_ms)
    return TierFigure(
        what,
        len(ordered),
        round(ordered[len(ordered) // 2], 2),
        round(ordered[min(len(ordered) * 99 // 100, len(ordered) - 1)], 2),
        bound_ms,
    )


def table(figures: Sequence[TierFigure], per_s: float) -> str:
    """Return the figures for reading."""
    lines = [f"under {per_s:,.0f} waves/s", f"{'':<56}{'probes':>7}{'p50 ms':>10}{'p99 ms':>10}{'bound ms':>10}"]
    lines += [
        f"{f.what:<56}{f.probes:>7}{f.p50_ms:>10.2f}{f.p99_ms:>10.2f}"
        + (f"{f.bound_ms:>10.0f}" if f.bound_ms is not None else f"{'–':>10}")
        for f in figures
    ]
    return "\n".join(lines)
