"""`bench attention`: how long each tier takes while a thousand waves a second are felt (NIM-07), and whether it held.

A whole organism of its own on a real server, all parts in one process; so what is measured is no less than a system of
several processes would need. The load comes from another process. A probe is known by the id of its wave, and none is
left out: one that nothing came of counts with all the time it was waited for. Only what a beat's budget withheld woke
nobody, and is felt again. Without a language model cognition answers by quoting, so tier 4 has no bound here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias, cast

from deploy.attach import living
from deploy.bench.load import ENV, LOAD_PER_S, loaded
from deploy.host import OPERATOR
from deploy.organism import Organism
from nerves.thalamus.account import ACCOUNT_MS
from shared.bus import Bus, Delivery
from shared.codec import decode, encode
from shared.config import load
from shared.constant import constant
from shared.envelope import read, read_event, rfc3339
from shared.errors import Refusal, Refused
from shared.home import nkey_path
from shared.log.entry import Entry
from shared.message import AnyWaveFields, lookup
from shared.subjects.cognition import Answered
from shared.subjects.gates import ReflexActed, ReflexFired
from shared.subjects.meaning import UNKNOWN
from shared.subjects.memory import Origin, Passage, RememberRequest
from shared.subjects.nervous import MathRequest
from shared.subjects.thalamus import Routed, Withheld
from shared.version import VERSION
from shared.world import RealWorld, new_id, now_ms

PARTS = (
    "organs.meaning",
    "organs.memory",
    "organs.cognition",
    "nerves.gate",
    "nerves.outcome",
    "nerves.thalamus",
    "cells.math_cell",
)
SHORT_PPM = constant(10_000, "ppm", "NIM-07")  # a load that is short by no more was reached
PROBES = constant(300, "probes", "NIM-07")
WAIT_S = constant(10.0, "s", "NIM-07")
REST_S = constant(1.7, "s", "NIM-07")  # longer than a gate rests
REFLEX_REST_S = constant(0.12, "s", "NIM-07")
BEATS = constant(5, "beats", "NIM-07")
SLOW = 10  #: of so many probes only one can be made where a gate has to rest

Told: TypeAlias = ReflexActed | ReflexFired | Routed | Answered | Withheld
TOLD: tuple[type[Told], ...] = (ReflexActed, ReflexFired, Routed, Answered, Withheld)
Wave: TypeAlias = tuple[str, str, int, str]  #: cell, domain, confidence, content
DANGER: Wave = ("bumper", "danger", 800_000, "danger")
NOVEL = "purple elephants recite tax law"
HELD = ("heat", NOVEL)  #: what memory holds, so that there is something to quote

Came: TypeAlias = tuple[type[Told] | None, float]  #: what came of a probe, and when

#: What is timed, and its bound in milliseconds; that of tier 4, 4 s, is of a language model's answer.
TIERS: tuple[tuple[str, float | None], ...] = (
    ("tier 0: from a wave of danger to the reflex", 10.0),
    ("        from the same wave to its entry, read from the log", None),
    ("tier 1: a question to a cell and back", 50.0),
    ("tier 2: from the second wave to the nerve's route", 200.0),
    ("tier 3: to an organ's answer, quoted from memory, in the log", 2_000.0),
    ("tier 4: the same of the unknown; no language model: no bound", None),
)


@dataclass(frozen=True, slots=True)
class TierFigure:
    """What one tier needed, in milliseconds, and the bound of the specification."""

    what: str
    probes: int
    lost: int  #: probes that nothing came of
    p50_ms: float
    p99_ms: float
    bound_ms: float | None

    @property
    def held(self) -> bool:
        """Whether the bound held for 99 of 100, and nothing was lost."""
        return not self.lost and (self.bound_ms is None or self.p99_ms <= self.bound_ms)


@dataclass(frozen=True, slots=True)
class Attention:
    """The figures of each tier, and how many waves a second were published and felt meanwhile."""

    tiers: tuple[TierFigure, ...]
    published_per_s: float
    felt_per_s: float

    def missed(self) -> list[str]:
        """Return what did not hold: the load first, for under less of it nothing is said of any bound."""
        least = LOAD_PER_S * (1_000_000 - SHORT_PPM) / 1_000_000
        rates = (("published", self.published_per_s), ("felt", self.felt_per_s))
        short = [f"the load: {rate:,.0f} of {LOAD_PER_S:,} waves/s were {how}" for how, rate in rates if rate < least]
        return short + [tier.what.strip() for tier in self.tiers if not tier.held]


class Prober:
    """Publishes waves as cells do, and takes the time until something is heard, a decision until it can be read."""

    def __init__(self, bus: Bus) -> None:
        self.bus, self.world = bus, bus.world
        self._waiting: dict[tuple[type[Told], bytes], asyncio.Future[Came]] = {}
        self._reading = set[asyncio.Task[None]]()
        self._read: dict[str, int] = {}  #: where the last decision of a subject stands that was read

    async def open(self) -> None:
        """Hear whatever a probe can wait for."""
        for cls in TOLD:
            await self.bus.subscribe(cls.pattern(self.bus.env), self._heard)

    def _heard(self, delivery: Delivery) -> None:
        """Note what came of a probe: a signal as it is heard, a decision once it can be read from the log.

        Whoever listens on a decision's subject hears it before the log has stored it.
        """
        cls = lookup(delivery.subject)
        assert cls is not None
        if cls.kind == "signal":
            self._came(cast("Told", decode(cls, delivery.data)))
            return
        task = asyncio.get_running_loop().create_task(self._stored(delivery))
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)

    async def _stored(self, delivery: Delivery) -> None:
        start, found = self._read.get(delivery.subject, 0), list[Entry]()
        while not found:
            entries = await self.bus.wire.read(self.bus.log, start, delivery.subject)
            found = [entry for entry in entries if entry.raw == delivery.data]
        for message in said_in(delivery):
            self._came(message)
        self._read[delivery.subject] = found[0].index

    def _came(self, message: Told) -> None:
        if isinstance(message, Answered) and message.decision != "quoted":
            return  # that nothing is held is no answer
        told = message.wave_id if isinstance(message, ReflexActed | ReflexFired) else message.signal
        waiting = self._waiting.get((type(message), told))
        if waiting is not None and not waiting.done():
            waiting.set_result((type(message), self.world.elapsed_s()))

    async def feel(self, wave: Wave, wave_id: bytes = b"") -> None:
        """Publish one wave."""
        cell, domain, confidence_ppm, content = wave
        headers = {"ce-id": (wave_id or new_id(self.world)).hex(), "ce-time": rfc3339(now_ms(self.world))}
        felt = encode(AnyWaveFields(domain, confidence_ppm, content, 1))
        await self.bus.wire.publish(f"{self.bus.env}.bench.cells.{cell}.wave", felt, headers)

    async def timed(self, wave: Wave, *wanted: Sequence[type[Told]]) -> list[Came]:
        """Publish a wave; return what came of it and after how many milliseconds, for every group of alternatives."""
        loop, wave_id = asyncio.get_running_loop(), new_id(self.world)
        groups: list[asyncio.Future[Came]] = [loop.create_future() for _ in wanted]
        self._waiting = {(one, wave_id): group for group, ones in zip(groups, wanted, strict=True) for one in ones}
        start = self.world.elapsed_s()
        await self.feel(wave, wave_id)
        await asyncio.wait(groups, timeout=WAIT_S)
        came = [group.result() if group.done() else (None, start + WAIT_S) for group in groups]
        return [(what, 1_000 * (at - start)) for what, at in came]

    async def asked(self, request: MathRequest) -> float:
        """Ask a cell, and return the milliseconds until it answered; a refusal is no answer."""
        start = self.world.elapsed_s()
        answer = await self.bus.request(request, WAIT_S)
        return 1_000 * (WAIT_S if isinstance(answer, Refusal) else self.world.elapsed_s() - start)

    async def remember(self, texts: Sequence[str]) -> None:
        """Have memory hold these texts."""
        passages = tuple(Passage("semantic", text, Origin("file", "bench", "", 0, len(text)), 0, 0) for text in texts)
        answer = await self.bus.request(RememberRequest("bench", passages, "", renews=False), WAIT_S)
        if isinstance(answer, Refusal):
            raise Refused(answer)

    async def next_beat(self) -> None:
        """Wait until the next account of lifeforce, and a little more, for it is made on a tick."""
        await self.world.sleep((ACCOUNT_MS - now_ms(self.world) % ACCOUNT_MS) / 1_000 + REST_S)


def said_in(delivery: Delivery) -> list[Told]:
    """Return the messages of a decision's delivery, from inside its envelope."""
    cls = lookup(delivery.subject)
    assert cls is not None
    return [cast("Told", decode(cls, bytes(read_event(event).data))) for event in read(delivery.data).events]


