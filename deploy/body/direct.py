"""A crawl without a bus: the very functions of the parts, called in the order in which their messages would come.

It is there for many seeds. On a bus that loses and delays nothing the same seed decides the same, which a test holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

from deploy.body.arena import Arena
from deploy.body.crew import APART_MS, BEAT_MS, SITE, START_MS, Crew, crew_of
from deploy.body.layout import Layout
from deploy.body.record import Crawl, Record
from organs.motors import Authority
from shared.errors import Refusal
from shared.message import Decision, Message, Wave
from shared.part import Nerve
from shared.subjects.body import MotorRequest
from shared.subjects.system import Tick
from shared.world import SIM_EPOCH_NS, SimWorld


class Mind:
    """One nerve's state and window, as its runner would keep them."""

    def __init__(self, nerve: Nerve[Any, Any]) -> None:
        self.nerve, self.state, self.window = nerve, nerve.start(), nerve.empty()
        [handler] = nerve.handlers()
        self.hears = handler.hears

    def hear(self, message: Message, now_ms: int) -> list[Any]:
        """Decide about one message, evolve, and return what it says."""
        if isinstance(message, Tick) and self.window == self.nerve.empty():
            return []
        self.window, said = self.nerve.decide(self.state, self.window, message, now_ms)
        if isinstance(said, Refusal):
            return []
        for decision in said:
            if isinstance(decision, Decision):
                self.state = self.nerve.evolve(self.state, decision)
        return said


def crawl(layouts: Sequence[Layout], seed: int, minutes: float) -> Crawl:
    """Let one body live in one arena after the other, without a bus."""
    body = DirectCrawl(layouts[0], seed)
    records, arenas = list[Record](), list[Arena]()
    for run, layout in enumerate(layouts):
        if run:
            body.arena.place(layout)
            body.record = Record(copy(body.record.weights))
        body.live(minutes)
        records.append(body.record)
        arenas.append(body.arena.snapshot())
    return Crawl(records, arenas)


class DirectCrawl:
    """One body that lives on through several arenas; its nerves keep what they learned."""

    def __init__(self, layout: Layout, seed: int) -> None:
        self.now_ms = SIM_EPOCH_NS // 1_000_000 + START_MS
        self.arena = Arena(layout, lambda: self.now_ms)
        world = SimWorld("dev", seed)
        self.crew: Crew = crew_of(self.arena, world, world)
        self.minds = [Mind(nerve) for nerve in self.crew.nerves]
        self.authority = Authority(SITE)
        self.record = Record()
        self._begin_ms, self._beat = self.now_ms, 0

    def live(self, minutes: float) -> None:
        """Let the parts beat for so long."""
        beats = round(minutes * 60_000 / BEAT_MS)
        members: list[Callable[[Tick], None]] = [self._beat_of(mind) for mind in self.minds]
        members.append(self._rest)
        members += [self._feel(cell) for cell in self.crew.cells]
        for _ in range(beats):
            self._beat += 1
            for place, member in enumerate(members):
                self.now_ms = self._begin_ms + self._beat * BEAT_MS + place * APART_MS
                member(Tick("", "", self._beat, self.now_ms))
        self.now_ms = self._begin_ms + (self._beat + 1) * BEAT_MS - APART_MS
        self.record.finish(self.arena)

    def _rest(self, tick: Tick) -> None:
        self.arena.advance()

    def _beat_of(self, mind: Mind) -> Callable[[Tick], None]:
        return lambda tick: self._say(mind.hear(tick, self.now_ms))

    def _feel(self, cell: Any) -> Callable[[Tick], None]:  # noqa: ANN401 - any cell that hears a beat
        def feel(tick: Tick) -> None:
            for wave in cell.on_tick(tick):
                self.record.wave(wave)
                for mind in self.minds:
                    if type(wave) in mind.hears:
                        self._say(mind.hear(wave, self.now_ms))

        return feel

    def _say(self, said: list[Any]) -> None:
        for message in said:
            if isinstance(message, Decision):
                self.record.decided(message, self.now_ms)
            elif isinstance(message, Wave):
                self.record.wave(message)
            elif isinstance(message, MotorRequest):
                motion = self.authority.judge(message, self.now_ms)
                if not isinstance(motion, Refusal):
                    self.arena.move(motion)
