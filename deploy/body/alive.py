"""A crawl as it really is: every part with its own runner, on the simulated bus, its decisions signed into the log."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from copy import copy

from deploy.body.arena import Arena
from deploy.body.crew import APART_MS, BEAT_MS, SITE, START_MS, crew_of
from deploy.body.layout import Layout
from deploy.body.record import Crawl, Record
from deploy.organism import Organism
from deploy.recheck import reruns_of
from deploy.sim_host import SimHost, Trouble
from deploy.simulation import BrokenInvariant, Chaos, Judge
from shared.bus import Delivery
from shared.bus.sim import Faults
from shared.codec import decode
from shared.config import load
from shared.envelope import Prefix
from shared.errors import Refused
from shared.log.entry import Entry
from shared.message import AnyWave, Decision, Wave, lookup
from shared.part import Part
from shared.subjects.system import DeadLetter
from shared.world import SIM_EPOCH_NS, SimWorld, now_ms, simulate

CALM = Trouble(delay=0.0)


def crawl(
    layouts: Sequence[Layout], seed: int, minutes: float, trouble: Trouble = CALM, more: Sequence[type[Part]] = ()
) -> Crawl:
    """Let one body live in one arena after the other; BrokenInvariant if the log or a part misbehaves.

    `more` are parts that live with it: the gates, for instance, whose reflexes stop the motors.
    """
    return simulate(lambda: _Life(seed, trouble).live(layouts, minutes, more))


class _Life:
    """One simulated organism with a body."""

    def __init__(self, seed: int, trouble: Trouble) -> None:
        self.seed, self.world = seed, SimWorld("dev", seed)
        self.host = SimHost(self.world, trouble)
        self.judge = Judge(Prefix("dev"), trouble.voids)
        self.host.server.witness = self.judge.witness
        settings = {"env": "dev", "site": SITE, "home": "/nonexistent", "beat_ms": str(BEAT_MS)}
        self.organism = Organism(self.host, load({}, settings, SITE))
        self.trouble = trouble
        self.record = Record()
        self.absent: list[str] = []  #: parts that were not let in, and why
        self.read = 0  #: how many entries of the log are in a record

    async def live(self, layouts: Sequence[Layout], minutes: float, more: Sequence[type[Part]]) -> Crawl:
        """Start every part in its turn, then let them live."""
        calm, self.host.server.faults = self.host.server.faults, Faults(delay_s=0.0)
        await self.organism.start([])
        spectator = await self.host.wire("spectator")
        await spectator.subscribe(AnyWave.pattern("dev"), self._felt)
        await spectator.subscribe(DeadLetter.pattern("dev"), self._refused)
        await self._until(START_MS)
        self.arena = Arena(layouts[0], lambda: now_ms(self.world))
        crew = crew_of(self.arena, SimWorld("dev", self.seed), self.world)
        parts: list[Part] = [*crew.nerves, crew.organ, *crew.cells]
        parts += [part.simulate(self.world.fork(f"more/{part.name}")) for part in more]
        for place, part in enumerate(parts):
            await self._until(START_MS + place * APART_MS)
            try:
                await self.organism.add(part)
            except Refused as no:  # its clock is wrong, for instance; the others live without it
                self.absent.append(f"{part.name} could not start: {no}")
        self.host.server.faults = calm
        chaos = Chaos(self.host, self.organism, self.world.fork("chaos"), self.trouble)
        troubling = asyncio.get_running_loop().create_task(chaos.live())
        crawls = list[Record]()
        arenas = list[Arena]()
        for run, layout in enumerate(layouts):
            if run:
                self.arena.place(layout)
            await self._until(START_MS + round((run + 1) * minutes * 60_000) + BEAT_MS - APART_MS)
            crawls.append(self._recorded())
            arenas.append(self.arena.snapshot())
        troubling.cancel()
        await chaos.calm()
        self._rerun()
        await self.organism.stop()
        digest, entries = self.judge.hasher.hexdigest(), len(self.judge.verdicts)
        return Crawl(crawls, arenas, digest, entries, chaos.crashes)

    def _recorded(self) -> Record:
        """Close the record of one crawl and begin another."""
        self.judge.raise_if_broken()
        self.organism.raise_if_broken()
        for verdict in self.judge.verdicts[self.read :]:
            self._decided(verdict.entry, [bytes(event.data) for _, event in verdict.admitted()])
        self.read = len(self.judge.verdicts)
        done, self.record = self.record, Record(copy(self.record.weights))
        done.absent = list(self.absent)
        done.finish(self.arena)
        return done

    def _rerun(self) -> None:
        """Run every decision again from its evidence; BrokenInvariant where one comes out differently."""
        for rerun in reruns_of([runner.part for runner in self.organism.runners.values()]):
            for verdict in self.judge.verdicts:
                for offset, same in rerun.take(verdict):
                    if not same:
                        raise BrokenInvariant(f"decision ({verdict.entry.index}, {offset}) differs when run again")

    def _decided(self, entry: Entry, events: list[bytes]) -> None:
        cls = lookup(entry.subject)
        if cls is None or not issubclass(cls, Decision) or cls.tokens[0] != "nervous":
            return
        for raw in events:
            self.record.decided(decode(cls, raw), entry.time_ns // 1_000_000)

    def _felt(self, delivery: Delivery) -> None:
        cls = lookup(delivery.subject)
        assert cls is not None
        assert issubclass(cls, Wave)
        try:
            self.record.wave(decode(cls, delivery.data))
        except Refused as no:
            raise BrokenInvariant(f"a wave on {delivery.subject} cannot be read: {no}") from no

    def _refused(self, delivery: Delivery) -> None:
        letter = decode(DeadLetter, delivery.data)
        self.record.refused(letter.part, f"{letter.code} {letter.detail}")

    async def _until(self, after_ms: int) -> None:
        """Sleep until so long after the simulation's beginning."""
        await self.world.sleep(max(0.0, (after_ms - (self.world.now_ns() - SIM_EPOCH_NS) / 1e6) / 1e3))