async def measure_attention(probes: int) -> Attention:
    """Return the figures of each tier, and how many waves a second were really published and felt."""
    with TemporaryDirectory(prefix="nimmerverse-bench-") as folder:
        async with _organism(Path(folder)) as (prober, organism, url, nkey):
            felt = organism.runners["meaning"].work
            async with loaded(url, nkey) as load_there:
                handled, start = felt.handled, prober.world.elapsed_s()
                taken = [each async for each in _taken(prober, probes)]
                felt_per_s = (felt.handled - handled) / (prober.world.elapsed_s() - start)
            tiers = [figure(what, ms, bound_ms) for (what, bound_ms), ms in zip(TIERS, taken, strict=True)]
            return Attention(tuple(tiers), round(load_there.per_s, 1), round(felt_per_s, 1))


@asynccontextmanager
async def _organism(folder: Path) -> AsyncGenerator[tuple[Prober, Organism, str, Path]]:
    """Yield a prober on an organism, and where and with which key others reach it."""
    chosen = {"env": ENV, "site": "bench", "home": str(folder), "log_level": "error"}
    settings = load({}, chosen | {"database_url": "postgresql://nobody@127.0.0.1:1/nothing"}, "bench")
    async with living(settings, PARTS) as (host, organism):
        prober = Prober(Bus(RealWorld(ENV), await host.wire(OPERATOR), OPERATOR, VERSION, []))
        await prober.open()
        await prober.remember(HELD)
        yield prober, organism, host.url, nkey_path(settings.settings, OPERATOR)
        await prober.bus.drain()


async def _taken(prober: Prober, probes: int) -> AsyncGenerator[list[float]]:
    """Yield what each probe took, in milliseconds, for one of TIERS after the other."""
    await prober.feel(DANGER)  # the first word of danger grants the reflex, and nothing more
    await prober.world.sleep(1.0)
    acted, logged = list[float](), list[float]()
    for _ in range(probes):
        (_, to_act), (_, to_log) = await prober.timed(DANGER, [ReflexActed], [ReflexFired])
        acted.append(to_act)
        logged.append(to_log)
        await prober.world.sleep(REFLEX_REST_S)
    yield acted
    yield logged
    yield [await prober.asked(MathRequest(f"{n} * 7")) for n in range(probes)]
    few = max(probes // SLOW, 2)
    for domain, awaited in (("battery", Routed), ("heat", Answered), (UNKNOWN, Answered)):
        yield [await _pair(prober, domain, n, awaited) for n in range(few)]


async def _pair(prober: Prober, domain: str, n: int, awaited: type[Told]) -> float:
    """Let one cell feel something, then time the second that agrees; what no budget carried is felt again later."""
    novel = domain == UNKNOWN
    told = f"{NOVEL}, volume {n}" if novel else domain
    said, confidence_ppm = ("zxqv", 900_000) if novel else (domain, 800_000)
    for _ in range(BEATS):
        await prober.feel(("one", said, confidence_ppm, told))
        [(came, taken)] = await prober.timed(("two", said, confidence_ppm, told), [awaited, Withheld])
        await prober.world.sleep(REST_S)
        if came is not Withheld:
            return taken
        await prober.next_beat()
    return 1_000 * WAIT_S


def figure(what: str, taken_ms: Sequence[float], bound_ms: float | None) -> TierFigure:
    """Return the median and the 99th percentile of what was measured; what was waited for in vain is in it."""
    ordered = sorted(taken_ms)
    return TierFigure(
        what,
        len(ordered),
        sum(taken >= 1_000 * WAIT_S for taken in ordered),
        round(ordered[len(ordered) // 2], 2),
        round(ordered[min(len(ordered) * 99 // 100, len(ordered) - 1)], 2),
        bound_ms,
    )


def table(found: Attention) -> str:
    """Return the figures for reading, and the verdict."""
    missed = found.missed()
    lines = [
        f"under {found.published_per_s:,.0f} waves/s published, {found.felt_per_s:,.0f} felt",
        "what a beat's budget withheld was felt again in the next; no figure is of it",
        f"{'':<62}{'probes':>7}{'lost':>6}{'p50 ms':>10}{'p99 ms':>10}{'bound ms':>10}",
        *(_row(tier) for tier in found.tiers),
        *(f"✗ did not hold: {what.strip()}" for what in missed),
    ]
    return "\n".join(lines if missed else [*lines, "✓ every bound held under the load"])


def _row(tier: TierFigure) -> str:
    figures = f"{tier.what:<62}{tier.probes:>7}{tier.lost:>6}{tier.p50_ms:>10.2f}{tier.p99_ms:>10.2f}"
    if tier.bound_ms is None:
        return f"{figures}{'–':>10}"
    return f"{figures}{tier.bound_ms:>10.0f}  {'held' if tier.held else 'NOT HELD'}"
